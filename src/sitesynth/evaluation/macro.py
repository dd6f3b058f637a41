r"""Figures of merit of a classifier of several classes: means over each class against the rest.

    macro AUC = (1/K) sum_c AUC_c,   AUC_c: class c's probability, in class c against all others

Every class counts alike, however rare; a classifier of two classes has the AUC it had. Its standard
error is DeLong's (1988), carried over to K classes: a patient of class c adds to AUC_c the share of
the others that is placed below, and to AUC_d of each other class d the share of class d that is
placed above, times class c's share among the others of d. Patients of a class vary by the sum of
these, and the classes' variances add up. For two classes that is DeLong's formula itself.

Axes: n = patients, r = resamples, k = classes.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, logit

from sitesynth.evaluation import metrics
from sitesynth.evaluation.intervals import CONFIDENCE, Interval, critical_value, newcombe_interval
from sitesynth.evaluation.paired import TINY, AucDifference, rank_alike


__all__ = [
    "confusion",
    "macro_auc",
    "macro_auc_difference",
    "macro_auc_interval",
    "macro_brier",
    "macro_ece",
    "resampled_macro_auc",
    "resampled_macro_ece",
    "simulate_calibrated_macro_ece",
    "squared_errors",
]

Labels = Int[np.ndarray, " n"]
Scores = Float[np.ndarray, "n k"]
Weights = Float[np.ndarray, "r n"]
Resampled = Float[np.ndarray, " r"]


def macro_auc(labels: Labels, scores: Scores) -> float | None:
    """Return the mean over classes of one against the rest; None if a class has no patient."""
    aucs = [metrics.auc(labels == number, column) for number, column in enumerate(scores.T)]
    known = [value for value in aucs if value is not None]
    return float(np.mean(known)) if len(known) == len(aucs) else None


def resampled_macro_auc(labels: Labels, scores: Scores, weights: Weights) -> Resampled:
    """Return the macro AUC of each resample; every resample must hold every class."""
    resampled: Resampled = np.mean(
        [
            metrics.resampled_auc(labels == number, column, weights)
            for number, column in enumerate(scores.T)
        ],
        axis=0,
    )
    return resampled


def macro_auc_interval(
    labels: Labels, scores: Scores, *, confidence: float = CONFIDENCE
) -> Interval | None:
    """Return the interval of a macro AUC; None if a class has no patient.

    On the logit scale. Where the variance says nothing (an AUC of 0 or 1, a class of one patient),
    that of an AUC between the smallest class and the others, by Newcombe's method 5: no class's is
    wider.
    """
    value = macro_auc(labels, scores)
    if value is None:
        return None
    if (scores == scores[:1]).all():
        # The same of everyone ranks no patients, whoever they are.
        return Interval(0.5, 0.5)
    variance = _variance(labels, _components(labels, scores))
    if variance is not None and variance > TINY and 0.0 < value < 1.0:
        half = critical_value(confidence) * np.sqrt(variance) / (value * (1 - value))
        return Interval(float(expit(logit(value) - half)), float(expit(logit(value) + half)))
    return newcombe_interval(value, *_smallest_against_rest(labels), confidence=confidence)


def macro_auc_difference(labels: Labels, first: Scores, second: Scores) -> AucDifference | None:
    """Compare the macro AUCs of two classifiers; None if a class has no patient."""
    values = macro_auc(labels, first), macro_auc(labels, second)
    if values[0] is None or values[1] is None:
        return None
    variance = _variance(labels, _components(labels, first) - _components(labels, second))
    smallest, others = _smallest_against_rest(labels)
    return AucDifference(
        first=values[0],
        second=values[1],
        num_positives=smallest,
        num_negatives=others,
        standard_error=None if variance is None or variance <= TINY else variance**0.5,
        same_ranking=all(rank_alike(*pair) for pair in zip(first.T, second.T, strict=True)),
    )


def _components(labels: Labels, scores: Scores) -> Float[np.ndarray, " n"]:
    """Return what each patient adds to the macro AUC, up to a constant of its class."""
    sizes = np.bincount(labels, minlength=scores.shape[1])
    components = np.zeros(len(labels))
    for number, column in enumerate(scores.T):
        inside = labels == number
        below, above = metrics.placements(inside, column)
        components[inside] += below
        components[~inside] += above * sizes[labels[~inside]] / (~inside).sum()
    mean: Float[np.ndarray, " n"] = components / scores.shape[1]
    return mean


def _variance(labels: Labels, components: Float[np.ndarray, " n"]) -> float | None:
    """Return the variance of a sum over classes of class means; None if a class has one patient."""
    of_class = [components[labels == number] for number in np.unique(labels)]
    if min(len(values) for values in of_class) == 1:
        return None
    return float(sum(values.var(ddof=1) / len(values) for values in of_class))


def _smallest_against_rest(labels: Labels) -> tuple[int, int]:
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    return smallest, len(labels) - smallest


def confusion(labels: Labels, calls: Labels, *, num_classes: int) -> Int[np.ndarray, "k k"]:
    """Count patients by class (rows) and by the class they are called (columns)."""
    counts = np.bincount(labels * num_classes + calls, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def squared_errors(labels: Labels, probabilities: Scores) -> Float[np.ndarray, " n"]:
    """Return each patient's squared error, the mean over classes."""
    truth = np.eye(probabilities.shape[1])[labels]
    errors: Float[np.ndarray, " n"] = np.square(probabilities - truth).mean(axis=1)
    return errors


def macro_brier(labels: Labels, probabilities: Scores) -> float | None:
    """Return the mean over classes of the Brier scores of one against the rest.

    Brier's (1950) own score is their sum; this one is that of two classes where there are two.
    """
    return float(squared_errors(labels, probabilities).mean()) if len(labels) else None


def macro_ece(labels: Labels, probabilities: Scores) -> float | None:
    """Return the mean over classes of the calibration errors (Kull et al., 2019: classwise ECE)."""
    if not len(labels):
        return None
    return float(
        np.mean([metrics.ece(labels == n, column) for n, column in enumerate(probabilities.T)])
    )


def resampled_macro_ece(labels: Labels, probabilities: Scores, weights: Weights) -> Resampled:
    """Return the classwise ECE of each resample."""
    resampled: Resampled = np.mean(
        [
            metrics.resampled_ece(labels == number, column, weights)
            for number, column in enumerate(probabilities.T)
        ],
        axis=0,
    )
    return resampled


def simulate_calibrated_macro_ece(
    probabilities: Scores, *, num_resamples: int, rng: np.random.Generator
) -> Resampled:
    """Draw the classwise ECE that these probabilities would show if each were exactly right.

    Args:
        probabilities: At least one patient's.
        num_resamples: Simulated cohorts.
        rng: Source of the simulated classes.
    """
    drawn = rng.random((num_resamples, len(probabilities)))
    # The last class takes what rounding leaves between the sum and 1.
    bounds = probabilities.cumsum(axis=1)[:, :-1]
    classes = (drawn[:, :, None] >= bounds).sum(axis=2)
    simulated: Resampled = np.mean(
        [
            metrics.ece_of_outcomes(classes == number, column)
            for number, column in enumerate(probabilities.T)
        ],
        axis=0,
    )
    return simulated
