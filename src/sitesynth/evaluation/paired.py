"""Tests of two classifiers on the same patients.

All are paired: two classifiers see the same hard patients, so their errors are correlated, and a
comparison of their separate intervals would miss what differs.

Axes: n = patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import bdtr, erfc, ndtr, ndtri, stdtrit

from sitesynth.evaluation.intervals import (
    CONFIDENCE,
    Interval,
    critical_value,
    find_root,
    newcombe_interval,
)
from sitesynth.evaluation.metrics import placements


__all__ = [
    "TINY",
    "AucDifference",
    "Discordance",
    "adjust_by_holm",
    "auc_difference",
    "compare_calls",
    "compare_correctness",
    "rank_alike",
]

POWER = 0.8

SMALLEST_P, LARGEST_P = 1e-9, 0.999
"""The range in which a p-value is looked for; below and above it is rounded."""

TINY = 1e-20
"""A variance below this is 0: placements are ratios of counts, and their rounding is 1e-17."""

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]


@final
@dataclass(frozen=True, slots=True)
class AucDifference:
    """The AUC of one classifier minus that of another on the same patients (DeLong et al., 1988).

    Where DeLong's variance of the difference is 0, there are three cases. The classifiers rank the
    patients alike: the difference is 0, and certain. Otherwise (two perfect classifiers that rank
    differently inside a class, a perfect one and a coin, a class with one patient) the patients
    hold no information on the variance, and the interval is made from Newcombe's of either AUC by
    MOVER (Zou and Donner, 2008), which is wide. The p-value is then that interval's.
    """

    first: float
    second: float
    num_positives: int
    num_negatives: int
    standard_error: float | None
    """None where DeLong's variance is 0 or undefined."""
    same_ranking: bool

    @property
    def value(self) -> float:
        """The AUC of the first minus that of the second."""
        return self.first - self.second

    def interval(self, *, confidence: float = CONFIDENCE) -> Interval:
        """Return where the difference lies with the stated confidence."""
        if self.same_ranking:
            return Interval(0.0, 0.0)
        if self.standard_error is not None:
            half = critical_value(confidence) * self.standard_error
            return Interval(max(-1.0, self.value - half), min(1.0, self.value + half))
        sizes = self.num_positives, self.num_negatives
        first = newcombe_interval(self.first, *sizes, confidence=confidence)
        second = newcombe_interval(self.second, *sizes, confidence=confidence)
        below = np.hypot(self.first - first.low, second.high - self.second)
        above = np.hypot(first.high - self.first, self.second - second.low)
        return Interval(max(-1.0, float(self.value - below)), min(1.0, float(self.value + above)))

    @property
    def p(self) -> float:
        """The two-sided p-value of "the AUCs are equal"."""
        if self.standard_error is not None:
            return float(2 * ndtr(-abs(self.value) / self.standard_error))
        if self.same_ranking or self.value == 0.0:
            return 1.0

        def nearest(p: float) -> float:
            interval = self.interval(confidence=1 - p)
            return interval.low if self.value > 0.0 else -interval.high

        if nearest(SMALLEST_P) >= 0.0:
            return SMALLEST_P
        return find_root(nearest, SMALLEST_P, LARGEST_P) if nearest(LARGEST_P) > 0.0 else 1.0

    def non_inferiority_p(self, margin: float) -> float | None:
        """The one-sided p-value of "the first is worse by the margin or more".

        None where the standard error is unknown; two equal rankings are certainly within a margin.
        """
        return self._p_above(-margin)

    def equivalence_p(self, margin: float) -> float | None:
        """The p-value of "the AUCs differ by the margin or more": the larger of two (TOST).

        Schuirmann's (1987) two one-sided tests; below 0.025 where the 95 % interval lies inside
        the margins. None where the standard error is unknown.
        """
        above = self._p_above(-margin)
        return None if above is None else max(above, 1.0 - (self._p_above(margin) or 0.0))

    def _p_above(self, bound: float) -> float | None:
        """Return the one-sided p-value of "the difference is `bound` or less"."""
        if self.same_ranking:
            return 0.0 if bound < 0.0 else 1.0
        if self.standard_error is None:
            return None
        return float(ndtr((bound - self.value) / self.standard_error))

    def interval_with_seeds(
        self, first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE
    ) -> Interval | None:
        """Return where the difference lies, other patients and other trainings considered.

        A strategy predicts the mean of k trainings. That mean's AUC varies from one set of k
        trainings to another by about s^2 / k, where s is the spread of single trainings' AUCs on
        the same patients; this is added to DeLong's variance for either strategy. The quantile is
        Student's, of as many degrees of freedom as Satterthwaite (1946) gives the sum.

        Args:
            first: The AUC of each training of the first classifier alone.
            second: Of each training of the second.
            confidence: How often the interval shall contain the truth.

        Returns:
            The interval; None where a strategy was trained once, or DeLong's variance is unknown.
        """
        if self.standard_error is None or min(len(first), len(second)) < 2:  # noqa: PLR2004
            return None
        terms = [float(np.var(aucs, ddof=1)) / len(aucs) for aucs in (first, second)]
        variance = self.standard_error**2 + sum(terms)
        wobble = sum(
            term**2 / (len(aucs) - 1) for term, aucs in zip(terms, (first, second), strict=True)
        )
        freedom = variance**2 / wobble if wobble > 0.0 else np.inf
        reach = (1 + confidence) / 2
        quantile = stdtrit(freedom, reach) if np.isfinite(freedom) else ndtri(reach)
        half = float(quantile * variance**0.5)
        return Interval(max(-1.0, self.value - half), min(1.0, self.value + half))

    @property
    def detectable(self) -> float | None:
        """The true difference that these patients would have shown at p < 0.05 in 80 % of studies.

        The observed correlation of the two classifiers is in the standard error. None where that
        is unknown.
        """
        if self.standard_error is None:
            return None
        return float((critical_value(CONFIDENCE) + ndtri(POWER)) * self.standard_error)


def auc_difference(labels: Labels, first: Values, second: Values) -> AucDifference | None:
    """Compare the AUCs of two classifiers; None if a class has no patient."""
    num_positives = int(labels.sum())
    num_negatives = len(labels) - num_positives
    if num_positives == 0 or num_negatives == 0:
        return None
    positive_first, negative_first = placements(labels, first)
    positive_second, negative_second = placements(labels, second)
    standard_error = None
    if min(num_positives, num_negatives) > 1:
        variance = float(
            (positive_first - positive_second).var(ddof=1) / num_positives
            + (negative_first - negative_second).var(ddof=1) / num_negatives
        )
        standard_error = variance**0.5 if variance > TINY else None
    return AucDifference(
        first=float(positive_first.mean()),
        second=float(positive_second.mean()),
        num_positives=num_positives,
        num_negatives=num_negatives,
        standard_error=standard_error,
        same_ranking=rank_alike(first, second),
    )


def rank_alike(first: Values, second: Values) -> bool:
    """Tell whether two classifiers put everyone in the same order."""
    return bool(np.array_equal(_ranks(first), _ranks(second)))


def _ranks(scores: Values) -> np.ndarray:
    """Return dense ranks: equal for two classifiers if and only if they order everyone alike."""
    ranks: np.ndarray = np.unique(scores, return_inverse=True)[1]
    return ranks


@final
@dataclass(frozen=True, slots=True)
class Discordance:
    """Patients whom exactly one of two classifiers calls rightly (McNemar, 1947)."""

    only_first: int
    only_second: int

    @property
    def num_patients(self) -> int:
        """Patients on whom the two differ; the others say nothing about which is better."""
        return self.only_first + self.only_second

    @property
    def exact_p(self) -> float:
        """The two-sided p-value of a fair coin, from the binomial distribution."""
        fewer = min(self.only_first, self.only_second)
        return min(1.0, 2 * float(bdtr(fewer, self.num_patients, 0.5)))

    @property
    def statistic(self) -> float:
        """Edwards' (1948) chi-squared statistic with continuity correction, as R gives it."""
        if self.num_patients == 0:
            return 0.0
        excess = max(0, abs(self.only_first - self.only_second) - 1)
        return excess**2 / self.num_patients

    @property
    def corrected_p(self) -> float:
        """The p-value of `statistic`, with one degree of freedom."""
        return float(erfc((self.statistic / 2) ** 0.5))


def compare_calls(labels: Labels, first: Labels, second: Labels) -> Discordance:
    """Count on whom exactly one of two classifiers is right.

    Args:
        labels: True for the positive class.
        first: Whom the first classifier calls positive, at its own threshold.
        second: Whom the second does, at its own.
    """
    return compare_correctness(first == labels, second == labels)


def compare_correctness(first_right: Labels, second_right: Labels) -> Discordance:
    """Count on whom exactly one of two classifiers is right, of however many classes."""
    return Discordance(
        only_first=int((first_right & ~second_right).sum()),
        only_second=int((second_right & ~first_right).sum()),
    )


def adjust_by_holm(ps: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that the family's error rate is controlled (Holm, 1979).

    In the order given: each is multiplied by how many are not smaller, and is at least as large as
    the adjusted one before it.
    """
    adjusted = [1.0] * len(ps)
    largest = 0.0
    for position, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - position) * ps[index]))
        adjusted[index] = largest
    return adjusted
