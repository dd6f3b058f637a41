"""A flow's size by the number of scans that it learns from, and its convolutions."""

from pathlib import Path

import pytest

from sitesynth import seeds
from sitesynth.generators.bundle import read_bundle, site_key, write_bundle
from sitesynth.generators.generator import read_generator, write_flow
from sitesynth.generators.weights import AUTOENCODER_FILE, write_weights
from sitesynth.images import read_images, write_index, write_voxels
from sitesynth.settings import ConvolutionSettings, FlowSize
from tests.unit.generators.tiny_generator import CLASSES, train_tiny
from tests.unit.generators.tiny_latents import diffusion


SIZED = diffusion(2).model_copy(
    update={
        "sizes": (
            FlowSize(num_scans=8, width=64, depth=2),
            FlowSize(num_scans=100, width=32, depth=3),
        )
    }
)


@pytest.mark.parametrize(
    ("num_scans", "width", "depth"),
    [(1, 32, 1), (7, 32, 1), (8, 64, 2), (99, 64, 2), (100, 32, 3), (5000, 32, 3)],
)
def test_a_size_holds_from_its_number_of_scans_on(num_scans: int, width: int, depth: int) -> None:
    chosen = SIZED.for_scans(num_scans)

    assert (chosen.width, chosen.depth, chosen.sizes) == (width, depth, ())
    assert chosen.model_copy(update={"width": 32, "depth": 1}) == diffusion(2)


def test_without_sizes_nothing_is_chosen() -> None:
    assert diffusion(2).for_scans(10**6) == diffusion(2)


@pytest.mark.parametrize(
    "extras",
    [{}, {"convolutions": ConvolutionSettings(feature_maps=16, num_blocks=1), "warp": 1.0}],
)
def test_the_hub_builds_the_network_that_was_chosen(
    extras: dict[str, object], tmp_path: Path
) -> None:
    """Nine training scans and three held-out ones: the size for eight; and no table of sizes."""
    rng, rows = seeds.numpy_generator(0, "pictures"), []
    for number in range(12):
        scan = f"p{number:02d}"
        write_voxels(tmp_path / "images", scan, rng.random((1, 8, 8)).astype("float32"))
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": "alder", "has_t1": "true"}
            | {"idh": CLASSES[number % 2], "split": "train" if number < 9 else "validation"}
        )
    write_index(tmp_path / "images", channels=("t1",), grid=(8, 8), rows=rows, about={})
    made = train_tiny(read_images(tmp_path / "images"), SIZED.model_copy(update=extras), bounds={})
    write_weights(tmp_path / AUTOENCODER_FILE, made.autoencoder)
    write_flow(tmp_path, made)
    key, _ = site_key("alder", seed=1)
    write_bundle(tmp_path / "bundle", made, card={}, card_text="# card\n", signing_key=key)

    for back in (read_generator(tmp_path, tmp_path), read_bundle(tmp_path / "bundle")):
        assert (back.config.diffusion.width, back.config.diffusion.depth) == (64, 2)
        assert back.flow.state_dict().keys() == made.flow.state_dict().keys()
        assert back.config.diffusion == made.config.diffusion
    said = made.config.model_dump(mode="json")["diffusion"]
    assert {"sizes", "convolutions", "warp"} & said.keys() == extras.keys()
