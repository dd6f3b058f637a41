"""A scan as some dozens of numbers, each with a name and a meaning: the default feature extractor.

Fixed, so that nothing is downloaded or trained, and the features of two sites, studies or years can
be compared. Per sequence: intensities in the head, texture in three bands, edges, and how the mask
stands out; between sequences: correlations; of the mask: volume, place and shape. Four sequences
and a mask in 3D give 57 features. ADR 20 says why, and what they cannot see.

A feature of a channel that the scan lacks is NaN. Features are compared after a `FeatureScale` has
brought them to the units in which a site's training scans vary.

Axes: n, m = scans, c = channels (sequences, then the mask), d = features, then the grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sitesynth.settings import MASK_CHANNEL
from sitesynth.storage import digest_of


__all__ = ["AXES", "Extractor", "FeatureScale", "extractor_for", "head_of", "mirrored"]

VERSION: Final = 1
"""Raised with every change to the numbers; a test holds them to it."""

HEAD_LEVEL: Final = 0.05
"""Head is where any sequence is brighter than this share of its range, or the mask is set."""

TAIL_PERCENTILES: Final = (5.0, 95.0)

BAND_SIGMAS: Final = (0.7, 1.4, 2.8)
"""Texture is measured between these widths of a Gaussian, in voxels, and below the first."""

FLOOR: Final = 1e-4
"""Added before a logarithm: a tenth of a grey level of 8 bits."""

MIN_SPREAD: Final = 1e-3
"""A feature that varies less among training scans says nothing, and would divide by about 0."""

MAX_DEVIATION: Final = 5.0
"""Standardized features are clipped here, lest one broken scan decide a mean of cubes."""

SEQUENCE_FEATURES: Final = (
    "mean",
    "spread",
    "dark tail",
    "bright tail",
    "fine texture",
    "middle texture",
    "coarse texture",
    "edges",
)
MASKED_FEATURES: Final = ("mask contrast", "mask spread", "mask rim")
AXES: Final = ("right", "anterior", "superior")
RIGHTWARD: Final = "mask centre right"

Voxels = Float[np.ndarray, "c ..."]


@final
@dataclass(frozen=True, slots=True)
class Extractor:
    """The default extractor, for scans of given channels."""

    sequences: tuple[str, ...]
    has_mask: bool
    dims: int
    """Axes of the grid, 2 or 3."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each feature is called."""
        return tuple(name for name, _ in self._definition())

    @property
    def digest(self) -> str:
        """SHA-256 of the definition: equal digests are equal features."""
        constants = [VERSION, HEAD_LEVEL, TAIL_PERCENTILES, BAND_SIGMAS, FLOOR]
        return digest_of([*constants, self.dims, self._definition()])

    def extract(self, voxels: Voxels, presence: Bool[np.ndarray, " c"]) -> Float[np.ndarray, " d"]:
        """Return the features of one scan in [0, 1]; NaN where a channel they need is missing."""
        shown = voxels[: len(self.sequences)][presence[: len(self.sequences)]]
        mask = voxels[-1] > 0.5 if self.has_mask and presence[-1] else None  # noqa: PLR2004
        head = head_of(shown)
        if mask is not None:
            head |= mask
        if not head.any():
            # A blank scan: its features are those of zeros, which no real scan is near.
            head[...] = True
        values = []
        for sequence in voxels[: len(self.sequences)]:
            values += _describe_sequence(sequence, head)
            if self.has_mask:
                values += _describe_inside(sequence, head, mask)
        inside = [sequence[head] for sequence in voxels[: len(self.sequences)]]
        values += [_correlation(a, b) for a, b in combinations(inside, 2)]
        values.append(float(head.mean()))
        if self.has_mask:
            values += _describe_mask(np.zeros_like(head) if mask is None else mask)
        features: np.ndarray = self.hide(np.array([values]), presence[None])[0]
        return features

    def hide(
        self, features: Float[np.ndarray, "n d"], presence: Bool[np.ndarray, "n c"]
    ) -> Float[np.ndarray, "n d"]:
        """Return features with those of missing channels NaN.

        Scans that have a channel are compared fairly with scans that lack it after the former's
        features were hidden too.
        """
        needs = np.zeros((features.shape[1], presence.shape[1]), dtype=bool)
        for row, (_, channels) in zip(needs, self._definition(), strict=True):
            row[list(channels)] = True
        lacking = (~presence).astype(int) @ needs.T > 0
        hidden: np.ndarray = np.where(lacking, np.nan, features)
        return hidden

    def _definition(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return each feature's name, and the numbers of the channels that it needs."""
        mask = len(self.sequences)
        defined: list[tuple[str, tuple[int, ...]]] = []
        for number, sequence in enumerate(self.sequences):
            defined += [(f"{sequence} {name}", (number,)) for name in SEQUENCE_FEATURES]
            if self.has_mask:
                defined += [(f"{sequence} {name}", (number, mask)) for name in MASKED_FEATURES]
        pairs = combinations(enumerate(self.sequences), 2)
        defined += [(f"{first}-{second} correlation", (a, b)) for (a, first), (b, second) in pairs]
        defined.append(("head", ()))
        if self.has_mask:
            shape = ["mask volume", *(f"mask centre {axis}" for axis in AXES[: self.dims])]
            shape += ["mask elongation", "mask raggedness"]
            defined += [(name, (mask,)) for name in shape]
        return defined


def extractor_for(channels: Sequence[str], dims: int) -> Extractor:
    """Return the default extractor for scans of these channels."""
    return Extractor(
        tuple(c for c in channels if c != MASK_CHANNEL), MASK_CHANNEL in channels, dims
    )


@final
@dataclass(frozen=True, slots=True)
class FeatureScale:
    """Mean and standard deviation of each feature over the scans that have it."""

    mean: Float[np.ndarray, " d"]
    spread: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "n d"]) -> "FeatureScale":
        """Measure the scale of a site's training scans."""
        known = np.isfinite(features)
        count = known.sum(axis=0)
        mean = np.where(known, features, 0.0).sum(axis=0) / np.maximum(count, 1)
        square = np.where(known, features - mean, 0.0) ** 2
        return cls(mean, np.sqrt(square.sum(axis=0) / np.maximum(count - 1, 1)))

    @property
    def varies(self) -> Bool[np.ndarray, " d"]:
        """Which features tell training scans apart; the others are left out."""
        return self.spread >= MIN_SPREAD

    def standardize(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n varying"]:
        """Return the features that vary, in standard deviations from the mean; NaN stays NaN."""
        keep = self.varies
        deviation = (features[:, keep] - self.mean[keep]) / self.spread[keep]
        clipped: np.ndarray = np.clip(deviation, -MAX_DEVIATION, MAX_DEVIATION)
        return clipped


def head_of(sequences: Float[np.ndarray, "q ..."]) -> Bool[np.ndarray, "..."]:
    """Return where any of a scan's sequences, in [0, 1], is brighter than the air around it."""
    head: np.ndarray = np.any(sequences > HEAD_LEVEL, axis=0)
    return head


def mirrored(features: Float[np.ndarray, "n d"], names: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Return the features of the same scans with left and right swapped."""
    signs = np.where(np.array(names) == RIGHTWARD, -1.0, 1.0)
    flipped: np.ndarray = features * signs
    return flipped


def _describe_sequence(voxels: np.ndarray, head: np.ndarray) -> list[float]:
    """Return `SEQUENCE_FEATURES`."""
    inside = voxels[head]
    dark, bright = np.percentile(inside, TAIL_PERCENTILES)
    blurred = [ndimage.gaussian_filter(voxels, sigma, mode="nearest") for sigma in BAND_SIGMAS]
    finer = [voxels, *blurred[:-1]]
    bands = [_log_spread((a - b)[head]) for a, b in zip(finer, blurred, strict=True)]
    slopes = np.sqrt(sum(np.gradient(blurred[0], axis=a) ** 2 for a in range(voxels.ndim))[head])
    edges = float(np.log10(np.percentile(slopes, TAIL_PERCENTILES[1]) + FLOOR))
    return [float(inside.mean()), float(inside.std()), float(dark), float(bright), *bands, edges]


def _describe_inside(voxels: np.ndarray, head: np.ndarray, mask: np.ndarray | None) -> list[float]:
    """Return `MASKED_FEATURES`; zeros where nothing, or everything, is inside the mask."""
    if mask is None or not mask.any() or mask[head].all():
        return [0.0] * len(MASKED_FEATURES)
    inside = voxels[mask]
    core = ndimage.binary_erosion(mask)
    rim = mask & ~core
    rim_excess = float(voxels[rim].mean() - voxels[core].mean()) if core.any() else 0.0
    contrast = float(inside.mean() - voxels[head & ~mask].mean())
    return [contrast, float(inside.std()), rim_excess]


def _describe_mask(mask: np.ndarray) -> list[float]:
    """Return volume, centre, elongation and raggedness of a mask; zeros if it is empty."""
    places = np.argwhere(mask)
    if not len(places):
        return [0.0] * (mask.ndim + 3)
    volume = len(places)
    centre = (places.mean(axis=0) + 0.5) / mask.shape - 0.5
    # A voxel's own extent, 1/12, keeps a mask of one voxel round and not undefined.
    spread = np.cov(places.T, bias=True) + np.eye(mask.ndim) / 12
    axes = np.sqrt(np.linalg.eigvalsh(spread))
    padded = np.pad(mask, 1).astype(np.int8)
    faces = sum(int(np.abs(np.diff(padded, axis=axis)).sum()) for axis in range(mask.ndim))
    cube = 2 * mask.ndim * volume ** ((mask.ndim - 1) / mask.ndim)
    return [
        float(np.log10(1 + volume)),
        *(float(value) for value in centre),
        float(np.log10(axes[-1] / axes[0])),
        float(np.log10(faces / cube)),
    ]


def _log_spread(values: np.ndarray) -> float:
    return float(np.log10(values.std() + FLOOR))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where one of them is constant."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
