"""Does the class asked for come out? A judge that knows real scans says what it sees.

The judge (`sitesynth.judges`) learns from a site's real training scans. What it says of synthetic
scans is worth as much as what it says of real ones that it did not learn from, so that stands
beside it: held-out scans, and training scans by the folds that left their patients out.

Axes: n = scans, k = classes, d = features.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy.special import betaincinv

from sitesynth.judges import Examples, Probabilities, learn_judge
from sitesynth.quality.fidelity import CONFIDENCE, PatientInterval, draw_weights


__all__ = ["judge_classes"]

NUM_BINS: Final = 5
"""Equal-width bins of probability; a site's few scans fill no more."""

Json = dict[str, Any]


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
