"""How strong a texture is, by what SciPy says and by patterns whose strength is known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from sitesynth import seeds
from sitesynth.features import BAND_SIGMAS, FLOOR
from sitesynth.generators.textures import textures_of


@pytest.mark.parametrize("grid", [(12, 10), (12, 10, 8)])
def test_bands_are_those_of_the_fixed_features(grid: tuple[int, ...]) -> None:
    """The same filters by SciPy, edges included."""
    scan = seeds.numpy_generator(0, "scan").random(grid)
    blurred = [scan, *(ndimage.gaussian_filter(scan, s, mode="nearest") for s in BAND_SIGMAS)]
    expected = [
        ndimage.gaussian_filter((a - b) ** 2, BAND_SIGMAS[-1], mode="nearest")
        for a, b in pairwise(blurred)
    ]

    found = textures_of(torch.from_numpy(scan)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, np.sqrt(np.stack(expected) + FLOOR**2), rtol=1e-6)


def test_what_is_flat_has_no_texture() -> None:
    """Nor has it a slope without bounds."""
    flat = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    found = textures_of(flat)
    found.sum().backward()

    assert found.max().item() == pytest.approx(FLOOR, rel=0.01)
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_a_texture_a_voxel_apart_is_as_strong() -> None:
    """Stripes turned into their opposite: every voxel is off, and hardly any strength."""
    stripes = (torch.arange(32) % 2).float().expand(32, 32)[None, None]
    opposite, grey = 1 - stripes, torch.full_like(stripes, 0.5)
    strength = textures_of(stripes)

    def off(other: torch.Tensor) -> float:
        return float((textures_of(other) - strength).abs().mean())

    assert float((opposite - stripes).abs().mean()) == 1
    assert float((grey - stripes).abs().mean()) == 0.5
    assert off(opposite) < 0.05 * off(grey)
