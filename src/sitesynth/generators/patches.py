"""Patches of a grid as channels, and back (Shi et al., 2016): fewer places, more numbers at each.

Axes: n = scans, c = channels, p = places within a patch, then the grid.
"""

from collections.abc import Sequence
from math import prod

from jaxtyping import Float
from torch import Tensor


__all__ = ["fold", "unfold"]


def fold(images: Float[Tensor, "n c ..."], patch: Sequence[int]) -> Float[Tensor, "n cp ..."]:
    """Move each patch of voxels into channels; the grid shrinks by `patch`, per axis."""
    n, c, *grid = images.shape
    split = [size for g, p in zip(grid, patch, strict=True) for size in (g // p, p)]
    dims = len(grid)
    axes = [0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
    folded = images.reshape(n, c, *split).permute(axes)
    return folded.reshape(n, c * prod(patch), *(g // p for g, p in zip(grid, patch, strict=True)))


def unfold(folded: Float[Tensor, "n cp ..."], patch: Sequence[int]) -> Float[Tensor, "n c ..."]:
    """Undo `fold`."""
    n, channels, *grid = folded.shape
    dims = len(grid)
    c = channels // prod(patch)
    axes = [0, 1, *(axis for d in range(dims) for axis in (2 + dims + d, 2 + d))]
    images = folded.reshape(n, c, *patch, *grid).permute(axes)
    return images.reshape(n, c, *(g * p for g, p in zip(grid, patch, strict=True)))
