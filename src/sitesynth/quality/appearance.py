"""No-reference quality of scans inside the head, along every axis: BRISQUE, PIQE, artefacts.

A scan is cut into slices across each of its axes; the slices of an axis are scored together, as
eight-bit grey levels, inside the head. A scan's score is the mean over axes and over the sequences
that it has. Real and synthetic scans go through this code alike, and a synthetic scan is scored by
the sequences that its real twin has.

BRISQUE and PIQE were not made for scans, or for slices of two dozen voxels; noise level, edge
sharpness and fine power (`sitesynth.quality.artefacts`) are of one fault each, and have no good or
bad side. Of none is a lower one better: what counts is how far synthetic scans are from real ones
of the same grid.

Axes: n = scans, c = channels, q = sequences, p = planes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.features import head_of
from sitesynth.quality import distributions
from sitesynth.quality.artefacts import ARTEFACTS
from sitesynth.quality.brisque import brisque
from sitesynth.quality.piqe import piqe


__all__ = [
    "METRICS",
    "AppearanceScores",
    "plane_names",
    "summarize_appearance",
    "summarize_artefacts",
]

METRICS: Final = {"brisque": brisque, "piqe": piqe}
MEASURES: Final = {**METRICS, **ARTEFACTS}

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

    rows: dict[int, dict[str, Float[np.ndarray, "p q"]]] = field(default_factory=dict)
    """By scan, from 0, and by measure: a score per plane and sequence; NaN where it has none."""

    def observe(self, number: int, voxels: Float[np.ndarray, "c ..."]) -> None:
        """Score scan `number`."""
        sequences = np.flatnonzero(self.presence[number][: self.num_sequences]).tolist()
        head = head_of(voxels[sequences])
        axes = range(head.ndim) if head.ndim == 3 else [None]  # noqa: PLR2004
        found = {measure: np.full((len(axes), self.num_sequences), np.nan) for measure in MEASURES}
        for plane, axis in enumerate(axes):
            for sequence in sequences:
                stack, mask = _slices(voxels[sequence], head, axis)
                for name, measure in MEASURES.items():
                    score = measure(stack, mask)
                    if score is not None:
                        found[name][plane, sequence] = score
        self.rows[number] = found

    def of(self, measure: str) -> Float[np.ndarray, "n p"]:
        """Return every scan's score in every plane, the mean over its sequences."""
        return np.array([[_mean_of_known(row) for row in scan] for scan in self._scans(measure)])

    def by_sequence(self, measure: str) -> Float[np.ndarray, "n q"]:
        """Return every scan's score of every sequence, the mean over planes."""
        return np.array([[_mean_of_known(row) for row in scan.T] for scan in self._scans(measure)])

    def overall(self, measure: str) -> Float[np.ndarray, " n"]:
        """Return every scan's mean over planes."""
        return np.array([_mean_of_known(row) for row in self.of(measure)])

    def _scans(self, measure: str) -> list[Float[np.ndarray, "p q"]]:
        return [self.rows[number][measure] for number in sorted(self.rows)]


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
    """Return BRISQUE's and PIQE's distribution over scans, and how far from a reference's.

    By plane too. Null where no scan has enough head for a score; without `difference` and
    `distance` where there is no reference.
    """
    compare = _Comparison(patients, reference_patients, num_resamples, rng)
    return {metric: _told(metric, scores, reference, dims, compare) for metric in METRICS}


def summarize_artefacts(
    scores: AppearanceScores,
    reference: AppearanceScores | None,
    *,
    patients: Sequence[str],
    reference_patients: Sequence[str],
    dims: int,
    sequences: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return the same of noise level, edge sharpness and fine power; by sequence, too."""
    compare = _Comparison(patients, reference_patients, num_resamples, rng)
    report: dict[str, Any] = {}
    for measure in ARTEFACTS:
        told = _told(measure, scores, reference, dims, compare)
        if told is not None:
            found = scores.by_sequence(measure)
            others = None if reference is None else reference.by_sequence(measure)
            told["sequences"] = {
                name: compare(found[:, number], None if others is None else others[:, number])
                for number, name in enumerate(sequences)
            }
        report[measure] = told
    return report


@final
@dataclass(frozen=True, slots=True)
class _Comparison:
    """Describes values of some scans, and compares them with those of reference scans."""

    patients: Sequence[str]
    reference_patients: Sequence[str]
    num_resamples: int
    rng: np.random.Generator

    def __call__(
        self, values: Float[np.ndarray, " n"], others: Float[np.ndarray, " m"] | None
    ) -> dict[str, Any] | None:
        told = self.describe(values)
        return told if told is None or others is None else told | self.compare(values, others)

    def describe(self, values: Float[np.ndarray, " n"]) -> dict[str, Any] | None:
        return distributions.describe(
            values, self.patients, num_resamples=self.num_resamples, rng=self.rng
        )

    def compare(
        self, values: Float[np.ndarray, " n"], others: Float[np.ndarray, " m"]
    ) -> dict[str, Any]:
        compared = distributions.compare(
            values,
            others,
            patients_x=self.patients,
            patients_y=self.reference_patients,
            num_resamples=self.num_resamples,
            rng=self.rng,
        )
        return {**(compared or dict.fromkeys(("difference", "distance")))}


def _told(
    measure: str,
    scores: AppearanceScores,
    reference: AppearanceScores | None,
    dims: int,
    compare: _Comparison,
) -> dict[str, Any] | None:
    by_plane, overall = scores.of(measure), scores.overall(measure)
    told = compare.describe(overall)
    if told is None:
        return None
    told["planes"] = {
        name: compare.describe(by_plane[:, number]) for number, name in enumerate(plane_names(dims))
    }
    if reference is not None:
        told |= compare.compare(overall, reference.overall(measure))
    return told


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
