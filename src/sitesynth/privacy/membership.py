"""Can it be told who was in the training set?

An *attack* gives each real scan a score, higher for members as the attacker believes. Its AUC is
the probability that a training patient scores above a held-out one of the same site: 0.5 if nothing
can be told.

The interval is the set of shifts that a rank-sum test does not reject (Bauer, 1972, for locations):
AUC -+ z sqrt((n + h + 1) / (12 n h)). So it contains 0.5 exactly where the test of "no difference
between members and others" does not reject; a percentile bootstrap of a dozen patients rejects too
often (`benchmarks/gate_false_refusals.py`). Away from 0.5 it is wider than need be. Intervals of
several attacks hold simultaneously (Bonferroni).

Two controls show what the attack's AUC would mean without a leak:

- *member against member*: training patients split at random, with as many in the smaller part as
  are held out. How far AUC strays by itself.
- *blind*: a score that never met the generator, the typicality of a scan among all real ones. An
  interval without 0.5 says that the split is biased, and that no attack on it can be interpreted.

An AUC averages over all patients, while a leak may concern a few (Carlini et al., 2022). So each
attack also states its true positive rate where 1 % and 0.1 % of the others are falsely accused. The
interval holds for the unknown threshold too: binomial bounds of its rank among the others, and of
the share of members beyond it (Clopper and Pearson, 1934), a quarter of the error each. With fewer
than 1 / rate others nothing can be measured there, and the interval says so by its width. What a
dozen others do allow is an exact test of how many members lie above all of them.

Axes: n = members, h = others (held out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float
from scipy.stats import beta, binom, norm, rankdata

from sitesynth.privacy.chance import p_of_copies


__all__ = [
    "Attack",
    "TruePositives",
    "auc",
    "run_attack",
    "score_by_patient",
    "true_positives",
]

CONTROL_PERCENTILES: Final = (2.5, 97.5)

FALSE_POSITIVE_RATES: Final = (0.01, 0.001)

RATE_CONFIDENCE: Final = 0.95
"""Of a true positive rate's interval; no verdict depends on it, so it is not adjusted."""

Members = Float[np.ndarray, " n"]
Others = Float[np.ndarray, " h"]


@final
@dataclass(frozen=True, slots=True)
class TruePositives:
    """The share of members found while a stated share of others is falsely accused."""

    false_positive_rate: float
    value: float
    low: float
    high: float
    is_measurable: bool
    """Whether there are others enough for a single false positive to be that rare."""

    def as_json(self) -> dict[str, Any]:
        """Return the rate with its interval."""
        return {
            "false_positive_rate": self.false_positive_rate,
            "measurable": self.is_measurable,
            "value": round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
        }


@final
@dataclass(frozen=True, slots=True)
class Attack:
    """One attack's success, and what splitting members from members gives."""

    auc: float
    low: float
    high: float
    control_low: float
    """2.5th percentile of the AUC between two random parts of the members."""

    control_high: float
    num_members: int
    num_others: int
    true_positives: tuple[TruePositives, ...]
    """At each of `FALSE_POSITIVE_RATES`."""

    num_above_all: int
    """Members whose score is above every other's."""

    def as_json(self) -> dict[str, Any]:
        """Return the AUC with its interval, the control beside it."""
        return {
            "auc": {
                "value": round(self.auc, 6),
                "low": round(self.low, 6),
                "high": round(self.high, 6),
            },
            "member_vs_member": {
                "low": round(self.control_low, 6),
                "high": round(self.control_high, 6),
            },
            "true_positives": [found.as_json() for found in self.true_positives],
            "above_all_others": {
                "members": self.num_above_all,
                "share": round(self.num_above_all / self.num_members, 6),
                "expected_share": round(1 / (self.num_others + 1), 6),
                "p_value": float(
                    f"{p_of_copies(self.num_above_all, self.num_members, self.num_others):.6g}"
                ),
            },
        }


def run_attack(
    members: Members,
    others: Others,
    *,
    confidence: float,
    num_splits: int,
    rng: np.random.Generator,
) -> Attack:
    """Judge an attack by one score per patient.

    Args:
        members: Members of training patients.
        others: Others of held-out patients.
        confidence: Of this attack's two-sided interval.
        num_splits: Random splits of the members behind the control.
        rng: Source of the splits.
    """
    value = auc(members, others)
    n, h = len(members), len(others)
    half = float(norm.ppf((1 + confidence) / 2)) * np.sqrt((n + h + 1) / (12 * n * h))
    part = max(1, min(h, n // 2))
    splits = []
    for _ in range(num_splits):
        shuffled = rng.permutation(members)
        splits.append(auc(shuffled[part:], shuffled[:part]))
    control_low, control_high = np.percentile(splits, CONTROL_PERCENTILES)
    return Attack(
        auc=value,
        low=max(0.0, float(value - half)),
        high=min(1.0, float(value + half)),
        control_low=float(control_low),
        control_high=float(control_high),
        num_members=n,
        num_others=h,
        true_positives=tuple(
            true_positives(members, others, false_positive_rate=rate)
            for rate in FALSE_POSITIVE_RATES
        ),
        num_above_all=int((members > others.max()).sum()),
    )


def true_positives(
    members: Members, others: Others, *, false_positive_rate: float
) -> TruePositives:
    """Return the share of members beyond the threshold that so few others exceed.

    Args:
        members: Scores of training patients.
        others: Scores of held-out patients.
        false_positive_rate: Share of all patients who are no members that the attacker may accuse.
    """
    n, h = len(members), len(others)
    tail = (1 - RATE_CONFIDENCE) / 4
    # thresholds[r]: the r-th largest score of the others, nobody's above thresholds[0].
    thresholds = np.concatenate([[np.inf], np.sort(others)[::-1], [-np.inf]])
    # The true threshold is below the r-th largest if at least r of the others exceed it.
    exceeding = binom(h, false_positive_rate)
    strict = thresholds[int(exceeding.ppf(tail))]
    lax = thresholds[int(exceeding.ppf(1 - tail)) + 1]
    allowed = int(np.floor(false_positive_rate * h))
    few, many = int((members > strict).sum()), int((members >= lax).sum())
    return TruePositives(
        false_positive_rate=false_positive_rate,
        value=float((members > thresholds[allowed + 1]).mean()),
        low=float(beta.ppf(tail, few, n - few + 1)) if few else 0.0,
        high=float(beta.ppf(1 - tail, many + 1, n - many)) if many < n else 1.0,
        is_measurable=false_positive_rate * h >= 1,
    )


def auc(members: Members, others: Others) -> float:
    """Return the probability that a member scores higher; a tie counts one half."""
    ranks = rankdata(np.concatenate([members, others]))
    n, h = len(members), len(others)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * h))


def score_by_patient(
    scores: Float[np.ndarray, " scans"], patients: Sequence[str]
) -> Float[np.ndarray, " patients"]:
    """Return one score per patient, the mean of their scans', in order of first appearance."""
    order = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    owner = np.array([order[patient] for patient in patients])
    total = np.bincount(owner, weights=scores)
    means: np.ndarray = total / np.bincount(owner)
    return means
