"""Figures of merit of a binary classifier, as functions of labels and probabilities.

Axes: n = patients, r = bootstrap resamples, b = calibration bins.

Every metric takes `labels` (True = the positive class) and either `probabilities` of the positive
class or the `calls` made from them at a threshold. Each also has a `resampled_` twin that computes
it for all resamples at once, from `weights`: how often each resample drew each patient.

A metric that the patients cannot define, such as sensitivity without a positive patient, is None.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float


__all__ = [
    "NUM_BINS",
    "ReliabilityBin",
    "accuracy",
    "auc",
    "balanced_accuracy",
    "brier",
    "call_positive",
    "ece",
    "ece_of_outcomes",
    "placements",
    "reliability_bins",
    "resampled_auc",
    "resampled_brier",
    "resampled_ece",
    "sensitivity",
    "simulate_calibrated_ece",
    "specificity",
]

NUM_BINS = 15
"""Equal-width calibration bins (Guo et al., 2017). Equal width and not equal mass, because the
edges then do not move with the patients that a resample draws."""

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]
Weights = Float[np.ndarray, "r n"]
Resampled = Float[np.ndarray, " r"]


def call_positive(probabilities: Values, *, threshold: float | None) -> Labels:
    """Call positive whoever's probability is at least `threshold`.

    Raises:
        ValueError: If there is none, as where every class is predicted and none is positive.
    """
    if threshold is None:
        raise ValueError("a positive class is called from a threshold, but there is none")
    return probabilities >= threshold


def placements(
    labels: Labels, scores: Values
) -> tuple[Float[np.ndarray, " positives"], Float[np.ndarray, " negatives"]]:
    """Place each patient among the other class (DeLong et al., 1988, Equations 4 and 5).

    Returns:
        For each positive, the share of negatives that score lower; for each negative, the share of
        positives that score higher. A tie counts one half. The mean of either is the AUC.
    """
    positive, negative = scores[labels], scores[~labels]
    return _share_below(positive, negative), 1.0 - _share_below(negative, positive)


def _share_below(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """Return, for each of `these`, the share of `those` below it, a tie counting one half."""
    ordered = np.sort(those)
    below = np.searchsorted(ordered, these, side="left")
    below_or_tied = np.searchsorted(ordered, these, side="right")
    share: np.ndarray = (below + below_or_tied) / (2 * len(those))
    return share


def auc(labels: Labels, scores: Values) -> float | None:
    """Return the probability that a positive scores above a negative, a tie counting one half."""
    if not _has_both_classes(labels):
        return None
    return float(placements(labels, scores)[0].mean())


def accuracy(labels: Labels, calls: Labels) -> float | None:
    """Return the share of patients called what they are."""
    return float((labels == calls).mean()) if len(labels) else None


def sensitivity(labels: Labels, calls: Labels) -> float | None:
    """Return the share of positive patients called positive."""
    return float(calls[labels].mean()) if labels.any() else None


def specificity(labels: Labels, calls: Labels) -> float | None:
    """Return the share of negative patients called negative."""
    return sensitivity(~labels, ~calls)


def balanced_accuracy(labels: Labels, calls: Labels) -> float | None:
    """Return the mean of sensitivity and specificity; one half is guessing."""
    if not _has_both_classes(labels):
        return None
    return float((calls[labels].mean() + 1.0 - calls[~labels].mean()) / 2)


def brier(labels: Labels, probabilities: Values) -> float | None:
    """Return the mean squared error of the probabilities (Brier, 1950); 0 is best."""
    return float(np.square(probabilities - labels).mean()) if len(labels) else None


@final
@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Patients whose probability lies in one bin: one point of a reliability diagram."""

    num_patients: int
    mean_probability: float
    positive_fraction: float


def reliability_bins(labels: Labels, probabilities: Values) -> list[ReliabilityBin]:
    """Compare what was predicted with what was seen, in the bins that have a patient."""
    membership = _membership(probabilities)
    return [
        ReliabilityBin(
            num_patients=int(inside.sum()),
            mean_probability=float(probabilities[inside].mean()),
            positive_fraction=float(labels[inside].mean()),
        )
        for inside in membership.T.astype(bool)
        if inside.any()
    ]


def ece(labels: Labels, probabilities: Values) -> float | None:
    """Return the expected calibration error over `NUM_BINS` equal-width bins (Guo et al., 2017).

    It is above 0 for a perfectly calibrated classifier too, the more so the fewer the patients:
    read it beside `simulate_calibrated_ece`.
    """
    if not len(labels):
        return None
    return float(np.abs(_bin_gaps(labels, probabilities).sum(axis=0)).sum() / len(labels))


def simulate_calibrated_ece(
    probabilities: Values, *, num_resamples: int, rng: np.random.Generator
) -> Resampled:
    """Draw the ECE that these probabilities would show if each were exactly right.

    Args:
        probabilities: At least one patient's.
        num_resamples: Simulated cohorts.
        rng: Source of the simulated labels.
    """
    simulated = rng.random((num_resamples, len(probabilities))) < probabilities
    return ece_of_outcomes(simulated, probabilities)


def ece_of_outcomes(outcomes: Bool[np.ndarray, "r n"], probabilities: Values) -> Resampled:
    """Return the ECE of these probabilities for each of several outcomes of the same patients."""
    gaps = (outcomes - probabilities) @ _membership(probabilities)
    ece_of_each: Resampled = np.abs(gaps).sum(axis=1) / len(probabilities)
    return ece_of_each


def resampled_auc(labels: Labels, scores: Values, weights: Weights) -> Resampled:
    """Return the AUC of each resample; every resample must hold both classes."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    drawn = weights[:, order]
    positives = np.add.reduceat(drawn * labels[order], starts, axis=1)
    negatives = np.add.reduceat(drawn * ~labels[order], starts, axis=1)
    # Whole negatives below the score, and half of those tied with it.
    below = np.cumsum(negatives, axis=1) - negatives / 2
    num_pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    resampled: Resampled = (positives * below).sum(axis=1) / num_pairs
    return resampled


def resampled_brier(labels: Labels, probabilities: Values, weights: Weights) -> Resampled:
    """Return the Brier score of each resample."""
    resampled: Resampled = weights @ np.square(probabilities - labels) / weights.sum(axis=1)
    return resampled


def resampled_ece(labels: Labels, probabilities: Values, weights: Weights) -> Resampled:
    """Return the expected calibration error of each resample."""
    gaps = weights @ _bin_gaps(labels, probabilities)
    resampled: Resampled = np.abs(gaps).sum(axis=1) / weights.sum(axis=1)
    return resampled


def _has_both_classes(labels: Labels) -> bool:
    return bool(labels.any() and not labels.all())


def _membership(probabilities: Values) -> Float[np.ndarray, "n b"]:
    """Return 1 where a patient's probability is in a bin: [0, 1/b), ..., [1 - 1/b, 1]."""
    bins = np.minimum((probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    membership: Float[np.ndarray, "n b"] = np.eye(NUM_BINS)[bins]
    return membership


def _bin_gaps(labels: Labels, probabilities: Values) -> Float[np.ndarray, "n b"]:
    """Return each patient's outcome minus probability, in the column of the patient's bin."""
    gaps: Float[np.ndarray, "n b"] = (labels - probabilities)[:, None] * _membership(probabilities)
    return gaps
