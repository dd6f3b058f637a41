"""Does the class asked for come out? A judge that knows real scans says what it sees.

The judge is a logistic regression on the features of a site's real training scans, its ridge chosen
by cross-validation over patients: a few dozen scans train nothing larger. What it says of synthetic
scans is worth as much as what it says of real ones that it did not learn from, so that stands
beside it: held-out scans, and training scans by the folds that left their patients out.

Axes: n = scans, k = classes, d = features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betaincinv
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from sitesynth.quality.fidelity import CONFIDENCE, PatientInterval, draw_weights


__all__ = ["Examples", "Judge", "judge_classes", "learn_judge"]

NUM_FOLDS: Final = 5
RIDGES: Final = (300.0, 30.0, 3.0, 0.3)
"""Penalties that are tried; the inverse variance of a coefficient's prior."""

NUM_BINS: Final = 5
"""Equal-width bins of probability; a site's few scans fill no more."""

Probabilities = Float[np.ndarray, "n k"]
Json = dict[str, Any]


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


def judge_classes(
    train: Examples,
    held_out: Examples,
    synthetic: Examples,
    *,
    classes: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> Json | None:
    """Return what the judge says of `real` scans that it did not learn from, and of `synthetic`.

    None if a class has fewer than two training patients.
    """
    judge = learn_judge(train, num_classes=len(classes), rng=rng)
    if judge is None:
        return None
    real = Examples(
        np.concatenate([train.features, held_out.features]),
        np.concatenate([train.labels, held_out.labels]),
        (*train.patients, *held_out.patients),
    )
    left_out = judge.of_left_out(train.features)
    said = {
        "real": (real, np.concatenate([left_out, judge.of(held_out.features)])),
        "synthetic": (synthetic, judge.of(synthetic.features)),
    }
    return {"ridge": judge.ridge} | {
        name: _summarize(examples, found, classes, num_resamples=num_resamples, rng=rng)
        for name, (examples, found) in said.items()
    }


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


def _summarize(
    examples: Examples,
    probabilities: Probabilities,
    classes: Sequence[str],
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> Json:
    """Compare what the judge says with what the scans are, or should be."""
    labels = examples.labels
    called = probabilities.argmax(axis=1)
    right = called == labels
    squares = np.square(probabilities - np.eye(len(classes))[labels]).sum(axis=1)
    weights = draw_weights(examples.patients, num_resamples, rng)
    low, high = np.quantile(weights @ squares / weights.sum(axis=1), _ENDS)
    bins = _reliability(probabilities.max(axis=1), right)
    gaps = [bin_["n"] * abs(bin_["agreement"] - bin_["probability"]) for bin_ in bins]
    return {
        "n": len(labels),
        "agreement": _share(right, examples.patients),
        "by_class": {
            name: {
                "n": int((labels == number).sum()),
                "agreement": _share(
                    right[labels == number], np.asarray(examples.patients)[labels == number]
                ),
                "called": {
                    other: int((called[labels == number] == column).sum())
                    for column, other in enumerate(classes)
                },
            }
            for number, name in enumerate(classes)
        },
        # Half of the squared distance: for two classes, the score of the other metrics.
        "brier": PatientInterval(
            float(squares.mean() / 2), float(low / 2), float(high / 2)
        ).as_json(),
        "ece": float(f"{sum(gaps) / len(labels):.6g}"),
        "reliability": bins,
    }


_ENDS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _reliability(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, float | int]]:
    """Return how often the judge was right, by how sure it was, in the bins that hold a scan."""
    numbers = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    return [
        {
            "n": int((numbers == number).sum()),
            "probability": float(f"{confidence[numbers == number].mean():.6g}"),
            "agreement": float(f"{right[numbers == number].mean():.6g}"),
        }
        for number in np.unique(numbers)
    ]


def _share(right: np.ndarray, patients: Sequence[str] | np.ndarray) -> dict[str, float] | None:
    """Return a share of scans with Clopper and Pearson's interval, n counted in patients."""
    if not len(right):
        return None
    size, share = len(set(patients)), float(right.mean())
    tail = (1 - CONFIDENCE) / 2
    hits = share * size
    low = float(betaincinv(hits, size - hits + 1, tail)) if share > 0 else 0.0
    high = float(betaincinv(hits + 1, size - hits, 1 - tail)) if share < 1 else 1.0
    return PatientInterval(share, low, high).as_json()
