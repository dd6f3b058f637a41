"""How strong a scan's texture is around each voxel, in the bands of the fixed features.

A voxel's mean absolute error asks for the median of what a place may look like, which is smooth:
texture that is as strong but lies a voxel apart costs more than none at all. Strength, averaged
over a neighbourhood, does not know where exactly a texture's waves lie (as statistics of filters'
responses do not: Portilla and Simoncelli, 2000).

Axes: n = scans, c = channels, b = bands, then the grid.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from sitesynth.features import BAND_SIGMAS, FLOOR


__all__ = ["textures_of"]

NEIGHBOURHOOD: Final = BAND_SIGMAS[-1]
"""Width of the Gaussian within which strength is averaged, in voxels."""


def textures_of(images: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c b ..."]:
    """Return the root mean square of each band around each voxel, in units of intensity."""
    blurred = [images, *(_blur(images, sigma) for sigma in BAND_SIGMAS)]
    bands = [finer - coarser for finer, coarser in pairwise(blurred)]
    power = [_blur(band.square(), NEIGHBOURHOOD) for band in bands]
    # The floor keeps the root's slope finite where there is no texture.
    return (torch.stack(power, dim=2) + FLOOR**2).sqrt()


def _blur(images: Float[Tensor, "n c ..."], sigma: float) -> Float[Tensor, "n c ..."]:
    """Return what SciPy's Gaussian filter makes of each scan, as the features do."""
    for axis in range(2, images.ndim):
        unit = np.eye(images.shape[axis])
        weights = ndimage.gaussian_filter1d(unit, sigma, axis=0, mode="nearest")
        matrix = torch.tensor(weights, dtype=images.dtype, device=images.device)
        images = torch.tensordot(images, matrix, dims=([axis], [1])).movedim(-1, axis)
    return images
