"""The encoder that looks for copies: what it learns, and from whom."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from sitesynth.described import Described
from sitesynth.privacy.encoder import (
    TEMPERATURE,
    contrastive_loss,
    deal,
    encoder_view,
    train_encoder,
    vary,
)
from sitesynth.settings import EncoderSettings


SETTINGS = EncoderSettings(width=8, batch_size=16, learning_rate=5e-3, num_steps=40)
FEW_STEPS = SETTINGS.model_copy(update={"num_steps": 3})


def describe(count: int, named: str, *, grid: tuple[int, ...] = (16, 16), seed: int) -> Described:
    """Return scans of two channels whose patients differ in where they are bright."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(
        rng.standard_normal((count, 2, *grid)), (0, 0, *([2] * len(grid))), mode="wrap"
    )
    return Described(
        rng.standard_normal((count, 3)),
        np.clip(0.5 + smooth / smooth.std() / 5, 0, 1),
        np.ones((count, 2), dtype=bool),
        tuple(f"{named}{number}" for number in range(count)),
    )


def changed(scans: Described) -> Described:
    """Return copies, turned by 15 degrees, moved by a voxel, brighter and noisy."""
    rng = np.random.default_rng(11)
    turned = ndimage.rotate(scans.thumbnails, 15, axes=(2, 3), reshape=False, mode="nearest")
    moved = np.roll(turned, 1, axis=2) * 1.1 + 0.03 * rng.standard_normal(turned.shape)
    return Described(scans.features, moved, scans.presence, scans.patients)


def test_the_loss_of_two_scans_apart_has_a_closed_form() -> None:
    """Each view is like its partner, and orthogonal to the two of the other scan."""
    views = torch.eye(2)
    loss = contrastive_loss(views, views, owners=["a", "b"])
    near = math.exp(1 / TEMPERATURE)

    assert float(loss) == pytest.approx(-math.log(near / (near + 2)), rel=1e-4)


def test_scans_of_one_patient_are_not_told_apart() -> None:
    """Without anyone else in the batch nothing is left to be told."""
    views = torch.eye(2)

    assert float(contrastive_loss(views, views, owners=["a", "a"])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("grid", [(16, 12), (12, 10, 8)])
def test_a_view_is_another_one_each_time_and_invents_no_channel(
    grid: tuple[int, ...], rng: torch.Generator
) -> None:
    images = torch.rand(5, 2, *grid, generator=rng)
    presence = torch.tensor([[True, True]] * 4 + [[True, False]])
    images[4, 1] = 0
    first, second = vary(images, presence, rng=rng), vary(images, presence, rng=rng)

    assert first.shape == images.shape
    assert not torch.equal(first, second)
    assert (first[4, 1] == 0).all()
    assert bool(first.isfinite().all())


def test_a_view_without_changes_of_brightness_is_the_scan_moved(
    rng: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every amount at 0, it is the scan, or its mirror image along the first axis."""
    for name in ("TURN", "SHIFT", "LOG_ZOOM", "LOG_GAMMA", "GAIN", "NOISE"):
        monkeypatch.setattr(f"sitesynth.privacy.encoder.MAX_{name}", 0.0)
    monkeypatch.setattr("sitesynth.privacy.encoder.HIDDEN", 0.0)
    images = torch.rand(24, 1, 6, 5, 4, generator=rng)
    views = vary(images, torch.ones(24, 1, dtype=torch.bool), rng=rng)
    is_same = [torch.allclose(v, i, atol=1e-5) for v, i in zip(views, images, strict=True)]
    is_mirrored = [
        torch.allclose(v, i.flip(1), atol=1e-5) for v, i in zip(views, images, strict=True)
    ]

    assert all(same != mirror for same, mirror in zip(is_same, is_mirrored, strict=True))
    assert 4 < sum(is_same) < 20


@pytest.mark.parametrize("grid", [(16, 16), (12, 12, 8)])
def test_a_changed_copy_is_nearest_to_its_own_patient(grid: tuple[int, ...]) -> None:
    """By an encoder that has learned from neither; in 0.04 of them by chance."""
    train, held_out = describe(24, "t", grid=grid, seed=0), describe(10, "h", grid=grid, seed=1)
    view = encoder_view(train, held_out, settings=SETTINGS, seed=0, site="alder")
    nearest = view(changed(train), train).argmax(axis=1)

    assert (nearest == np.arange(len(train))).mean() > 0.5


def test_a_mirror_image_is_the_same_to_the_encoder() -> None:
    train, held_out = describe(12, "t", seed=0), describe(6, "h", seed=1)
    view = encoder_view(train, held_out, settings=FEW_STEPS, seed=0, site="alder")
    mirrored = Described(
        train.features, np.flip(train.thumbnails, axis=2), train.presence, train.patients
    )

    assert np.diag(view(mirrored, train)) == pytest.approx(1, abs=1e-4)


def test_no_scan_is_seen_by_an_encoder_that_learned_from_it() -> None:
    """Another scan in the place of a patient's changes nothing for others of the same half.

    For those of the other half it does: their encoder has learned from it.
    """
    train, held_out = describe(12, "t", seed=0), describe(6, "h", seed=1)
    halves = deal(train.patients, held_out.patients, seed=0, site="alder")
    other = Described(train.features, train.thumbnails.copy(), train.presence, train.patients)
    other.thumbnails[0] = describe(1, "new", seed=5).thumbnails[0]
    found, anew = (
        encoder_view(scans, held_out, settings=FEW_STEPS, seed=0, site="alder")(held_out, scans)
        for scans in (train, other)
    )
    same = np.array([halves[name] == halves["t0"] for name in train.patients])
    same_but_it = same & (np.arange(len(train)) > 0)

    np.testing.assert_array_equal(found[:, same_but_it], anew[:, same_but_it])
    assert (found[:, ~same] != anew[:, ~same]).all()


def test_patients_are_dealt_evenly_and_whole() -> None:
    """Two scans of one patient lie in one half; a site's halves are its own."""
    train = [f"t{number // 2}" for number in range(14)]
    held_out = [f"h{number}" for number in range(5)]
    halves = deal(train, held_out, seed=0, site="alder")

    assert set(halves) == {*train, *held_out}
    assert sorted([list(halves.values()).count(half) for half in (0, 1)]) == [5, 7]
    assert abs(sum(halves[name] for name in set(train)) - 3.5) == 0.5
    assert abs(sum(halves[name] for name in held_out) - 2.5) == 0.5
    assert halves != deal(train, held_out, seed=0, site="birch")


def test_an_encoder_is_the_same_at_every_run() -> None:
    scans = describe(12, "t", seed=0)
    first, second = (
        train_encoder(scans, settings=FEW_STEPS, scope=("one",), seed=0) for _ in range(2)
    )
    other = train_encoder(scans, settings=FEW_STEPS, scope=("other",), seed=0)
    weights = [list(encoder.parameters())[-2] for encoder in (first, second, other)]

    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
