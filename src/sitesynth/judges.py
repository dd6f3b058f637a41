"""A judge of classes: what a logistic regression on features says of a site's scans.

Its ridge is chosen by cross-validation over patients: a few dozen scans train nothing larger. What
it says of a scan is honest only if it did not learn from the scan's patient, so a judge comes with
others, each of which left some patients out.

Axes: n = scans, k = classes, d = features.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold


__all__ = ["Examples", "Judge", "Probabilities", "learn_judge"]

NUM_FOLDS: Final = 5
RIDGES: Final = (300.0, 30.0, 3.0, 0.3)
"""Penalties that are tried; the inverse variance of a coefficient's prior."""

Probabilities = Float[np.ndarray, "n k"]


@final
@dataclass(frozen=True)
class Examples:
    """Scans with their classes."""

    features: Float[np.ndarray, "n d"]
    """Standardized; 0 where a channel is missing."""
    labels: Int[np.ndarray, " n"]
    """Class numbers, from 0: what a scan is, or what was asked for."""
    patients: tuple[str, ...]


@final
@dataclass(frozen=True)
class Judge:
    """Regressions on one site's training scans: on all, and with each fold's patients left out."""

    ridge: float
    num_classes: int
    whole: LogisticRegression
    folds: tuple[tuple[Int[np.ndarray, " _"], LogisticRegression], ...]
    """Rows of the training scans that were left out, and what was learned from the others."""

    def of(self, features: Float[np.ndarray, "n d"]) -> Probabilities:
        """Return what it says of scans of patients that it did not learn from."""
        return _probabilities(self.whole, features, self.num_classes)

    def of_left_out(self, features: Float[np.ndarray, "n d"]) -> Probabilities:
        """Return what it says of the training scans, each by the fold that left its patient out.

        Args:
            features: Of the training scans, or of what became of them, in the same order.
        """
        probabilities = np.zeros((len(features), self.num_classes))
        for left_out, judge in self.folds:
            probabilities[left_out] = _probabilities(judge, features[left_out], self.num_classes)
        return probabilities


def learn_judge(train: Examples, *, num_classes: int, rng: np.random.Generator) -> Judge | None:
    """Learn classes from a site's training scans.

    None if a class has fewer than two training patients, so that no fold could leave one out.
    """
    by_class = [
        {p for p, label in zip(train.patients, train.labels, strict=True) if label == number}
        for number in range(num_classes)
    ]
    num_folds = min(NUM_FOLDS, *(len(patients) for patients in by_class))
    if num_folds < 2:  # noqa: PLR2004
        return None
    folds = StratifiedGroupKFold(
        num_folds, shuffle=True, random_state=int(rng.integers(2**31))
    ).split(train.features, train.labels, train.patients)
    splits = [(learn, leave) for learn, leave in folds if len(leave)]

    def learned(ridge: float) -> Judge:
        apart = tuple((leave, _fit(train, learn, ridge=ridge)) for learn, leave in splits)
        whole = _fit(train, np.arange(len(train.labels)), ridge=ridge)
        return Judge(ridge, num_classes, whole, apart)

    return min(
        map(learned, RIDGES),
        key=lambda judge: _cross_entropy(judge.of_left_out(train.features), train.labels),
    )


def _fit(train: Examples, rows: np.ndarray, *, ridge: float) -> LogisticRegression:
    # Newton steps: for dozens of features exact, and many times as fast as the default solver.
    judge = LogisticRegression(C=1 / ridge, solver="newton-cholesky", max_iter=1000)
    return judge.fit(train.features[rows], train.labels[rows])


def _probabilities(
    judge: LogisticRegression, features: np.ndarray, num_classes: int
) -> Probabilities:
    """Return probabilities of every class; 0 for one that a fold did not hold."""
    probabilities = np.zeros((len(features), num_classes))
    if len(features):
        probabilities[:, judge.classes_] = judge.predict_proba(features)
    return probabilities


def _cross_entropy(probabilities: Probabilities, labels: np.ndarray) -> float:
    of_own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_own, 1e-12)).mean())
