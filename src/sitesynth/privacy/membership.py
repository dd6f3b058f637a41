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

Axes: n = members, h = others (held out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, rankdata


__all__ = ["Attack", "auc", "run_attack", "score_by_patient"]

CONTROL_PERCENTILES: Final = (2.5, 97.5)

Members = Float[np.ndarray, " n"]
Others = Float[np.ndarray, " h"]


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
