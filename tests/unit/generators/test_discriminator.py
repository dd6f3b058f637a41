"""The discriminator that reconstructions have to pass, and the training that it takes part in."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sitesynth import seeds, training
from sitesynth.generators import autoencoder_training
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.autoencoder_training import texture_error, train_autoencoder
from sitesynth.generators.discriminator import Discriminator
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.settings import AdversarialSettings, AutoencoderSettings
from tests.unit.generators.listener import Listener
from tests.unit.generators.tiny_generator import PLAIN


NUM_STEPS, FROM_STEP = 10, 4
ADVERSARY = AdversarialSettings(
    weight=0.1, from_step=FROM_STEP, width=4, depth=1, learning_rate=1e-3
)


@pytest.fixture(autouse=True)
def fitted_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit shortcuts, which are not the matter here, to a view or two a scan."""
    monkeypatch.setattr(autoencoder_training, "VIEWS_TO_FIT", 12)


@pytest.fixture(scope="module", params=[(16, 16), (16, 16, 8)], ids=["2D", "3D"])
def scans(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Return six scans of two sequences, of which every other one lacks the second."""
    grid, rows = request.param, []
    folder = tmp_path_factory.mktemp("scans")
    rng = seeds.numpy_generator(0, "scans")
    for number in range(6):
        scan = f"p{number}"
        voxels = rng.random((2, *grid)).astype("float32")
        if number % 2:
            voxels[1] = 0
        write_voxels(folder, scan, voxels)
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": "alder", "split": "train"}
            | {"has_t1": "true", "has_t2": str(number % 2 == 0).lower()}
        )
    write_index(folder, channels=("t1", "t2"), grid=grid, rows=rows, about={})
    return read_images(folder)


def fit(
    scans: ImageSet,
    *,
    adversary: AdversarialSettings | None = ADVERSARY,
    perceptual: float | None = None,
    at_once: int | None = None,
    checkpoint: Path | None = None,
    stop_after: int = NUM_STEPS,
) -> tuple[Autoencoder, list[dict[str, float]]]:
    """Return a trained autoencoder, and what was told at each step."""
    listener = Listener(stop_after)
    settings = AutoencoderSettings(
        patch=(2,) * len(scans.grid),
        channels=(8, 8),
        latent_channels=2,
        kl_weight=1e-6,
        adversarial=adversary,
        perceptual=perceptual,
        sequence_dropout=0.1,
        learning_rate=1e-3,
        batch_size=4,
        num_steps=NUM_STEPS,
        validate_every=None,
        patience_looks=None,
    )
    model = train_autoencoder(
        scans,
        settings=settings,
        compute=PLAIN.model_copy(update={"autoencoder_at_once": at_once}),
        seed=1,
        site="alder",
        checkpoint=checkpoint,
        on_step=listener,
    )
    return model, listener.told


def test_each_side_learns_from_its_own_loss_only() -> None:
    """Of one loss, the reconstruction has a slope and the discriminator none; and vice versa."""
    with seeds.isolated(seeds.generator(0, "discriminator")):
        discriminator = Discriminator(ADVERSARY, num_channels=1, dims=2)
    scans, back = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16, requires_grad=True)
    weights = [*discriminator.parameters()]

    def slopes(loss: Tensor) -> list[bool]:
        found = torch.autograd.grad(loss, [back, *weights], allow_unused=True, retain_graph=True)
        return [slope is not None and bool(slope.any()) for slope in found]

    fooled, own = discriminator.losses(scans, back)
    assert slopes(fooled) == [True, *[False] * len(weights)]
    assert slopes(own) == [False, *[True] * len(weights)]


def test_a_discriminator_that_cannot_tell_gives_both_a_half() -> None:
    """Least squares at a score of 0.5 everywhere: a quarter each for real, drawn and fooled."""
    discriminator = Discriminator(ADVERSARY, num_channels=1, dims=2)
    last = discriminator.network.get_submodule("final_conv.conv")
    torch.nn.init.zeros_(last.get_parameter("weight"))
    torch.nn.init.constant_(last.get_parameter("bias"), 0.5)
    losses = discriminator.losses(torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16))

    assert [loss.item() for loss in losses] == pytest.approx([0.25, 0.25])


def test_it_takes_part_from_its_step_on_and_nothing_changes_before(scans: ImageSet) -> None:
    plain, alone = fit(scans, adversary=None)
    passed, told = fit(scans)

    assert told[: FROM_STEP - 1] == alone[: FROM_STEP - 1]
    assert all(set(losses) == {"loss", "error", "kl"} for losses in told[: FROM_STEP - 1])
    for losses in told[FROM_STEP - 1 :]:
        assert losses["loss"] == pytest.approx(
            losses["error"]
            + 1e-6 * losses["kl"]
            + ADVERSARY.weight * losses["adversarial"]
            + losses["discriminator"]
        )
    assert told[-1]["error"] != alone[-1]["error"]
    # What is released has the weights that it had without: a discriminator is none of them.
    assert set(passed.state_dict()) == set(plain.state_dict())


def test_it_learns_to_tell_what_is_smooth() -> None:
    """Noise against its average over neighbours: from a quarter, that of chance, to half of it."""
    wider = ADVERSARY.model_copy(update={"width": 8})
    with seeds.isolated(seeds.generator(0, "discriminator")):
        discriminator = Discriminator(wider, num_channels=1, dims=2)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=3e-3, betas=(0.5, 0.999))
    losses = []
    for step in range(40):
        scans = torch.rand(4, 1, 16, 16, generator=seeds.generator(0, "scans", step))
        smooth = (scans + scans.roll(1, dims=2) + scans.roll(1, dims=3)) / 3
        _, own = discriminator.losses(scans, smooth)
        optimizer.zero_grad()
        own.backward()
        optimizer.step()
        losses.append(own.item())

    assert losses[0] > 0.25
    assert max(losses[-5:]) < 0.125


def test_a_missing_channel_looks_alike_in_scan_and_reconstruction(
    scans: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every scan that lacks the second sequence, both show the same constant there."""
    seen: list[tuple[Tensor, Tensor]] = []
    losses = Discriminator.losses

    def watch(self: Discriminator, scans: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((scans.detach(), back.detach()))
        return losses(self, scans, back)

    monkeypatch.setattr(Discriminator, "losses", watch)
    fit(scans)
    pairs = [pair for real, back in seen for pair in zip(real, back, strict=True)]
    lacking = [pair for pair in pairs if len(pair[0][1].unique()) == 1]

    assert 0 < len(lacking) < len(pairs)
    for real, back in lacking:
        assert torch.equal(real[1], back[1])
        assert float(real[1].mean()) > 0.3
        assert not torch.equal(real[0], back[0])
    assert all(0 <= float(back.min()) <= float(back.max()) <= 1 for _, back in pairs)


def test_a_killed_training_goes_on_to_the_same_weights(
    scans: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in step 7: the discriminator and its moments come back, and all bits are the same."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    straight, told = fit(scans, perceptual=0.5)
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(scans, perceptual=0.5, checkpoint=state, stop_after=6)
    resumed, rest = fit(scans, perceptual=0.5, checkpoint=state)

    assert rest == told[6:]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_batch_in_parts_has_the_losses_of_the_whole(scans: ImageSet) -> None:
    """One scan at a time: norms see one scan each, so only rounding differs."""
    _, whole = fit(scans, perceptual=0.5)
    _, parts = fit(scans, perceptual=0.5, at_once=1)

    for name in ("error", "perceptual", "adversarial", "discriminator"):
        assert parts[FROM_STEP][name] == pytest.approx(whole[FROM_STEP][name], rel=0.02)


def test_textures_enter_the_loss_with_their_weight(scans: ImageSet) -> None:
    _, told = fit(scans, adversary=None, perceptual=0.5)

    for losses in told:
        assert losses["loss"] == pytest.approx(
            losses["error"] + 1e-6 * losses["kl"] + 0.5 * losses["perceptual"]
        )


def test_a_missing_channel_has_no_texture_to_be_wrong() -> None:
    """The scan lacks its second channel: whatever is drawn there, only the first one counts."""
    images, back = torch.rand(1, 2, 8, 8), torch.rand(1, 2, 8, 8)
    other = back.clone()
    other[:, 1] = 0
    has = torch.tensor([[True, False]])

    assert texture_error(back, images, has) > 0
    assert torch.equal(texture_error(back, images, has), texture_error(other, images, has))
