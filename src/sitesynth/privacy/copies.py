"""Does a generator give out its training scans?

A *copy* is a synthetic scan that is more like some training scan than anything that cannot be a
copy is: more than any two different patients are like each other, and more than any synthetic scan
is like a patient whom the generator has never seen. The second keeps a generator with a common look
from being taken for a copier.

How many copies innocent scans give by chance has a closed form. An innocent synthetic scan is one
more stranger: its best match among the n training scans is distributed as a patient's best match
among the others (n or n - 1 of them: sizes match). Among m synthetic scans and N strangers in
random order of similarity, the first k are all synthetic with probability

    p = C(m, k) / C(m + N, k).

That is the exact test of k copies (Epstein, 1954, on exceedances), and its own size-matched null:
N counts a pair of patients who are each other's best match once, because they are one draw. In a
view that was learned from training scans (`sitesynth.privacy.encoder`) held-out patients alone are
strangers.

The test is of the synthetic scans: how many of them are copies. Two more counts stand beside it, on
the same closed form, and are no rules of the gate. By class: whether copies are of one class, which
a rare one suggests. In the other direction: how many training patients have a nearer synthetic scan
than any held-out patient has; ten copies of one patient are ten copies, and one patient copied.

Axes: m = synthetic scans, n = training scans, h = held-out scans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float

from sitesynth.described import Described
from sitesynth.privacy.chance import p_of_copies
from sitesynth.privacy.similarity import SimilarityView


__all__ = [
    "Copies",
    "Similarities",
    "compare_scans",
    "count_by_class",
    "count_copied_patients",
    "find_copies",
]

PERCENTILES: Final = (5, 50, 95)


@final
@dataclass(frozen=True, slots=True)
class Similarities:
    """Who is how like whom, in one view."""

    synthetic_to_train: Float[np.ndarray, "m n"]
    synthetic_to_held_out: Float[np.ndarray, "m h"]
    train_to_train: Float[np.ndarray, "n n"]
    held_out_to_train: Float[np.ndarray, "h n"]
    train_patients: tuple[str, ...]
    held_out_patients: tuple[str, ...]
    are_members_strangers: bool = True
    """Whether training scans are to each other what scans of nobody are to them: not where the view
    was learned from some of them."""


@final
@dataclass(frozen=True, slots=True)
class Copies:
    """How many synthetic scans are copies, and how many would be by chance."""

    num_synthetic: int
    num_copies: int
    threshold: float
    """Similarity above which a synthetic scan is a copy."""

    num_strangers: int
    """The N of the test."""

    p_value: float
    """Probability of as many copies, or more, among innocent scans."""

    num_allowed: int
    """Most copies that chance explains at the level of the test."""

    best_matches: dict[str, list[float]]
    """5th, 50th and 95th percentile of the similarity to the best match."""

    @property
    def rate(self) -> float:
        """Share of synthetic scans that are copies."""
        return self.num_copies / self.num_synthetic

    def as_json(self) -> dict[str, Any]:
        """Return the test, its null beside its result."""
        return {
            "rate": round(self.rate, 6),
            "null": {
                # Each innocent scan tops all strangers with probability 1 / (N + 1).
                "expected_rate": round(1 / (self.num_strangers + 1), 6),
                "allowed_rate": round(self.num_allowed / self.num_synthetic, 6),
                "num_strangers": self.num_strangers,
            },
            "p_value": _rounded(self.p_value),
            "num_synthetic": self.num_synthetic,
            "num_copies": self.num_copies,
            "threshold": round(self.threshold, 6),
            "best_match_percentiles": list(PERCENTILES),
            "best_matches": self.best_matches,
        }


def compare_scans(
    view: SimilarityView,
    train: Described,
    held_out: Described,
    synthetic: Described,
    *,
    are_members_strangers: bool = True,
) -> Similarities:
    """Measure all similarities that the test needs, in one view; see `Similarities`."""
    return Similarities(
        synthetic_to_train=view(synthetic, train),
        synthetic_to_held_out=view(synthetic, held_out),
        train_to_train=view(train, train),
        held_out_to_train=view(held_out, train),
        train_patients=train.patients,
        held_out_patients=held_out.patients,
        are_members_strangers=are_members_strangers,
    )


def find_copies(similarities: Similarities, *, level: float) -> Copies:
    """Count copies, and say how surprising so many are.

    Args:
        similarities: In one view.
        level: The p-value below which a count is no chance.
    """
    strangers, num_strangers = _strangers(similarities)
    matches = similarities.synthetic_to_train.max(axis=1)
    unseen = similarities.synthetic_to_held_out.max(axis=1)
    threshold = float(max(strangers.max(), unseen.max()))
    num_synthetic = len(matches)
    num_copies = int((matches > threshold).sum())
    num_allowed = 0
    while (
        num_allowed < num_synthetic
        and p_of_copies(num_allowed + 1, num_synthetic, num_strangers) >= level
    ):
        num_allowed += 1
    return Copies(
        num_synthetic=num_synthetic,
        num_copies=num_copies,
        threshold=threshold,
        num_strangers=num_strangers,
        p_value=p_of_copies(num_copies, num_synthetic, num_strangers),
        num_allowed=num_allowed,
        best_matches={
            "synthetic_to_train": _percentiles(matches),
            "synthetic_to_held_out": _percentiles(unseen),
            "held_out_to_train": _percentiles(similarities.held_out_to_train.max(axis=1)),
            "train_to_other_train": _percentiles(_train_matches(similarities).max(axis=1)),
        },
    )


def count_by_class(
    similarities: Similarities, found: Copies, *, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Count the copies of each class.

    Args:
        similarities: In one view.
        found: The test in that view, whose threshold holds for every class.
        classes: The class that each synthetic scan was asked to be of.
    """
    is_copy = similarities.synthetic_to_train.max(axis=1) > found.threshold
    of_class = np.asarray(classes)
    told = {}
    for name in dict.fromkeys(classes):
        inside = of_class == name
        copies, total = int(is_copy[inside].sum()), int(inside.sum())
        told[name] = {
            "num_synthetic": total,
            "num_copies": copies,
            "p_value": _rounded(p_of_copies(copies, total, found.num_strangers)),
        }
    return told


def count_copied_patients(similarities: Similarities) -> dict[str, Any]:
    """Count the training patients to whom a synthetic scan is nearer than to any held-out one."""
    members, others = (
        _best_by_patient(nearest.max(axis=0), patients)
        for nearest, patients in (
            (similarities.synthetic_to_train, similarities.train_patients),
            (similarities.synthetic_to_held_out, similarities.held_out_patients),
        )
    )
    copied = int((members > others.max()).sum())
    return {
        "num_patients": len(members),
        "num_copied": copied,
        "expected_rate": round(1 / (len(others) + 1), 6),
        "p_value": _rounded(p_of_copies(copied, len(members), len(others))),
    }


def _train_matches(similarities: Similarities) -> np.ndarray:
    """Return similarities among training scans, those of one patient at -1."""
    names = np.asarray(similarities.train_patients)
    apart = names[:, None] != names[None, :]
    return np.where(apart, similarities.train_to_train, -1.0)


def _strangers(similarities: Similarities) -> tuple[np.ndarray, int]:
    """Return each real scan's similarity to its best match, and how many draws they are worth."""
    others = similarities.held_out_to_train.max(axis=1)
    if not similarities.are_members_strangers:
        return others, len(others)
    among = _train_matches(similarities)
    best = among.argmax(axis=1)
    names = similarities.train_patients
    pairs = {frozenset((names[one], names[int(other)])) for one, other in enumerate(best)}
    return np.concatenate([among.max(axis=1), others]), len(pairs) + len(others)


def _percentiles(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in np.percentile(values, PERCENTILES)]


def _best_by_patient(values: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    """Return the largest value among each patient's scans."""
    names = np.asarray(patients)
    return np.array([values[names == name].max() for name in dict.fromkeys(patients)])


def _rounded(p_value: float) -> float:
    return float(f"{p_value:.6g}")
