"""How good an image is, in numbers that need no reference: what a reader's eye would stop at.

    noise   standard deviation of the noise inside the foreground, from second differences along
            the first axis (Immerkaer, 1996, in one dimension), by their median
    snr     mean of the foreground over the noise
    cnr     distance of its 10th and 90th percentile over the noise: contrast between tissues
    efc     entropy focus criterion (Atkinson et al., 1997), 0 for one bright voxel and 1 for a
            flat image: ghosts and blur of a moving patient raise it

Measured in the middle half of the last axis, which is quick and leaves out empty ends. Their units
are the file's: they are compared within a site and a sequence, never with a limit.
"""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import pandas as pd
from jaxtyping import Float32


__all__ = ["MEASURES", "ImageQuality", "assess_image", "find_outliers"]

MEASURES: Final = ("snr", "cnr", "efc", "foreground_fraction")
"""What is compared among the scans of a site."""

NORMAL_MAD: Final = 0.6745
"""Median absolute deviation of a standard normal."""

SECOND_DIFFERENCE: Final = 6.0**0.5
"""Spread of x[i-1] - 2 x[i] + x[i+1] in units of that of x."""

FAR: Final = 5.0
"""Robust standard deviations from a site's median beyond which a scan is flagged: one normal value
in two million lies there."""

MIN_SCANS: Final = 8
"""A median of fewer scans says nothing of what is usual."""

TAILS: Final = (10, 90)


@final
@dataclass(frozen=True, slots=True)
class ImageQuality:
    """The measures of one image; None where it has no foreground, or no noise to compare with."""

    snr: float | None
    cnr: float | None
    efc: float | None


def assess_image(voxels: Float32[np.ndarray, "..."]) -> ImageQuality:
    """Measure an image, whose voxels that are no finite number count as zero."""
    quarter = voxels.shape[-1] // 4
    middle = np.nan_to_num(
        voxels[..., quarter : voxels.shape[-1] - quarter], posinf=0.0, neginf=0.0
    ).astype(np.float64)
    foreground = middle > middle.mean()
    if not foreground.any():
        return ImageQuality(None, None, None)
    inside = middle[foreground]
    level, (dark, bright) = float(inside.mean()), np.percentile(inside, TAILS)
    noise = _noise(middle, foreground)
    return ImageQuality(
        snr=level / noise if noise else None,
        cnr=float(bright - dark) / noise if noise else None,
        efc=_entropy_focus(middle),
    )


def find_outliers(files: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the files that are unlike the others of their column, by measure.

    Args:
        files: A site's: scan_id, column and `MEASURES`; NaN where not measured.
    """
    found = []
    for column, group in files.groupby("column", sort=True):
        for measure in MEASURES:
            known = group[["scan_id", measure]].dropna()
            values = known[measure].to_numpy(dtype=float)
            if len(values) < MIN_SCANS:
                continue
            middle = float(np.median(values))
            spread = float(np.median(np.abs(values - middle))) / NORMAL_MAD
            if spread == 0.0:
                continue
            for scan_id, value in zip(known["scan_id"], values, strict=True):
                deviation = (float(value) - middle) / spread
                if abs(deviation) > FAR:
                    found.append(
                        {
                            "scan_id": scan_id,
                            "column": column,
                            "measure": measure,
                            "value": float(value),
                            "median": middle,
                            "deviation": round(deviation, 2),
                        }
                    )
    return found


def _noise(voxels: np.ndarray, foreground: np.ndarray) -> float:
    """Return the noise inside the foreground; 0 if three neighbours are never inside."""
    curved = voxels[:-2] - 2 * voxels[1:-1] + voxels[2:]
    inside = foreground[:-2] & foreground[1:-1] & foreground[2:]
    if not inside.any():
        return 0.0
    return float(np.median(np.abs(curved[inside]))) / NORMAL_MAD / SECOND_DIFFERENCE


def _entropy_focus(voxels: np.ndarray) -> float | None:
    shares = np.abs(voxels[voxels != 0])
    length = float(np.sqrt(np.square(shares).sum()))
    if length == 0.0 or voxels.size == 1:
        return None
    shares = shares / length
    # Of an image of equal voxels, each 1 / sqrt(n).
    largest = 0.5 * np.sqrt(voxels.size) * np.log(voxels.size)
    return float(-(shares * np.log(shares)).sum() / largest)
