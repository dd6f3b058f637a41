"""The scale of a site's latents."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sitesynth import seeds
from sitesynth.errors import MissingInputError, TrainingError
from sitesynth.generators import latents as module
from sitesynth.generators.latents import Latents, LatentScale, encode_once, measure_scale
from sitesynth.generators.views import views_of
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from tests.unit.tiny_models import tiny_generator


def latents_of(mean: torch.Tensor, std: float) -> Latents:
    """Return latents whose encoder was equally unsure everywhere."""
    return Latents(mean, torch.full_like(mean, std), torch.ones(len(mean), 1, dtype=torch.bool))


def test_scaled_latents_have_mean_zero_and_mean_square_one() -> None:
    """One number scales all channels: spreads 2 and 0.1 and the encoder's 0.5 give its square.

    (2.0^2 + 0.1^2) / 2 + 0.5^2 = 2.255.
    """
    rng = seeds.generator(0, "latents")
    centres = torch.tensor([5.0, -3.0]).reshape(1, 1, 2, 1, 1)
    spreads = torch.tensor([2.0, 0.1]).reshape(1, 1, 2, 1, 1)
    latents = latents_of(centres + spreads * torch.randn(40, 2, 2, 8, 8, generator=rng), 0.5)
    scale = measure_scale(latents)
    drawn = scale.normalize(latents.draw(torch.arange(40).repeat(20), rng=rng))

    assert scale.std == pytest.approx(2.255**0.5, rel=0.02)
    torch.testing.assert_close(drawn.mean(dim=(0, 2, 3)), torch.zeros(2), atol=0.05, rtol=0)
    assert float(drawn.square().mean()) == pytest.approx(1.0, rel=0.03)


def test_restoring_undoes_normalizing() -> None:
    """A sample leaves the flow in the units of the autoencoder."""
    scale = LatentScale((1.0, -2.0), 0.5)
    latents = torch.rand(3, 2, 4, 4)

    torch.testing.assert_close(scale.restore(scale.normalize(latents)), latents)


def test_a_collapsed_autoencoder_is_an_error() -> None:
    """Constant latents have no scale, and a flow over them would divide by zero."""
    with pytest.raises(TrainingError, match="collapsed"):
        measure_scale(latents_of(torch.ones(2, 2, 1, 4, 4), 0.0))


def test_the_first_views_are_the_scan_and_its_mirror_image_and_the_rest_are_shifted() -> None:
    """A shift moves a scan's middle by at most two voxels, each by its own, and cuts no hole."""
    images = torch.zeros(6, 1, 9, 9)
    images[:, :, 4, 4] = 1.0
    images += torch.linspace(1, 2, 9).reshape(1, 1, 9, 1)
    views = list(views_of(images, num_views=5, rng=seeds.generator(0, "views")))
    places = [view.flatten(1).argmax(dim=1) for view in views]

    assert torch.equal(views[0], images)
    assert torch.equal(views[1], images.flip(2))
    assert len(views) == 5
    for view, place in zip(views[2:], places[2:], strict=True):
        rows, columns = place // 9, place % 9
        assert float(view.min()) >= 1.0
        assert int((rows - 4).abs().max()) <= 2
        assert int((columns - 4).abs().max()) <= 2
        assert len(set(place.tolist())) > 1


@pytest.fixture
def scans(tmp_path: Path) -> ImageSet:
    """Return three scans of two channels; the second has no first one."""
    rng, rows = np.random.default_rng(0), []
    for name in ("a", "b", "c"):
        write_voxels(tmp_path / "scans", name, rng.random((2, 8, 8), dtype=np.float32))
        has = {"has_t1": str(name != "b").lower(), "has_mask": "true"}
        rows.append({"scan_id": name, "patient_id": name, "split": "train", "site": "alder", **has})
    write_index(tmp_path / "scans", channels=("t1", "mask"), grid=(8, 8), rows=rows, about={})
    return read_images(tmp_path / "scans")


def encoded(
    scans: ImageSet, folder: Path | None, *, seed: int = 1, typical: float = 0.0
) -> Latents:
    """Encode the scans by an autoencoder that takes missing channels for `typical`."""
    autoencoder = tiny_generator((8, 8)).autoencoder
    autoencoder.typical.fill_(typical)
    with seeds.isolated(seeds.generator(0, "way in")):
        torch.nn.init.normal_(autoencoder.shortcut_in.get_parameter("weight"))
    rng = seeds.generator(seed, "views")
    return encode_once({"train": scans}, autoencoder, num_views=4, rng=rng, folder=folder)["train"]


def test_latents_are_encoded_once(
    scans: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers come back, from a file, with nothing to encode them by."""
    plain, first = encoded(scans, None), encoded(scans, tmp_path / "kept")
    monkeypatch.setattr(module, "encode_scans", None)
    second = encoded(scans, tmp_path / "kept")

    for latents in (first, second):
        assert torch.equal(latents.mean, plain.mean)
        assert torch.equal(latents.std, plain.std)
        assert torch.equal(latents.presence, plain.presence)


def test_latents_of_other_weights_shifts_or_scans_are_not_taken(
    scans: ImageSet, tmp_path: Path
) -> None:
    """One file is kept, that of the last call."""
    kept = tmp_path / "kept"
    encoded(scans, kept)
    for change in ({"typical": 0.5}, {"seed": 2}):
        assert torch.equal(encoded(scans, kept, **change).mean, encoded(scans, None, **change).mean)
        assert len(list(kept.iterdir())) == 1
    changed = scans.load([0])[0].numpy()
    changed[0, 0, 0] += 0.25
    write_voxels(tmp_path / "scans", "a", changed)
    again = read_images(tmp_path / "scans")

    assert torch.equal(encoded(again, kept).mean, encoded(again, None).mean)


def test_damaged_latents_are_named(scans: ImageSet, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    encoded(scans, kept)
    (file,) = kept.iterdir()
    file.write_bytes(file.read_bytes()[:-8])

    with pytest.raises(MissingInputError, match=rf"{file.name} is damaged.*delete it"):
        encoded(scans, kept)
