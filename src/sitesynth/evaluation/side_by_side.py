r"""Figures of merit of findings told side by side: means over the findings.

    mean AUC = (1/K) sum_k AUC_k,   AUC_k: finding k's probability, in those with and without it

A patient counts in every finding's AUC, so that these vary together. DeLong's (1988) placements say
how much each patient moves each AUC; a patient's moves are averaged over the findings, and their
squares added up over the patients. For one finding that is DeLong's variance itself.

Axes: n = patients, r = resamples, k = findings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit

from sitesynth.evaluation import metrics
from sitesynth.evaluation.intervals import (
    CONFIDENCE,
    Interval,
    critical_value,
    newcombe_interval,
    wilson_interval,
)
from sitesynth.evaluation.paired import TINY, AucDifference, rank_alike
from sitesynth.evaluation.predictions import FindingPredictions
from sitesynth.evaluation.summaries import describe_aucs, summarize_calls, with_interval
from sitesynth.patterns import EVEN


__all__ = [
    "call_findings",
    "mean_auc",
    "mean_auc_difference",
    "mean_auc_interval",
    "resampled_mean_auc",
    "smallest_side",
    "summarize_finding_seeds",
    "summarize_findings",
]

Labels = Bool[np.ndarray, "n k"]
Scores = Float[np.ndarray, "n k"]
Weights = Float[np.ndarray, "r n"]
Json = dict[str, Any]

MEANS = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "brier",
    "ece",
    "ece_if_calibrated",
)


def call_findings(predicted: FindingPredictions) -> Labels:
    """Return which findings each patient is called to have."""
    calls: Labels = predicted.probabilities >= EVEN
    return calls


def smallest_side(labels: Labels) -> int:
    """Return the fewest patients with or without some finding."""
    return int(np.minimum(labels.sum(axis=0), (~labels).sum(axis=0)).min())


def mean_auc(labels: Labels, scores: Scores) -> float | None:
    """Return the mean of the findings' AUCs; None if all or none have one of them."""
    pairs = zip(labels.T, scores.T, strict=True)
    known = [value for value in (metrics.auc(*pair) for pair in pairs) if value is not None]
    return float(np.mean(known)) if len(known) == labels.shape[1] else None


def resampled_mean_auc(labels: Labels, scores: Scores, weights: Weights) -> np.ndarray:
    """Return the mean AUC of each resample; NaN where all or none have a finding."""
    with np.errstate(invalid="ignore"):
        resampled: np.ndarray = np.mean(
            [
                metrics.resampled_auc(inside, column, weights)
                for inside, column in zip(labels.T, scores.T, strict=True)
            ],
            axis=0,
        )
    return resampled


def mean_auc_interval(
    labels: Labels, scores: Scores, *, confidence: float = CONFIDENCE
) -> Interval | None:
    """Return the interval of a mean AUC; None if all or none have one of the findings.

    On the logit scale. Where the variance says nothing (an AUC of 0 or 1, a finding of one
    patient), that of an AUC of the rarest side, by Newcombe's method 5: no finding's is wider.
    """
    value = mean_auc(labels, scores)
    if value is None:
        return None
    if (scores == scores[:1]).all():
        return Interval(0.5, 0.5)
    variance = _variance(_moves(labels, scores))
    if variance is not None and variance > TINY and 0.0 < value < 1.0:
        half = critical_value(confidence) * np.sqrt(variance) / (value * (1 - value))
        return Interval(float(expit(logit(value) - half)), float(expit(logit(value) + half)))
    fewest = smallest_side(labels)
    return newcombe_interval(value, fewest, len(labels) - fewest, confidence=confidence)


def mean_auc_difference(labels: Labels, first: Scores, second: Scores) -> AucDifference | None:
    """Compare the mean AUCs of two classifiers; None if all or none have one of the findings."""
    values = mean_auc(labels, first), mean_auc(labels, second)
    if values[0] is None or values[1] is None:
        return None
    one, other = _moves(labels, first), _moves(labels, second)
    variance = None if one is None or other is None else _variance(one - other)
    fewest = smallest_side(labels)
    return AucDifference(
        first=values[0],
        second=values[1],
        num_positives=fewest,
        num_negatives=len(labels) - fewest,
        standard_error=None if variance is None or variance <= TINY else variance**0.5,
        same_ranking=all(rank_alike(*pair) for pair in zip(first.T, second.T, strict=True)),
    )


def _moves(labels: Labels, scores: Scores) -> Float[np.ndarray, " n"] | None:
    """Return by how much each patient moves the mean AUC; None if a finding has one patient."""
    if smallest_side(labels) < 2:  # noqa: PLR2004
        return None
    moves = np.zeros(len(labels))
    for inside, column in zip(labels.T, scores.T, strict=True):
        for side, placed in zip((inside, ~inside), metrics.placements(inside, column), strict=True):
            size = len(placed)
            moves[side] += (placed - placed.mean()) / np.sqrt(size * (size - 1))
    mean: Float[np.ndarray, " n"] = moves / labels.shape[1]
    return mean


def _variance(moves: Float[np.ndarray, " n"] | None) -> float | None:
    return None if moves is None else float(np.square(moves).sum())


def summarize_findings(
    predicted: FindingPredictions,
    inside: Bool[np.ndarray, " n"],
    *,
    weights: Weights,
    rng: np.random.Generator,
) -> Json:
    """Return the contract's `M`, and beside it `counts`, `classes` and `exact`.

    All but the AUC are means over the findings whose ends are the means of the findings' ends:
    right however they vary together, and so too wide. `exact` is the share of patients of whom
    every finding is called rightly. Calibration slope and intercept are of a finding alone.

    Args:
        predicted: The strategy's predictions.
        inside: The patients it is about: a site's, or all.
        weights: How often each resample drew each patient of `predicted`.
        rng: Source of the labels that a calibrated classifier's ECE is simulated with.
    """
    calls = call_findings(predicted)
    labels, probabilities = predicted.labels[inside], predicted.probabilities[inside]
    by_finding = {
        name: summarize_calls(
            predicted.one_against_rest(number),
            calls[:, number],
            inside,
            weights=weights,
            rng=rng,
        )
        for number, name in enumerate(predicted.classes)
    }
    right = (calls[inside] == labels).all(axis=1)
    unknown = with_interval(None, None)
    return {
        "n": len(labels),
        "positives": None,
        "counts": {name: found["positives"] for name, found in by_finding.items()},
        "auc": with_interval(
            mean_auc(labels, probabilities), mean_auc_interval(labels, probabilities)
        ),
        **{key: _mean_of_ends([found[key] for found in by_finding.values()]) for key in MEANS},
        "calibration_slope": unknown,
        "calibration_intercept": unknown,
        "classes": by_finding,
        "exact": with_interval(
            float(right.mean()) if len(right) else None,
            wilson_interval(int(right.sum()), len(right)),
        ),
    }


def _mean_of_ends(parts: Sequence[Mapping[str, float | None]]) -> Json:
    """Return the mean of values of the same patients, of ends that are right however they vary."""
    told: Json = {}
    for key in ("value", "low", "high"):
        known = [end for end in (part[key] for part in parts) if end is not None]
        told[key] = float(np.mean(known)) if len(known) == len(parts) else None
    if None not in told.values():
        # Where an end is the value, their means may differ by a last bit.
        told["low"] = min(told["low"], told["value"])
        told["high"] = max(told["high"], told["value"])
    return told


def summarize_finding_seeds(predicted: FindingPredictions) -> Json:
    """Return the overall mean AUC of each training seed alone, and how much they vary."""
    return describe_aucs([mean_auc(predicted.labels, scores) for scores in predicted.by_seed])
