"""Training an autoencoder: what is kept when it starts to remember its scans."""

from pathlib import Path

import pytest
import torch

from sitesynth import seeds, training
from sitesynth.errors import TrainingError
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.autoencoder_training import held_out_error, train_autoencoder
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.settings import AutoencoderSettings
from tests.unit.generators.listener import Listener
from tests.unit.generators.tiny_generator import PLAIN


NUM_STEPS, LOOK_EVERY = 60, 3


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Return 4 + 12 pictures of pure chance: nothing to learn but the pictures themselves."""
    folder, rows = tmp_path_factory.mktemp("chance"), []
    rng = seeds.numpy_generator(0, "chance")
    for number in range(16):
        scan = f"p{number:02d}"
        write_voxels(folder, scan, rng.random((1, 16, 16)).astype("float32"))
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": "alder", "has_t1": "true"}
            | {"split": "train" if number < 4 else "validation"}
        )
    write_index(folder, channels=("t1",), grid=(16, 16), rows=rows, about={})
    return read_images(folder)


def fit(
    scans: ImageSet,
    *,
    every: int | None,
    patience: int | None = None,
    held_out: str = "validation",
    checkpoint: Path | None = None,
    stop_after: int = NUM_STEPS,
) -> tuple[Autoencoder, list[dict[str, float]]]:
    """Train on the four; return the autoencoder and what was told at each step."""
    listener = Listener(stop_after)
    settings = AutoencoderSettings(
        patch=(2, 2),
        channels=(16, 16),
        latent_channels=4,
        kl_weight=1e-6,
        adversarial=None,
        perceptual=None,
        sequence_dropout=0.0,
        learning_rate=5e-3,
        batch_size=4,
        num_steps=NUM_STEPS,
        validate_every=every,
        patience_looks=patience,
    )
    model = train_autoencoder(
        scans.in_split("train"),
        settings=settings,
        compute=PLAIN,
        seed=1,
        site="alder",
        held_out=scans.in_split(held_out),
        checkpoint=checkpoint,
        on_step=listener,
    )
    return model, listener.told


def looks(told: list[dict[str, float]]) -> list[float]:
    return [losses["validation_loss"] for losses in told if "validation_loss" in losses]


def test_learning_four_scans_by_heart_is_caught(scans: ImageSet) -> None:
    """Left alone, it gets better at the four and worse at all others; with looks, it stops early.

    Pictures of independent voxels: what is learned of four helps with no other.
    """
    held_out, four = scans.in_split("validation"), scans.in_split("train")
    spoiled, alone = fit(scans, every=None)
    kept, watched = fit(scans, every=LOOK_EVERY, patience=4)
    errors = looks(watched)

    assert len(alone) == NUM_STEPS
    assert looks(alone) == []
    assert len(watched) < NUM_STEPS / 2
    assert held_out_error(kept, held_out) == pytest.approx(min(errors))
    assert errors[-1] > min(errors)
    assert held_out_error(spoiled, four) < 0.85 * held_out_error(kept, four)
    assert held_out_error(spoiled, held_out) > 1.05 * held_out_error(kept, held_out)


def test_looking_changes_no_step(scans: ImageSet) -> None:
    _, unseen = fit(scans, every=None)
    _, seen = fit(scans, every=LOOK_EVERY)

    assert [losses["loss"] for losses in seen] == [losses["loss"] for losses in unseen]
    assert len(looks(seen)) == NUM_STEPS // LOOK_EVERY


def test_a_killed_training_remembers_its_best_look(
    scans: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in step 41, long after the best look: the same weights, bit for bit."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    straight, told = fit(scans, every=LOOK_EVERY)
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(scans, every=LOOK_EVERY, checkpoint=state, stop_after=40)
    resumed, rest = fit(scans, every=LOOK_EVERY, checkpoint=state)

    assert LOOK_EVERY * (1 + looks(told).index(min(looks(told)))) < 40
    assert rest == told[40:]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_choice_without_validation_scans_is_refused(scans: ImageSet) -> None:
    """Nothing to choose by is no reason to choose the first."""
    with pytest.raises(TrainingError, match=r"alder has no validation scan .*autoencoder\.valid"):
        fit(scans, every=LOOK_EVERY, held_out="test")


def test_an_error_counts_every_scan_alike_whatever_is_decoded_at_once(
    scans: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve at once, and five, five and two."""
    model, _ = fit(scans, every=LOOK_EVERY, patience=1)
    held_out = scans.in_split("validation")
    whole = held_out_error(model, held_out)
    monkeypatch.setattr("sitesynth.generators.autoencoder_training.LOOK_AT", 5 * 256)

    assert held_out_error(model, held_out) == pytest.approx(whole, rel=1e-5)
