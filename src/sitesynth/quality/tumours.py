"""Tumours of synthetic scans beside those of real ones: how large, where, and how they enhance.

Read from the features, so from the mask channel and what lies in it: `contrast` is how much
brighter a sequence is in the mask than in the rest of the head (in t1c, enhancement), `rim` how
much brighter at the mask's border than in its core (in t1c of a glioblastoma, the ring).

Axes: n = scans, d = features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from sitesynth.features import AXES, Extractor
from sitesynth.quality import distributions


__all__ = ["ALL", "compare_tumours", "tumour_statistics"]

ALL: Final = "all"
"""The group of every class together."""

MM3_PER_ML: Final = 1000.0

Json = dict[str, Any]


def tumour_statistics(
    features: Float[np.ndarray, "n d"],
    extractor: Extractor,
    *,
    grid: Sequence[int],
    spacing_mm: Sequence[float] | None,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return each scan's tumour in numbers, by name with unit; NaN where there is no mask.

    Without a voxel size, volumes are in voxels and places in voxels too.
    """
    if not extractor.has_mask:
        return {}
    column = dict(zip(extractor.names, features.T, strict=True))
    voxels = 10 ** column["mask volume"] - 1
    size = np.ones(len(grid)) if spacing_mm is None else np.asarray(spacing_mm)
    length = "voxels" if spacing_mm is None else "mm"
    volume = voxels if spacing_mm is None else voxels * size.prod() / MM3_PER_ML
    statistics = {f"volume, {'voxels' if spacing_mm is None else 'ml'}": volume}
    for name, count, step in zip(AXES[: extractor.dims], grid, size, strict=True):
        statistics[f"centre {name}, {length}"] = column[f"mask centre {name}"] * count * step
    statistics["elongation, log10"] = column["mask elongation"]
    statistics["raggedness, log10"] = column["mask raggedness"]
    for sequence in extractor.sequences:
        statistics[f"{sequence} contrast"] = column[f"{sequence} mask contrast"]
        statistics[f"{sequence} rim"] = column[f"{sequence} mask rim"]
    is_empty = voxels < 0.5  # noqa: PLR2004
    first, *others = statistics
    nothing = {name: np.where(is_empty, np.nan, statistics[name]) for name in others}
    return {first: statistics[first], **nothing}


def compare_tumours(
    train: Mapping[str, np.ndarray],
    held_out: Mapping[str, np.ndarray],
    synthetic: Mapping[str, np.ndarray],
    *,
    labels: tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Int[np.ndarray, " _"]],
    patients: tuple[Sequence[str], Sequence[str], Sequence[str]],
    classes: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> Json:
    """Compare statistics over all classes, and within each.

    Args:
        train: Of training scans, from `tumour_statistics`.
        held_out: Of held-out real scans.
        synthetic: Of synthetic scans.
        labels: Class numbers of the three.
        patients: Whose each scan of the three is.
        classes: Names of the classes.
        num_resamples: Resamples behind each interval.
        rng: Source of the resamples.

    Returns:
        By group and statistic: `real`, all real scans; `synthetic`, with its difference and
        distance from them; `floor`, the same between training and held-out scans.
    """
    drawn: Json = {"num_resamples": num_resamples, "rng": rng}
    report: Json = {}
    for number, group in enumerate([*classes, ALL]):
        rows = [np.ones(len(own), bool) if group == ALL else own == number for own in labels]
        owners = [
            np.asarray(names)[chosen].tolist() for names, chosen in zip(patients, rows, strict=True)
        ]
        report[group] = {}
        for name in train:
            sets = [
                statistics[name][chosen]
                for statistics, chosen in zip((train, held_out, synthetic), rows, strict=True)
            ]
            real, whose = np.concatenate(sets[:2]), owners[0] + owners[1]
            described = distributions.describe(sets[2], owners[2], **drawn)
            compared = distributions.compare(
                sets[2], real, patients_x=owners[2], patients_y=whose, **drawn
            )
            report[group][name] = {
                "real": distributions.describe(real, whose, **drawn),
                "synthetic": described and {**described, **(compared or {})},
                "floor": distributions.compare(
                    *sets[:2], patients_x=owners[0], patients_y=owners[1], **drawn
                ),
            }
    return report
