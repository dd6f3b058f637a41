"""Folding patches into channels."""

import pytest
import torch

from sitesynth.generators.patches import fold, unfold


@pytest.mark.parametrize(
    ("grid", "patch"), [((8, 4), (2, 4)), ((4, 6, 2), (2, 3, 1)), ((4, 4, 4), (1, 1, 1))]
)
def test_unfolding_undoes_folding(grid: tuple[int, ...], patch: tuple[int, ...]) -> None:
    """Every voxel comes back to its place, in two dimensions and three."""
    images = torch.rand(2, 3, *grid)

    assert torch.equal(unfold(fold(images, patch), patch), images)


def test_a_patch_becomes_the_channels_of_one_voxel() -> None:
    """The four pixels of a 2 x 2 patch are the four channels at its place."""
    image = torch.arange(16.0).reshape(1, 1, 4, 4)

    assert fold(image, (2, 2))[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    assert fold(image, (2, 2))[0, :, 1, 1].tolist() == [10, 11, 14, 15]
