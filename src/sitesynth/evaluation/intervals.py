"""95 % confidence intervals whose unit is the patient.

| metric | interval | why |
|---|---|---|
| AUC | DeLong, logit scale | closed form, stays inside (0, 1) |
| AUC of a constant | 0.5 alone | it would be 0.5 in any patients |
| AUC of 0 or 1, or one patient in a class | Newcombe's method 5 | DeLong's variance is 0 there |
| sensitivity, specificity | Wilson | a bootstrap of 12 right out of 12 says [1, 1] |
| accuracy, balanced accuracy | MOVER on those two | the same reason; class sizes are given |
| Brier | stratified bootstrap, BCa | squared errors are skewed: the percentile covers 92 % |
| ECE | what chance adds below, stratified bootstrap above | its bootstrap covers 0 to 70 % |
| difference of AUC | DeLong, and stratified bootstrap beside it | see `paired` |

`benchmarks/coverage_of_intervals.py` measures how often each covers the truth.

Axes: n = patients, r = resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit, ndtr, ndtri

from sitesynth.evaluation.metrics import placements


__all__ = [
    "CONFIDENCE",
    "Interval",
    "auc_interval",
    "bca_interval",
    "critical_value",
    "draw_resamples",
    "ece_interval",
    "find_root",
    "newcombe_interval",
    "percentile_interval",
    "weighted_interval",
    "wilson_interval",
]

CONFIDENCE = 0.95

EDGE = 1e-12

NUM_HALVINGS = 34
"""Leaves 1e-10 of the interval."""

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """Where a value lies with the stated confidence."""

    low: float
    high: float


def critical_value(confidence: float) -> float:
    """Return the standard normal deviate of a two-sided interval: 1.96 for 0.95."""
    return float(ndtri((1 + confidence) / 2))


def wilson_interval(
    successes: int, trials: int, *, confidence: float = CONFIDENCE
) -> Interval | None:
    """Return Wilson's (1927) score interval of a proportion; None without a trial."""
    if trials == 0:
        return None
    z = critical_value(confidence)
    share = successes / trials
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    # The ends are exact at 0 and 1, but floating point misses them by 1e-17.
    low = 0.0 if successes == 0 else float(center - half)
    high = 1.0 if successes == trials else float(center + half)
    return Interval(low, high)


def weighted_interval(parts: Sequence[tuple[float, float, Interval]]) -> Interval:
    """Return the interval of a weighted sum of independent estimates.

    MOVER, the method of variance estimates recovery (Zou and Donner, 2008).

    Args:
        parts: A weight of at least 0, an estimate, and the estimate's interval, each.
    """
    value = sum(weight * estimate for weight, estimate, _ in parts)
    below = np.hypot.reduce([weight * (estimate - of.low) for weight, estimate, of in parts])
    above = np.hypot.reduce([weight * (of.high - estimate) for weight, estimate, of in parts])
    return Interval(float(value - below), float(value + above))


def auc_interval(
    labels: Labels, scores: Values, *, confidence: float = CONFIDENCE
) -> Interval | None:
    """Return the interval of an AUC; None if a class has no patient.

    DeLong's variance on the logit scale (Pepe, 2003, Section 5.2.4). An AUC of 0 or 1, or a class
    with one patient, gives that variance no information: Newcombe's method 5 then.
    """
    num_positives = int(labels.sum())
    num_negatives = len(labels) - num_positives
    if num_positives == 0 or num_negatives == 0:
        return None
    if (scores == scores[0]).all():
        # One score for everyone ranks no patients, whoever they are.
        return Interval(0.5, 0.5)
    positive, negative = placements(labels, scores)
    value = float(positive.mean())
    if min(num_positives, num_negatives) > 1 and 0.0 < value < 1.0:
        variance = positive.var(ddof=1) / num_positives + negative.var(ddof=1) / num_negatives
        if variance > 0.0:
            half = critical_value(confidence) * np.sqrt(variance) / (value * (1 - value))
            return Interval(float(expit(logit(value) - half)), float(expit(logit(value) + half)))
    return newcombe_interval(value, num_positives, num_negatives, confidence=confidence)


def newcombe_interval(
    value: float, num_positives: int, num_negatives: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Return a score interval of an AUC from its value and the class sizes alone.

    Newcombe (2006), Statistics in Medicine 25:559, method 5: the AUCs whose standard error under
    an exponential model does not put them further away than the critical value.
    """
    z = critical_value(confidence)
    size = (num_positives + num_negatives) / 2

    def excess(theta: float) -> float:
        shape = 2 * size - 1 - (3 * size - 3) / ((2 - theta) * (1 + theta))
        variance = theta * (1 - theta) * shape / (num_positives * num_negatives)
        return float((value - theta) ** 2 - z**2 * variance)

    # At 0 and at 1 the excess is 0 too, but that root says nothing.
    low = 0.0 if value == 0.0 else find_root(excess, 0.0, min(value, 1.0 - EDGE))
    high = 1.0 if value == 1.0 else find_root(excess, max(value, EDGE), 1.0)
    return Interval(float(low), float(high))


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function changes its sign between `low` and `high`, by bisection.

    `scipy.optimize` has faster ones, and takes longer to import than we to find every root.
    """
    is_positive_at_low = function(low) > 0.0
    for _ in range(NUM_HALVINGS):
        middle = (low + high) / 2
        if (function(middle) > 0.0) == is_positive_at_low:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def draw_resamples(
    strata: Sequence[str], *, num_resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "r n"]:
    """Draw how often each resample contains each patient.

    Each stratum is resampled within itself, so that every resample has the study's own number of
    patients per site and class, and no metric is undefined in one. A stratum of one patient
    therefore never varies.

    Args:
        strata: The stratum of each patient.
        num_resamples: Bootstrap resamples.
        rng: Source of the draws.
    """
    names = np.asarray(strata)
    weights = np.zeros((num_resamples, len(names)))
    rows = np.arange(num_resamples)[:, None]
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        size = len(members)
        drawn = rng.integers(size, size=(num_resamples, size))
        counts = np.bincount((rows * size + drawn).ravel(), minlength=num_resamples * size)
        weights[:, members] = counts.reshape(num_resamples, size)
    return weights


def percentile_interval(
    resampled: Float[np.ndarray, " r"], *, confidence: float = CONFIDENCE
) -> Interval:
    """Return the central `confidence` of the resampled values."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def bca_interval(
    value: float,
    resampled: Float[np.ndarray, " r"],
    influences: Values,
    *,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the bias-corrected and accelerated interval (Efron, 1987, Section 4).

    Args:
        value: The estimate from the patients themselves.
        resampled: The estimate from each resample.
        influences: Each patient's influence on the estimate, up to a factor; for a stratified mean,
            the deviation from the mean of the patient's stratum.
        confidence: How often the interval shall contain the truth.
    """
    spread = float(np.square(influences).sum())
    if spread == 0.0:
        return Interval(value, value)
    # Half of the ties count as below, and no shift is infinite.
    num = len(resampled)
    below = float(((resampled < value).sum() + (resampled <= value).sum()) / (2 * num))
    shift = float(ndtri(min(max(below, 1 / num), 1 - 1 / num)))
    acceleration = float((influences**3).sum()) / (6 * spread**1.5)
    moved = shift + np.array([-1.0, 1.0]) * critical_value(confidence)
    low, high = np.quantile(resampled, ndtr(shift + moved / (1 - acceleration * moved)))
    return Interval(float(low), float(high))


def ece_interval(
    value: float,
    calibrated: Float[np.ndarray, " r"],
    resampled: Float[np.ndarray, " r"],
    *,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return a conservative interval of the expected calibration error.

    A sum of absolute gaps is biased upward by chance, by as much as its value when the truth is
    near 0, and no bootstrap undoes that. So each end takes the worst case. Below, everything that
    chance alone would show is taken off: a classifier that could be calibrated gets a low end of 0.
    Above, nothing is taken off, and sampling error is added. At either extreme of the truth only
    one end can miss, hence a one-sided quantile at each.

    Args:
        value: The ECE of the patients.
        calibrated: What it would be were the probabilities exactly right, simulated.
        resampled: What it is in bootstrap resamples.
        confidence: How often, at least, the interval shall contain the truth.
    """
    by_chance = float(np.quantile(calibrated, confidence))
    # Of a few patients, rare large errors can lift the mean above the quantile.
    error = max(0.0, float(np.quantile(resampled, confidence) - resampled.mean()))
    return Interval(max(0.0, value - by_chance), min(1.0, value + error))
