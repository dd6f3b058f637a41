"""How different a set's scans are from each other: mean multi-scale SSIM over pairs.

A set of copies has 1. A generator whose mean lies above that of real scans has lost variety; below,
its scans differ in ways in which heads do not. Wang et al. (2003), on thumbnails, with the first
few of their five scales: as many as leave eight voxels along the shortest axis. The number of
scales belongs to the metric's name, and values of other grids do not compare.

Axes: n = scans, p = pairs, c = channels, then the grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage


__all__ = ["draw_pairs", "mean_of_known", "multiscale_ssim", "num_scales", "pair_similarities"]

SCALE_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Wang et al. (2003), Section 3.2; the first of them are rescaled to sum to 1."""

MIN_VOXELS: Final = 8
"""Least voxels along the shortest axis of the coarsest scale."""

WINDOW_SIGMA: Final = 1.5
"""Width of the Gaussian window (Wang et al., 2004)."""

LUMINANCE_FLOOR: Final = 0.01**2
CONTRAST_FLOOR: Final = 0.03**2
"""The constants C1 and C2 of Wang et al. (2004), for values in [0, 1]."""

Image = Float[np.ndarray, "..."]


def num_scales(grid: Sequence[int]) -> int:
    """Return how many scales a grid allows, at least 1."""
    allowed = 1
    while allowed < len(SCALE_WEIGHTS) and min(grid) // 2**allowed >= MIN_VOXELS:
        allowed += 1
    return allowed


def multiscale_ssim(first: Image, second: Image) -> float:
    """Return the similarity of two images in [0, 1]: 1 if and only if they are equal."""
    return _compare(_Pyramid.of(first), _Pyramid.of(second))


def draw_pairs(
    patients: Sequence[str], *, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Draw different pairs of scans of different patients: `count`, or all if there are fewer."""
    names = np.asarray(patients)
    rows, columns = np.nonzero(np.triu(names[:, None] != names[None, :]))
    chosen = rng.permutation(len(rows))[:count]
    return [(int(rows[number]), int(columns[number])) for number in sorted(chosen)]


def pair_similarities(
    thumbnails: Float[np.ndarray, "n c ..."],
    presence: Bool[np.ndarray, "n c"],
    pairs: Sequence[tuple[int, int]],
) -> Float[np.ndarray, " p"]:
    """Return each pair's mean over the channels that both scans have; NaN without a shared one.

    Pass image channels only: a mask's SSIM is about its background.
    """
    pyramids: dict[tuple[int, int], _Pyramid] = {}

    def pyramid(scan: int, channel: int) -> _Pyramid:
        if (scan, channel) not in pyramids:
            pyramids[scan, channel] = _Pyramid.of(thumbnails[scan, channel])
        return pyramids[scan, channel]

    similarities = np.full(len(pairs), np.nan)
    for number, (a, b) in enumerate(pairs):
        shared = np.flatnonzero(presence[a] & presence[b]).tolist()
        if shared:
            compared = [_compare(pyramid(a, channel), pyramid(b, channel)) for channel in shared]
            similarities[number] = np.mean(compared)
    return similarities


def mean_of_known(similarities: Float[np.ndarray, " p"]) -> float | None:
    """Return the mean over pairs that share a channel; None if none does."""
    known = similarities[np.isfinite(similarities)]
    return float(known.mean()) if len(known) else None


@final
@dataclass(frozen=True, slots=True)
class _Pyramid:
    """An image at each scale, with its local means and mean squares."""

    images: tuple[np.ndarray, ...]
    means: tuple[np.ndarray, ...]
    squares: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, image: np.ndarray) -> "_Pyramid":
        images = [np.asarray(image, dtype=np.float64)]
        for _ in range(num_scales(image.shape) - 1):
            images.append(_halved(images[-1]))
        means = tuple(_windowed(level) for level in images)
        return cls(tuple(images), means, tuple(_windowed(level**2) for level in images))


def _compare(first: _Pyramid, second: _Pyramid) -> float:
    weights = np.array(SCALE_WEIGHTS[: len(first.images)])
    weights /= weights.sum()
    product = 1.0
    for level, weight in enumerate(weights):
        mean_a, mean_b = first.means[level], second.means[level]
        covariance = _windowed(first.images[level] * second.images[level]) - mean_a * mean_b
        variances = first.squares[level] - mean_a**2 + second.squares[level] - mean_b**2
        similarity = (2 * covariance + CONTRAST_FLOOR) / (variances + CONTRAST_FLOOR)
        if level == len(first.images) - 1:
            luminance = 2 * mean_a * mean_b + LUMINANCE_FLOOR
            similarity = similarity * luminance / (mean_a**2 + mean_b**2 + LUMINANCE_FLOOR)
        # A negative mean has no real power; it says "unlike", as 0 does.
        product *= max(0.0, float(similarity.mean())) ** weight
    return product


def _windowed(image: np.ndarray) -> np.ndarray:
    blurred: np.ndarray = ndimage.gaussian_filter(image, WINDOW_SIGMA, mode="nearest", truncate=3.5)
    return blurred


def _halved(image: np.ndarray) -> np.ndarray:
    """Average over blocks of two voxels along each axis."""
    for axis in range(image.ndim):
        even = image.shape[axis] // 2 * 2
        cut = image.take(range(even), axis=axis)
        split = (*cut.shape[:axis], even // 2, 2, *cut.shape[axis + 1 :])
        image = cut.reshape(split).mean(axis=axis + 1)
    return image
