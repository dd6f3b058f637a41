"""What a network is shown of a sequence: the volume, or slices of every plane, at its own size.

    volume    the whole grid, brought to the network's size
    slices    as many of each plane, evenly apart between the first and the last that hold head

Intensities are in [0, 1]. They are shifted and divided by constants of the network's publisher, or
by mean and spread of the scan inside its head, which then has mean 0 and spread 1 and zeros around
it. Where a network has three channels, they are the same.

Axes: c = channels of the network, i = inputs, then the grid.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from sitesynth.settings import ExtractorSettings


__all__ = ["inputs_of"]

MIN_SPREAD = 1e-6


def inputs_of(
    sequence: Float[np.ndarray, "..."],
    head: Bool[np.ndarray, "..."],
    settings: ExtractorSettings,
) -> list[Float[Tensor, "i c ..."]]:
    """Return the inputs of one sequence, plane by plane; one of a volume or a picture.

    Args:
        sequence: In [0, 1].
        head: Where the scan's head is.
        settings: An entry under `extractors`.
    """
    voxels = torch.from_numpy(np.ascontiguousarray(sequence, dtype=np.float32))
    voxels = _normalized(voxels, torch.from_numpy(head), settings)
    if len(settings.size) == head.ndim:
        return [_resized(voxels[None], settings.size)]
    return [
        _resized(
            voxels.movedim(axis + 1, 0)[_slices(head, axis, settings.slices or 1)], settings.size
        )
        for axis in range(head.ndim)
    ]


def _normalized(
    voxels: Tensor, head: Tensor, settings: ExtractorSettings
) -> Float[Tensor, "c ..."]:
    """Return a sequence in the units of the network, once per channel."""
    if settings.mean is None or settings.spread is None:
        inside = voxels[head] if head.any() else voxels.flatten()
        spread = inside.std(correction=0).clamp_min(MIN_SPREAD)
        known = torch.where(head, (voxels - inside.mean()) / spread, torch.zeros(()))
        return known.expand(settings.channels, *voxels.shape)
    shape = (settings.channels, *([1] * voxels.ndim))
    mean, spread = (
        torch.tensor(values).reshape(shape) for values in (settings.mean, settings.spread)
    )
    shifted: Tensor = (voxels - mean) / spread
    return shifted


def _slices(head: np.ndarray, axis: int, count: int) -> list[int]:
    """Return the numbers of slices across an axis, evenly apart where there is head."""
    inside = np.flatnonzero(np.moveaxis(head, axis, 0).any(axis=(1, 2)))
    if not len(inside):
        inside = np.arange(head.shape[axis])
    places = (np.arange(count) + 0.5) / count * len(inside)
    chosen: list[int] = inside[places.astype(int)].tolist()
    return chosen


def _resized(pictures: Tensor, size: tuple[int, ...]) -> Tensor:
    mode = "trilinear" if len(size) == 3 else "bilinear"  # noqa: PLR2004
    return interpolate(pictures, size=size, mode=mode, align_corners=False, antialias=False)
