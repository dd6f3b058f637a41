"""The lines that figures draw, as numbers.

Axes: n = patients, r = resamples, k = points of a curve.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float


__all__ = ["Band", "roc_band", "roc_points", "thin_out"]

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]
Points = Float[np.ndarray, " k"]


@final
@dataclass(frozen=True, slots=True)
class Band:
    """Where a curve lies, point by point."""

    x: Points
    low: Points
    high: Points


def roc_points(labels: Labels, scores: Values) -> tuple[Points, Points]:
    """Return a receiver operating characteristic from (0, 0) to (1, 1); both classes must occur.

    Returns:
        False and true positive fraction at every threshold, from strict to lax. Patients of one
        score share a point, so that ties are a slope and not a step of their order.
    """
    false, true = _cumulated(labels, scores, np.ones((1, len(labels))))
    return false[0], true[0]


def roc_band(
    labels: Labels, scores: Values, weights: Float[np.ndarray, "r n"], *, confidence: float
) -> Band:
    """Return the pointwise interval of sensitivity at each false positive fraction.

    Args:
        labels: True for the positive class.
        scores: Higher for the positive class.
        weights: How often each resample drew each patient, both classes in every resample.
        confidence: Share of the resamples between the two lines.
    """
    grid = np.linspace(0.0, 1.0, 51)
    false, true = _cumulated(labels, scores, weights)
    # Points of one false positive fraction are told apart by less than any plot shows, so that the
    # curve at that fraction is the top of the step.
    nudge = 1e-12 * np.arange(false.shape[1])[::-1]
    curves = np.array([np.interp(grid, f - nudge, t) for f, t in zip(false, true, strict=True)])
    low, high = np.quantile(curves, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Band(grid, low, high)


def _cumulated(
    labels: Labels, scores: Values, weights: Float[np.ndarray, "r n"]
) -> tuple[Float[np.ndarray, "r k"], Float[np.ndarray, "r k"]]:
    """Return false and true positive fractions per resample, at thresholds from high to low."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.concatenate((ordered[1:] != ordered[:-1], [True])))
    start = np.zeros((len(weights), 1))
    fractions = []
    for of_class in (~labels, labels):
        counted = np.cumsum(weights[:, order] * of_class[order], axis=1)[:, ends]
        fractions.append(np.hstack([start, counted / counted[:, -1:]]))
    return fractions[0], fractions[1]


def thin_out(
    x: Points, y: Points, *, most: int
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Average runs of neighbouring points, so that at most `most` are left."""
    if len(x) <= most:
        return x, y
    runs = np.array_split(np.arange(len(x)), most)
    return np.array([x[run].mean() for run in runs]), np.array([y[run].mean() for run in runs])
