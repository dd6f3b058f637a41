"""Updates by hand: shortened, and hidden in noise of known width."""

import math

import pytest
import torch

from sitesynth import seeds
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.damping import damp


HERE = {"w": torch.tensor([1.0, 1.0]), "running": torch.tensor([5.0])}
THERE = {"w": torch.tensor([4.0, 5.0]), "running": torch.tensor([9.0])}


def damped(clip_norm: float, noise: float = 0.0, *, there: Weights = THERE) -> Weights:
    """Return a change of (3, 4), damped."""
    return damp(
        there,
        HERE,
        trained=["w"],
        clip_norm=clip_norm,
        noise_multiplier=noise,
        rng=seeds.generator(0, "noise"),
    )


def test_a_change_is_shortened_to_the_norm() -> None:
    """(3, 4) has norm 5; at norm 1 it is (0.6, 0.8). Statistics are left alone."""
    found = damped(1.0)

    assert found["w"].tolist() == pytest.approx([1.6, 1.8])
    assert found["running"].tolist() == [9.0]


def test_a_short_change_keeps_its_bits() -> None:
    """Neither at the norm nor below it is anything rounded."""
    assert torch.equal(damped(5.0)["w"], THERE["w"])


def test_no_change_stays_none() -> None:
    """And is not divided by."""
    assert torch.equal(damped(1.0, there=HERE)["w"], HERE["w"])


def test_noise_has_the_width_of_its_knobs() -> None:
    """Of 40,000 numbers around zero, the standard deviation is 0.5 x 2 within 2 %."""
    still = {"w": torch.zeros(40_000)}
    found = damp(
        still,
        still,
        trained=["w"],
        clip_norm=2.0,
        noise_multiplier=0.5,
        rng=seeds.generator(0, "width"),
    )["w"]

    assert found.std().item() == pytest.approx(1.0, rel=0.02)
    assert abs(found.mean().item()) < 4 / math.sqrt(40_000)
