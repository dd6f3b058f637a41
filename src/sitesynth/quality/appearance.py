"""No-reference quality of scans: BRISQUE and PIQE inside the head, along every axis.

A scan is cut into slices across each of its axes; the slices of an axis are scored together, as
eight-bit grey levels, inside the head. A scan's score is the mean over axes and over the sequences
that it has. Real and synthetic scans go through this code alike, and a synthetic scan is scored by
the sequences that its real twin has.

Neither score was made for scans, or for slices of two dozen voxels: a lower one is not better.
What counts is how far synthetic scans are from real ones of the same grid.

Axes: n = scans, c = channels, q = sequences, p = planes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.features import head_of
from sitesynth.quality import distributions
from sitesynth.quality.brisque import brisque
from sitesynth.quality.piqe import piqe


__all__ = ["METRICS", "AppearanceScores", "plane_names", "summarize_appearance"]

METRICS: Final = {"brisque": brisque, "piqe": piqe}

MOST_SLICES: Final = 8
"""Slices of a plane that are scored, evenly apart: more say little that is new."""

GREY_LEVELS: Final = 255


def plane_names(dims: int) -> tuple[str, ...]:
    """Return what slices across each axis are called; a picture is one slice."""
    return ("sagittal", "coronal", "axial") if dims == 3 else ("plane",)  # noqa: PLR2004


@final
@dataclass(frozen=True)
class AppearanceScores:
    """Scores of a set of scans, filled one scan at a time."""

    presence: Bool[np.ndarray, "n c"]
    """The channels by which each scan is scored."""

    num_sequences: int

    rows: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    """By scan, from 0, and by metric: a score per plane; NaN where it has none."""

    def observe(self, number: int, voxels: Float[np.ndarray, "c ..."]) -> None:
        """Score scan `number`."""
        sequences = np.flatnonzero(self.presence[number][: self.num_sequences]).tolist()
        head = head_of(voxels[sequences])
        planes: dict[str, list[list[float]]] = {metric: [] for metric in METRICS}
        for axis in range(head.ndim) if head.ndim == 3 else [None]:  # noqa: PLR2004
            found: dict[str, list[float]] = {metric: [] for metric in METRICS}
            for sequence in sequences:
                stack, mask = _slices(voxels[sequence], head, axis)
                for metric, measure in METRICS.items():
                    score = measure(stack, mask)
                    found[metric].append(np.nan if score is None else score)
            for metric, scores in found.items():
                planes[metric].append(scores)
        self.rows[number] = {
            metric: [_mean_of_known(scores) for scores in by_plane]
            for metric, by_plane in planes.items()
        }

    def of(self, metric: str) -> Float[np.ndarray, "n p"]:
        """Return every scan's score in every plane."""
        return np.array([self.rows[number][metric] for number in sorted(self.rows)])

    def overall(self, metric: str) -> Float[np.ndarray, " n"]:
        """Return every scan's mean over planes."""
        return np.array([_mean_of_known(row) for row in self.of(metric)])


def summarize_appearance(
    scores: AppearanceScores,
    reference: AppearanceScores | None,
    *,
    patients: Sequence[str],
    reference_patients: Sequence[str],
    dims: int,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return each metric's distribution over scans, by plane too, and how far from a reference's.

    Null where no scan has enough head for a score; without `difference` and `distance` where there
    is no reference.
    """
    drawn: dict[str, Any] = {"num_resamples": num_resamples, "rng": rng}
    report: dict[str, Any] = {}
    for metric in METRICS:
        by_plane, overall = scores.of(metric), scores.overall(metric)
        told = distributions.describe(overall, patients, **drawn)
        if told is not None:
            told["planes"] = {
                name: distributions.describe(by_plane[:, number], patients, **drawn)
                for number, name in enumerate(plane_names(dims))
            }
            if reference is not None:
                compared = distributions.compare(
                    overall,
                    reference.overall(metric),
                    patients_x=patients,
                    patients_y=reference_patients,
                    **drawn,
                )
                told |= compared or dict.fromkeys(("difference", "distance"))
        report[metric] = told
    return report


def _slices(
    voxels: np.ndarray, head: np.ndarray, axis: int | None
) -> tuple[Float[np.ndarray, "s h w"], Bool[np.ndarray, "s h w"]]:
    """Return slices across an axis that hold any head, as grey levels, and the head in them."""
    if axis is None:
        stack, mask = voxels[None], head[None]
    else:
        stack, mask = np.moveaxis(voxels, axis, 0), np.moveaxis(head, axis, 0)
        inside = np.flatnonzero(mask.any(axis=(1, 2)))
        if len(inside) > MOST_SLICES:
            inside = inside[np.linspace(0, len(inside) - 1, MOST_SLICES).round().astype(int)]
        stack, mask = stack[inside], mask[inside]
    return np.round(stack.astype(np.float64) * GREY_LEVELS), mask


def _mean_of_known(values: Sequence[float] | np.ndarray) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
