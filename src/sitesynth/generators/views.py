"""Views of scans: mirrored and shifted, so that a small site has more to learn from.

Axes: n = scans, c = channels, then the grid.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sitesynth.images import crop


__all__ = ["views_of"]

MAX_SHIFT = 2
"""Voxels per axis by which a view may be shifted."""
NUM_UNSHIFTED = 2


def views_of(
    images: Float[Tensor, "n c ..."], *, num_views: int, rng: torch.Generator
) -> Iterator[Float[Tensor, "n c ..."]]:
    """Show scans as they are, mirrored, and then shifted: each by its own few voxels along an axis.

    What a shift brings in from outside repeats the edge.
    """
    grid = images.shape[2:]
    edged = nn.functional.pad(images, [MAX_SHIFT] * (2 * len(grid)), mode="replicate")
    for number in range(num_views):
        corners = torch.randint(2 * MAX_SHIFT + 1, (len(images), len(grid)), generator=rng)
        if number < NUM_UNSHIFTED:
            corners = torch.full_like(corners, MAX_SHIFT)
        view = crop(edged, corners, grid)
        yield view.flip(2) if number % 2 else view
