"""Whether two files show the same patient, by a hash of what they look like.

A perceptual hash after Zauner (2010), in two or three axes: the image is turned to right, anterior,
superior, cropped to its foreground and averaged to 24 voxels an axis; voxels are replaced by their
ranks; of the cosine transform's coefficients of middle frequency, only the signs are kept. So
voxel size, margins, orientation and any rising change of intensities hardly matter; the lowest
frequencies, in which all heads are alike, are left out.

Bits of two images of one patient differ in a few per cent, of two patients in a third (ADR 34).
A hash tells the rough shape of a head, at 5 mm and coarser, to who has it; it holds no intensity.

Axes: the image's.
"""

from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy import fft

from sitesynth.volumes import Volume


__all__ = ["likeness_of", "turned", "unpack"]

SIZE: Final = 24

FREQUENCIES: Final = {2: (3, 17), 3: (3, 8)}
"""By number of axes: least sum of a coefficient's frequencies, and what each stays below."""

TRIM: Final = 0.01
"""Share of the foreground that may lie outside the crop, at either end of each axis."""

RAS: Final = ("RL", "AP", "SI")


def likeness_of(volume: Volume) -> str | None:
    """Return the hash of an image as hexadecimal digits.

    None if nothing stands out, or nobody knows how it lies.
    """
    upright = turned(volume)
    if upright is None:
        return None
    voxels = np.nan_to_num(upright, posinf=0.0, neginf=0.0)
    foreground = voxels > voxels.mean(dtype=np.float64)
    if not foreground.any():
        return None
    for axis in range(voxels.ndim):
        others = tuple(other for other in range(voxels.ndim) if other != axis)
        averages = _averages(foreground.sum(axis=others, dtype=np.int64))
        voxels = np.moveaxis(np.tensordot(averages, voxels, axes=(1, axis)), 0, axis)
    order = np.empty(voxels.size, dtype=np.float32)
    order[voxels.ravel().argsort(kind="stable")] = np.arange(voxels.size)
    spectrum = fft.dctn(order.reshape(voxels.shape), norm="ortho")
    return np.packbits(spectrum[_kept(voxels.ndim)] > 0).tobytes().hex()


def unpack(likeness: str, *, num_axes: int) -> Bool[np.ndarray, " bits"]:
    """Return the bits of a hash of an image with so many axes."""
    packed = np.frombuffer(bytes.fromhex(likeness), dtype=np.uint8)
    bits: Bool[np.ndarray, " bits"] = np.unpackbits(packed).astype(bool)
    return bits[: int(_kept(num_axes).sum())]


@cache
def _kept(num_axes: int) -> Bool[np.ndarray, "..."]:
    frequencies = np.indices((SIZE,) * num_axes)
    low, high = FREQUENCIES[num_axes]
    kept: np.ndarray = (frequencies.sum(axis=0) >= low) & (frequencies.max(axis=0) < high)
    return kept


def turned(volume: Volume) -> Float32[np.ndarray, "..."] | None:
    """Return voxels with axes to the right, anterior (and superior), as near as axes allow.

    None if nobody knows how it lies.
    """
    voxels, orientation = volume.voxels, volume.orientation
    if any(not set(orientation) & set(pair) for pair in RAS[: voxels.ndim]):
        return None
    if voxels.ndim < len(RAS):
        return voxels
    axes = [next(n for n, letter in enumerate(orientation) if letter in pair) for pair in RAS]
    turned = voxels.transpose(axes)
    flipped = tuple(n for n, pair in enumerate(RAS) if orientation[axes[n]] == pair[1])
    return np.flip(turned, flipped) if flipped else turned


def _averages(counts: Int64[np.ndarray, " size"]) -> Float32[np.ndarray, "24 size"]:
    """Return the weights that average an axis over 24 equal parts of its foreground."""
    edges = np.concatenate(([0.0], np.cumsum(counts) / counts.sum()))
    low, high = np.interp((TRIM, 1 - TRIM), edges, np.arange(len(edges)))
    cuts = np.linspace(low, high, SIZE + 1)
    voxels = np.arange(len(counts))
    overlap = np.minimum(cuts[1:, None], voxels + 1) - np.maximum(cuts[:-1, None], voxels)
    weights = overlap.clip(min=0.0).astype(np.float32)
    averages: Float32[np.ndarray, "24 size"] = weights / weights.sum(axis=1, keepdims=True)
    return averages
