"""Intensities of one sequence of one scan, brought to [0, 1] from that scan alone.

MRI has no unit of intensity, so the range is measured in each scan, inside the head: most voxels
are air, and would set it otherwise. Nothing is measured across scans or sites, so an external
site's scans need nothing from anybody.
"""

import numpy as np
from jaxtyping import Bool, Float32

from sitesynth.errors import VolumeError


__all__ = ["rescale_intensity"]


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
    rescaled: np.ndarray = (voxels - low) / (high - low)
    np.clip(rescaled, 0, 1, out=rescaled)
    rescaled[~foreground] = 0
    return rescaled
