"""One strategy's figures of merit on some patients, as results/comparison.json holds them.

Axes: n = patients, r = resamples.
"""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.evaluation import metrics
from sitesynth.evaluation.calibration import calibration_intercept, calibration_slope
from sitesynth.evaluation.intervals import (
    Interval,
    auc_interval,
    bca_interval,
    ece_interval,
    percentile_interval,
    weighted_interval,
    wilson_interval,
)
from sitesynth.evaluation.predictions import AnyPredictions, Predictions


__all__ = [
    "describe_aucs",
    "deviations",
    "strata_of",
    "summarize",
    "summarize_calls",
    "summarize_points",
    "summarize_seeds",
    "with_interval",
]

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]
Weights = Float[np.ndarray, "r n"]
Json = dict[str, Any]

CALIBRATION = (
    "brier",
    "ece",
    "ece_if_calibrated",
    "calibration_slope",
    "calibration_intercept",
)


def summarize(
    predicted: Predictions,
    inside: Labels,
    *,
    threshold: float | None,
    weights: Weights,
    rng: np.random.Generator,
) -> Json:
    """Return the contract's `M`: every figure of merit of one strategy, with its interval.

    Args:
        predicted: The strategy's predictions.
        inside: The patients it is about: a site's, or all.
        threshold: The probability from which a patient is called positive.
        weights: How often each resample drew each patient of `predicted`.
        rng: Source of the labels that a calibrated classifier's ECE is simulated with.
    """
    calls = metrics.call_positive(predicted.probabilities, threshold=threshold)
    return summarize_calls(predicted, calls, inside, weights=weights, rng=rng)


def summarize_calls(
    predicted: Predictions,
    called: Labels,
    inside: Labels,
    *,
    weights: Weights,
    rng: np.random.Generator,
) -> Json:
    """Return the contract's `M`, as `summarize`, of patients who were called by whatever rule."""
    labels, probabilities = predicted.labels[inside], predicted.probabilities[inside]
    calls = called[inside]
    found = metrics.sensitivity(labels, calls)
    spared = metrics.specificity(labels, calls)
    of_positives = wilson_interval(int(calls[labels].sum()), int(labels.sum()))
    of_negatives = wilson_interval(int((~calls[~labels]).sum()), int((~labels).sum()))
    by_class = [
        (int(size), value, around)
        for size, value, around in (
            (labels.sum(), found, of_positives),
            ((~labels).sum(), spared, of_negatives),
        )
        if value is not None and around is not None
    ]
    accuracy = weighted_interval(
        [(size / len(labels), value, around) for size, value, around in by_class]
    )
    balanced = weighted_interval([(0.5, value, around) for _, value, around in by_class])
    figures = {
        "n": len(labels),
        "positives": int(labels.sum()),
        "auc": with_interval(
            metrics.auc(labels, probabilities), auc_interval(labels, probabilities)
        ),
        "accuracy": with_interval(metrics.accuracy(labels, calls), accuracy),
        "balanced_accuracy": with_interval(metrics.balanced_accuracy(labels, calls), balanced),
        "sensitivity": with_interval(found, of_positives),
        "specificity": with_interval(spared, of_negatives),
    }
    return figures | _summarize_calibration(
        labels,
        probabilities,
        strata=strata_of(predicted, inside),
        weights=weights[:, inside],
        rng=rng,
    )


def strata_of(predicted: AnyPredictions, inside: Labels) -> list[str]:
    """Name the site and class of some patients: the groups that are resampled within themselves."""
    return [
        f"{site} {label}"
        for site, label, is_inside in zip(predicted.sites, predicted.labels, inside, strict=True)
        if is_inside
    ]


def _summarize_calibration(
    labels: Labels,
    probabilities: Values,
    *,
    strata: Sequence[str],
    weights: Weights,
    rng: np.random.Generator,
) -> Json:
    """Return `CALIBRATION`; `ece_if_calibrated` is what ECE would be by chance alone."""
    brier, ece = metrics.brier(labels, probabilities), metrics.ece(labels, probabilities)
    if brier is None or ece is None:
        return dict.fromkeys(CALIBRATION, with_interval(None, None))
    calibrated = metrics.simulate_calibrated_ece(probabilities, num_resamples=len(weights), rng=rng)
    around_brier, around_ece = None, None
    # Strata of one patient each give every resample the same patients: no width can be known.
    if len(set(strata)) < len(strata):
        influences = deviations(np.square(probabilities - labels), strata)
        resampled = metrics.resampled_brier(labels, probabilities, weights)
        around_brier = bca_interval(brier, resampled, influences)
        resampled = metrics.resampled_ece(labels, probabilities, weights)
        around_ece = ece_interval(ece, calibrated, resampled)
    return {
        "brier": with_interval(brier, around_brier),
        "ece": with_interval(ece, around_ece),
        "ece_if_calibrated": with_interval(
            float(calibrated.mean()), percentile_interval(calibrated)
        ),
        "calibration_slope": with_interval(
            *(calibration_slope(labels, probabilities) or (None, None))
        ),
        "calibration_intercept": with_interval(
            *(calibration_intercept(labels, probabilities) or (None, None))
        ),
    }


def deviations(values: Values, strata: Sequence[str]) -> Values:
    """Return each value minus the mean of its stratum."""
    _, numbers = np.unique(np.asarray(strata), return_inverse=True)
    means = np.bincount(numbers, values) / np.bincount(numbers)
    deviations: Values = values - means[numbers]
    return deviations


def summarize_seeds(predicted: Predictions) -> Json:
    """Return the overall AUC of each training seed alone, and how much they vary."""
    return describe_aucs([metrics.auc(predicted.labels, scores) for scores in predicted.by_seed])


def describe_aucs(aucs: Sequence[float | None]) -> Json:
    """Return AUCs, their number, mean and standard deviation."""
    known = [value for value in aucs if value is not None]
    return {
        "n": len(aucs),
        "auc": list(aucs),
        "auc_mean": fmean(known) if known else None,
        "auc_sd": stdev(known) if len(known) > 1 else None,
    }


def with_interval(value: float | None, interval: Interval | None) -> Json:
    """Return the contract's `V`; None where there is no value, or no interval."""
    if value is None or interval is None:
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": interval.low, "high": interval.high}


def summarize_points(predicted: Predictions, *, threshold: float | None) -> dict[str, float]:
    """Return a strategy's figures of merit without intervals, flat, for a run's metrics.

    `auc` is over all sites, `auc.<site>` over one; a figure that a site cannot have, for want of a
    class, is left out.
    """
    sites = np.array(predicted.sites)
    groups = {"": np.ones(len(sites), dtype=bool)}
    groups |= {f".{site}": sites == site for site in sorted(set(predicted.sites))}
    points: dict[str, float | None] = {}
    for suffix, inside in groups.items():
        labels, probabilities = predicted.labels[inside], predicted.probabilities[inside]
        calls = metrics.call_positive(probabilities, threshold=threshold)
        points |= {
            f"auc{suffix}": metrics.auc(labels, probabilities),
            f"accuracy{suffix}": metrics.accuracy(labels, calls),
            f"balanced_accuracy{suffix}": metrics.balanced_accuracy(labels, calls),
            f"sensitivity{suffix}": metrics.sensitivity(labels, calls),
            f"specificity{suffix}": metrics.specificity(labels, calls),
            f"brier{suffix}": metrics.brier(labels, probabilities),
            f"ece{suffix}": metrics.ece(labels, probabilities),
        }
    return {name: value for name, value in points.items() if value is not None}
