r"""Whether probabilities mean what they say, by logistic recalibration (Cox, 1958).

    logit P(positive) = intercept + slope * logit(probability)

A slope below 1 says that probabilities are too extreme, as over-fitting makes them; above 1, too
timid. The intercept, with the slope held at 1, says by how much the log odds are too low for these
patients (calibration in the large): another prevalence shows here. A calibrated classifier has 1
and 0. Intervals are Wald's, from the information of the fit; one row is one patient.

Axes: n = patients.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit

from sitesynth.evaluation.intervals import CONFIDENCE, Interval, critical_value


__all__ = ["calibration_intercept", "calibration_slope"]

CLIP: Final = 1e-6
"""A probability of 0 or 1 has no log odds; it is taken as this far from it."""

MAX_STEPS: Final = 50
TOLERANCE: Final = 1e-10

MAX_SLOPE: Final = 50.0
"""Beyond it the classes are separated, and the slope grows for ever."""

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]


def calibration_slope(labels: Labels, probabilities: Values) -> tuple[float, Interval] | None:
    """Return the slope; None if it is not defined.

    That is where a class has no patient, all probabilities are equal, or the classes are separated.
    """
    odds = _log_odds(probabilities)
    if np.ptp(odds) == 0:
        return None
    fitted = _fit(np.stack([np.ones_like(odds), odds], axis=1), labels, np.zeros_like(odds))
    return None if fitted is None else _with_interval(*fitted, column=1)


def calibration_intercept(labels: Labels, probabilities: Values) -> tuple[float, Interval] | None:
    """Return the intercept at slope 1; None if a class has no patient."""
    odds = _log_odds(probabilities)
    fitted = _fit(np.ones((len(odds), 1)), labels, odds)
    return None if fitted is None else _with_interval(*fitted, column=0)


def _fit(
    design: np.ndarray, labels: Labels, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return coefficients and their covariance by Newton's method; None if there is no maximum."""
    if not labels.any() or labels.all():
        return None
    coefficients = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        expected = expit(design @ coefficients + offset)
        weighted = design * (expected * (1 - expected))[:, None]
        information = design.T @ weighted
        if np.linalg.cond(information) > 1 / np.finfo(float).eps:
            return None
        step = np.linalg.solve(information, design.T @ (labels - expected))
        # A step of more than this overshoots where probabilities are extreme.
        coefficients = coefficients + np.clip(step, -2.0, 2.0)
        if np.abs(coefficients).max() > MAX_SLOPE:
            return None
        if np.abs(step).max() < TOLERANCE:
            return coefficients, np.linalg.inv(information)
    return None


def _with_interval(
    coefficients: np.ndarray, covariance: np.ndarray, *, column: int
) -> tuple[float, Interval]:
    value = float(coefficients[column])
    half = critical_value(CONFIDENCE) * float(np.sqrt(covariance[column, column]))
    return value, Interval(value - half, value + half)


def _log_odds(probabilities: Values) -> np.ndarray:
    odds: np.ndarray = logit(np.clip(probabilities, CLIP, 1 - CLIP))
    return odds
