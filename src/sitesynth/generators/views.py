"""Views of scans: mirrored, shifted and, if asked for, turned, scaled and bent.

So a small site has more to learn from. Axes: n = scans, c = channels, d = axes of the grid, then
the grid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor, nn

from sitesynth.images import crop


__all__ = ["Warp", "views_of"]

MAX_SHIFT = 2
"""Voxels per axis by which a view may be shifted."""
NUM_UNSHIFTED = 2

TURNS: Final = ((0, 1, 0.35), (0, 2, 0.1), (1, 2, 0.1))
"""Two axes, and by how many radians at most one is turned toward the other; the first in 2D."""
MAX_SCALE: Final = 0.12
"""By how much an axis may be longer or shorter."""
BEND: Final = 0.03
"""Standard deviation of the displacement of a few places, as a share of the axis; between them it
is interpolated."""
BENDING_PLACES: Final = 3
"""Per axis."""

CUBIC: Final = 3
LINEAR: Final = 1
HALF: Final = 0.5
"""From which on a warped mask counts as one."""


@final
@dataclass(frozen=True)
class Warp:
    """How far views are turned, scaled and bent."""

    amount: float
    """1 is as far as the constants of this module say, 0 not at all."""

    spacing: tuple[float, ...]
    """Size of a voxel, so that what is turned keeps its shape."""

    has_mask: bool
    """Whether the last channel is a mask, which stays one."""

    def apply(
        self, images: Float[Tensor, "n c ..."], *, rng: torch.Generator
    ) -> Float[Tensor, "n c ..."]:
        """Warp each scan in its own way; what comes in from outside mirrors the inside.

        By cubic splines, which keep what is fine: a flow learns the sharpness of its views.
        """
        grid = images.shape[2:]
        warped = torch.empty_like(images)
        for number, scan in enumerate(images):
            coordinates = self._coordinates(grid, rng).numpy()
            for channel, voxels in enumerate(scan.numpy()):
                is_mask = self.has_mask and channel == len(scan) - 1
                order = LINEAR if is_mask else CUBIC
                found = ndimage.map_coordinates(voxels, coordinates, order=order, mode="mirror")
                found = (found > HALF).astype(np.float32) if is_mask else found.clip(0.0, 1.0)
                warped[number, channel] = torch.from_numpy(found)
        return warped

    def _coordinates(self, grid: Sequence[int], rng: torch.Generator) -> Float[Tensor, "d ..."]:
        """Draw from where each voxel is taken, in voxels."""
        dims = len(grid)

        def draw(count: int) -> Tensor:
            return self.amount * (2 * torch.rand(count, generator=rng) - 1)

        planes = TURNS[: dims * (dims - 1) // 2]
        matrix = torch.diag(1 + MAX_SCALE * draw(dims))
        for angle, (one, other, limit) in zip(draw(len(planes)), planes, strict=True):
            turn = torch.eye(dims)
            cosine, sine = (limit * angle).cos(), (limit * angle).sin()
            turn[one, one], turn[one, other] = cosine, -sine
            turn[other, one], turn[other, other] = sine, cosine
            matrix = turn @ matrix
        sizes, spacing = torch.tensor(grid).float(), torch.tensor(self.spacing)
        # In millimetres, from voxels and to voxels.
        matrix = matrix * spacing / spacing[:, None]
        places = torch.stack(
            torch.meshgrid(*[torch.arange(size).float() for size in grid], indexing="ij")
        )
        centre = ((sizes - 1) / 2).reshape(-1, *([1] * dims))
        moved = centre + torch.tensordot(matrix, places - centre, dims=1)
        nodes = torch.randn((1, dims, *([BENDING_PLACES] * dims)), generator=rng)
        mode = {2: "bilinear", 3: "trilinear"}[dims]
        bend = nn.functional.interpolate(nodes, size=tuple(grid), mode=mode, align_corners=True)[0]
        bent: Tensor = moved + self.amount * BEND * sizes.reshape(-1, *([1] * dims)) * bend
        return bent


def views_of(
    images: Float[Tensor, "n c ..."],
    *,
    num_views: int,
    rng: torch.Generator,
    warp: Warp | None = None,
) -> Iterator[Float[Tensor, "n c ..."]]:
    """Show scans as they are, mirrored, and then shifted: each by its own few voxels along an axis.

    What a shift brings in from outside repeats the edge.

    Args:
        images: The scans.
        num_views: How often each is shown.
        rng: Source of the shifts.
        warp: What is done to shifted views beside; None leaves them as they are.
    """
    grid = images.shape[2:]
    edged = nn.functional.pad(images, [MAX_SHIFT] * (2 * len(grid)), mode="replicate")
    for number in range(num_views):
        corners = torch.randint(2 * MAX_SHIFT + 1, (len(images), len(grid)), generator=rng)
        if number < NUM_UNSHIFTED:
            corners = torch.full_like(corners, MAX_SHIFT)
        view = crop(edged, corners, grid)
        if warp is not None and number >= NUM_UNSHIFTED:
            view = warp.apply(view, rng=rng)
        yield view.flip(2) if number % 2 else view
