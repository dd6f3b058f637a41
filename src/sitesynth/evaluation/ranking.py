"""How well predictions rank patients: by the AUC of two classes, or a mean of several AUCs.

One way to ask for any; the kind of the predictions decides.

Axes: n = patients, r = resamples.
"""

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.evaluation import metrics
from sitesynth.evaluation.class_summaries import call_classes
from sitesynth.evaluation.intervals import Interval, auc_interval
from sitesynth.evaluation.macro import (
    macro_auc,
    macro_auc_difference,
    macro_auc_interval,
    resampled_macro_auc,
)
from sitesynth.evaluation.paired import AucDifference, auc_difference
from sitesynth.evaluation.predictions import (
    AnyPredictions,
    ClassPredictions,
    FindingPredictions,
)
from sitesynth.evaluation.side_by_side import (
    call_findings,
    mean_auc,
    mean_auc_difference,
    mean_auc_interval,
    resampled_mean_auc,
    smallest_side,
)


__all__ = [
    "auc_difference_of",
    "auc_of",
    "auc_of_seeds",
    "class_sizes",
    "resampled_auc_of",
    "smallest_class",
    "who_is_right",
]

Inside = Bool[np.ndarray, " n"]
Weights = Float[np.ndarray, "r n"]


def class_sizes(predicted: AnyPredictions, inside: Inside) -> list[int]:
    """Count the patients of each class, or with each finding; of two, the positive comes last."""
    if isinstance(predicted, FindingPredictions):
        with_each: list[int] = predicted.labels[inside].sum(axis=0).tolist()
        return with_each
    num_classes = len(predicted.classes) if isinstance(predicted, ClassPredictions) else 2
    sizes: list[int] = np.bincount(
        predicted.labels[inside].astype(int), minlength=num_classes
    ).tolist()
    return sizes


def smallest_class(predicted: AnyPredictions, inside: Inside) -> int:
    """Return the patients of the smallest class; of findings, the fewest with or without one."""
    if isinstance(predicted, FindingPredictions):
        return smallest_side(predicted.labels[inside])
    return min(class_sizes(predicted, inside))


def auc_of(predicted: AnyPredictions, inside: Inside) -> tuple[float | None, Interval | None]:
    """Return the AUC on some patients and its interval; None if a class has none."""
    labels, chances = predicted.labels[inside], predicted.probabilities[inside]
    if isinstance(predicted, FindingPredictions):
        return mean_auc(labels, chances), mean_auc_interval(labels, chances)
    if isinstance(predicted, ClassPredictions):
        return macro_auc(labels, chances), macro_auc_interval(labels, chances)
    return metrics.auc(labels, chances), auc_interval(labels, chances)


def auc_of_seeds(predicted: AnyPredictions) -> list[float | None]:
    """Return the AUC of each training alone, on all patients."""
    one = metrics.auc
    if isinstance(predicted, ClassPredictions):
        one = macro_auc
    elif isinstance(predicted, FindingPredictions):
        one = mean_auc
    return [one(predicted.labels, scores) for scores in predicted.by_seed]


def auc_difference_of(
    first: AnyPredictions, second: AnyPredictions, inside: Inside
) -> AucDifference | None:
    """Compare two strategies' AUCs on some patients; None if a class has none."""
    labels = first.labels[inside]
    scores = first.probabilities[inside], second.probabilities[inside]
    if isinstance(first, FindingPredictions):
        return mean_auc_difference(labels, *scores)
    if isinstance(first, ClassPredictions):
        return macro_auc_difference(labels, *scores)
    return auc_difference(labels, *scores)


def resampled_auc_of(predicted: AnyPredictions, weights: Weights) -> Float[np.ndarray, " r"]:
    """Return the AUC of each resample; every resample must hold every class.

    Of findings, NaN where all or none of a resample have one.
    """
    if isinstance(predicted, FindingPredictions):
        return resampled_mean_auc(predicted.labels, predicted.probabilities, weights)
    if isinstance(predicted, ClassPredictions):
        return resampled_macro_auc(predicted.labels, predicted.probabilities, weights)
    return metrics.resampled_auc(predicted.labels, predicted.probabilities, weights)


def who_is_right(predicted: AnyPredictions, *, threshold: float | None) -> Inside:
    """Tell of each patient whether the class it is called is its own; or each of its findings.

    Args:
        predicted: A strategy's predictions.
        threshold: The probability from which a patient is called positive; None calls the most
            probable class.
    """
    calls: np.ndarray
    if isinstance(predicted, FindingPredictions):
        each_right: Inside = (call_findings(predicted) == predicted.labels).all(axis=1)
        return each_right
    if isinstance(predicted, ClassPredictions):
        calls = call_classes(predicted)
    else:
        calls = metrics.call_positive(predicted.probabilities, threshold=threshold)
    right: Inside = calls == predicted.labels
    return right
