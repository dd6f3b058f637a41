"""The facts that baselines look at, as a table with a row per scan; NaN where one is not known.

baseline-covariates   the cohort's covariates, numbers as numbers and words as words
baseline-site         the hospital
baseline-intensity    per sequence: mean, standard deviation and percentiles inside the head,
                      and inside the mask where the scan has one
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float64

from sitesynth.cohorts.cells import NUMBERS
from sitesynth.errors import SettingsError
from sitesynth.features import head_of
from sitesynth.images import MASK, ImageSet
from sitesynth.settings import BASELINES


__all__ = ["facts_of"]

PERCENTILES: Final = (5, 50, 95)

HALF: Final = 0.5


def facts_of(images: ImageSet, *, baseline: str, covariates: Sequence[str]) -> pd.DataFrame:
    """Return what a baseline knows of each scan of an image set.

    Args:
        images: The scans; arrays are read one at a time, and only where intensities are asked for.
        baseline: Its name.
        covariates: Columns of the table that the cohort calls covariates.

    Raises:
        SettingsError: If there is no such baseline.
    """
    match baseline:
        case "baseline-covariates":
            table = images.table[list(covariates)].replace("", np.nan)
            numeric = [name for name in covariates if name in NUMBERS]
            return table.astype(dict.fromkeys(numeric, float))
        case "baseline-site":
            return images.table[["site"]]
        case "baseline-intensity":
            return pd.DataFrame(
                [_intensities(images, index) for index in range(len(images))],
                index=range(len(images)),
            )
        case _:
            raise SettingsError(f"there is no baseline '{baseline}'; there are {list(BASELINES)}.")


def _intensities(images: ImageSet, index: int) -> dict[str, float]:
    voxels, presence = images.load([index])[0].numpy(), images.presence[index].numpy()
    shown = [number for number in range(len(images.sequences)) if presence[number]]
    regions = {"head": head_of(voxels[shown])}
    if MASK in images.channels and presence[-1]:
        regions[MASK] = voxels[-1] > HALF
    return {
        f"{images.sequences[number]} {figure} in {region}": value
        for number in shown
        for region, inside in regions.items()
        if inside.any()
        for figure, value in _figures(voxels[number][inside].astype(np.float64)).items()
    }


def _figures(inside: Float64[np.ndarray, " m"]) -> dict[str, float]:
    levels = zip(PERCENTILES, np.percentile(inside, PERCENTILES), strict=True)
    return {"mean": float(inside.mean()), "spread": float(inside.std())} | {
        f"percentile {level}": float(value) for level, value in levels
    }
