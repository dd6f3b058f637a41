"""How alike two scans are as pictures of one person, in two views.

**features**: the cosine between standardized features. **voxels**: the mean over shared channels
of the correlation between thumbnails, after the training scans' mean picture was taken away: what
all heads share is no sign of copying. Both are directions, not distances: a generator whose scans
are merely average or smooth is near to everyone by distance, and copies no one.

A scan and its mirror image are one person, because generators are trained on both.

Axes: n, m = scans, c = channels, d = features, v = voxels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float

from sitesynth.described import Described, shrink
from sitesynth.features import FeatureScale, mirrored


__all__ = ["COARSE_VOXELS", "RIGHT", "VIEWS", "SimilarityView", "feature_view", "voxel_view"]

COARSE_VOXELS: Final = 16
"""Most voxels along an axis in the voxel view: noise goes, the person stays."""

RIGHT: Final = 2
"""Axis of thumbnails that runs toward the right."""

VIEWS: Final = ("features", "voxels")

SimilarityView = Callable[[Described, Described], Float[np.ndarray, "n m"]]
"""Similarity in [-1, 1] of each scan of the first set with each of the second."""


def feature_view(train: Described, names: Sequence[str]) -> SimilarityView:
    """Return the view in the features of a site's training scans."""
    scale = FeatureScale.of(train.features)

    def similarity(first: Described, second: Described) -> Float[np.ndarray, "n m"]:
        a = scale.standardize(first.features)
        sides = (second.features, mirrored(second.features, names))
        there, back = (_cosines(a, scale.standardize(side)) for side in sides)
        best: np.ndarray = np.maximum(there, back)
        return best

    return similarity


def voxel_view(train: Described) -> SimilarityView:
    """Return the view in what distinguishes a site's training scans from their mean."""
    mean = _mean_picture(train)

    def similarity(first: Described, second: Described) -> Float[np.ndarray, "n m"]:
        a, b = _Residuals.of(first, mean), _Residuals.of(second, mean)
        flipped = _Residuals.of(_flipped(second), mean)
        best: np.ndarray = np.maximum(a.correlate(b), a.correlate(flipped))
        return best

    return similarity


@final
@dataclass(frozen=True)
class _Residuals:
    """Pictures without their mean, of mean 0 and length 1 per scan and channel."""

    unit: Float[np.ndarray, "n c v"]
    present: Float[np.ndarray, "n c"]

    @classmethod
    def of(cls, scans: Described, mean: np.ndarray) -> "_Residuals":
        residual = _coarse(scans.thumbnails) - mean
        residual = residual - residual.mean(axis=2, keepdims=True)
        length = np.sqrt((residual**2).sum(axis=2, keepdims=True))
        unit = np.divide(residual, length, out=np.zeros_like(residual), where=length > 0)
        return cls(unit, scans.presence.astype(float))

    def correlate(self, other: "_Residuals") -> Float[np.ndarray, "n m"]:
        """Return mean correlations over shared channels; -1 where there is none."""
        total = np.zeros((len(self.unit), len(other.unit)))
        for channel in range(self.unit.shape[1]):
            shared = self.present[:, channel, None] * other.present[None, :, channel]
            total += shared * (self.unit[:, channel] @ other.unit[:, channel].T)
        count = self.present @ other.present.T
        mean: np.ndarray = np.divide(total, count, out=np.full_like(total, -1.0), where=count > 0)
        return mean


def _mean_picture(scans: Described) -> np.ndarray:
    """Return the mean of scans and their mirror images, per channel over the scans that have it."""
    both = (_coarse(scans.thumbnails) + _coarse(_flipped(scans).thumbnails)) / 2
    present = scans.presence[..., None].astype(float)
    mean: np.ndarray = (both * present).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    return mean


def _flipped(scans: Described) -> Described:
    thumbnails = np.flip(scans.thumbnails, axis=RIGHT)
    return Described(scans.features, thumbnails, scans.presence, scans.patients)


def _coarse(thumbnails: np.ndarray) -> np.ndarray:
    """Return thumbnails at the coarser grid of this view, voxels in one axis."""
    n, c = thumbnails.shape[:2]
    coarse = shrink(thumbnails.reshape(n * c, *thumbnails.shape[2:]), most=COARSE_VOXELS)
    flat: np.ndarray = coarse.reshape(n, c, -1).astype(np.float64)
    return flat


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return cosines over the features that both rows have; 0 where one of them is all 0."""
    has_a, has_b = np.isfinite(a).astype(float), np.isfinite(b).astype(float)
    a, b = np.nan_to_num(a, nan=0.0), np.nan_to_num(b, nan=0.0)
    length = np.sqrt((a**2 @ has_b.T) * (has_a @ (b**2).T))
    cosines: np.ndarray = np.divide(a @ b.T, length, out=np.zeros_like(length), where=length > 0)
    return cosines
