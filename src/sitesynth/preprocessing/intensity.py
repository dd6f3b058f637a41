"""Intensities of one sequence of one scan, brought to [0, 1] from that scan alone.

MRI has no unit of intensity, so the range is measured in each scan, inside the head: most voxels
are air, and would set it otherwise. Nothing is measured across scans or sites, so an external
site's scans need nothing from anybody. Landmarks, where a study has them, are numbers in its
settings like any other: they were measured before, at training sites (`landmarks`).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32

from sitesynth.errors import VolumeError


__all__ = [
    "DECILES",
    "deciles_of",
    "match_landmarks",
    "rescale_intensity",
    "standardize_intensity",
]

DECILES = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
"""Percentiles that are landmarks, as in Nyul, Udupa and Zhang (2000)."""

REACH = 4.0
"""Standard deviations from the mean that become 0 and 1."""


def rescale_intensity(
    voxels: Float32[np.ndarray, "*axes"],
    foreground: Bool[np.ndarray, "*axes"],
    *,
    low_percentile: float,
    high_percentile: float,
    named: str,
) -> Float32[np.ndarray, "*axes"]:
    """Map the foreground's range of intensities to [0, 1], and all outside it to 0.

    Args:
        voxels: A whole volume, finite, in whatever unit its scanner uses: measured before
            cropping, so that the range does not depend on the grid.
        foreground: True inside the head or body.
        low_percentile: Percentile (0 to 100) of the foreground that becomes 0; below is clipped.
        high_percentile: Percentile (0 to 100) of the foreground that becomes 1; above is clipped.
        named: What messages call the volume: its file.

    Returns:
        A new array.

    Raises:
        VolumeError: If the foreground is empty, or has one intensity, as in a blank scan.
    """
    low, high = _range_of(
        voxels,
        foreground,
        low_percentile=low_percentile,
        high_percentile=high_percentile,
        named=named,
    )
    rescaled: np.ndarray = (voxels - low) / (high - low)
    np.clip(rescaled, 0, 1, out=rescaled)
    rescaled[~foreground] = 0
    return rescaled


def standardize_intensity(
    voxels: Float32[np.ndarray, "*axes"],
    foreground: Bool[np.ndarray, "*axes"],
    *,
    low_percentile: float,
    high_percentile: float,
    named: str,
) -> Float32[np.ndarray, "*axes"]:
    """Map the foreground's mean to 1/2 and `REACH` standard deviations to 0 and 1: z-scores.

    Arguments, result and errors are those of `rescale_intensity`; what lies beyond the percentiles
    is brought to them before mean and standard deviation are taken.
    """
    low, high = _range_of(
        voxels,
        foreground,
        low_percentile=low_percentile,
        high_percentile=high_percentile,
        named=named,
    )
    clipped = np.clip(voxels, low, high)
    inside = clipped[foreground]
    mean, spread = inside.mean(dtype=np.float64), inside.std(dtype=np.float64)
    scores: np.ndarray = ((clipped - mean) / (2 * REACH * spread) + 0.5).astype(np.float32)
    np.clip(scores, 0, 1, out=scores)
    scores[~foreground] = 0
    return scores


def deciles_of(
    voxels: Float32[np.ndarray, "*axes"], foreground: Bool[np.ndarray, "*axes"]
) -> tuple[float, ...]:
    """Return the landmarks of one sequence of one scan, whose range is [0, 1] already."""
    return tuple(float(value) for value in np.percentile(voxels[foreground], DECILES))


def match_landmarks(
    voxels: Float32[np.ndarray, "*axes"],
    foreground: Bool[np.ndarray, "*axes"],
    standard: Sequence[float],
) -> Float32[np.ndarray, "*axes"]:
    """Bend intensities piecewise linearly, so that a scan's deciles become the standard's.

    Args:
        voxels: What `rescale_intensity` returned.
        foreground: True inside the head or body.
        standard: What each of the `DECILES` shall be.
    """
    own = np.array([0.0, *deciles_of(voxels, foreground), 1.0])
    wanted = np.array([0.0, *standard, 1.0])
    # Where many voxels have one value, several deciles do; the first of them counts.
    own, first = np.unique(own, return_index=True)
    matched: np.ndarray = np.interp(voxels, own, wanted[first]).astype(np.float32)
    matched[~foreground] = 0
    return matched


def _range_of(
    voxels: Float32[np.ndarray, "*axes"],
    foreground: Bool[np.ndarray, "*axes"],
    *,
    low_percentile: float,
    high_percentile: float,
    named: str,
) -> tuple[np.float32, np.float32]:
    """Return two percentiles of the foreground, sure that they differ."""
    inside = voxels[foreground]
    if inside.size == 0:
        raise VolumeError(
            f"{named}: no head or body stands out from the air, so there is nothing to measure "
            "intensities in. Look at the scan; leave it out if it is blank."
        )
    low, high = np.percentile(inside, (low_percentile, high_percentile)).astype(np.float32)
    if not low < high:
        raise VolumeError(
            f"{named}: intensities must differ inside the head or body, but the percentiles "
            f"{low_percentile} and {high_percentile} are both {low:g}. The sequence is blank or "
            "has too few gray levels; leave its path empty: a missing sequence is allowed."
        )
    return low, high
