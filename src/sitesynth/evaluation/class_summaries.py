"""One strategy's figures of merit where every class is predicted, for results/comparison.json.

They bear the names of those of two classes, and are means over the classes; each class's own,
against the rest, are beside them, and the confusion matrix.

Axes: n = patients, r = resamples, k = classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from sitesynth.evaluation import macro
from sitesynth.evaluation.intervals import (
    Interval,
    bca_interval,
    ece_interval,
    percentile_interval,
    weighted_interval,
    wilson_interval,
)
from sitesynth.evaluation.predictions import (
    AnyPredictions,
    ClassPredictions,
    FindingPredictions,
)
from sitesynth.evaluation.summaries import (
    describe_aucs,
    deviations,
    strata_of,
    summarize_calls,
    summarize_points,
    with_interval,
)
from sitesynth.patterns import EVEN


__all__ = ["call_classes", "summarize_class_seeds", "summarize_classes", "summarize_points_of"]

Inside = Bool[np.ndarray, " n"]
Weights = Float[np.ndarray, "r n"]
Json = dict[str, Any]


def call_classes(predicted: ClassPredictions) -> Int[np.ndarray, " n"]:
    """Call each patient the most probable class; the first of several."""
    calls: Int[np.ndarray, " n"] = predicted.probabilities.argmax(axis=1)
    return calls


def summarize_classes(
    predicted: ClassPredictions,
    inside: Inside,
    *,
    weights: Weights,
    rng: np.random.Generator,
) -> Json:
    """Return the contract's `M`, and beside it `counts`, `classes` and `confusion`.

    AUC, Brier and ECE are means over the classes, each against the rest. Sensitivity is the mean of
    the classes' recalls, as balanced accuracy is; specificity that of their specificities. A class
    without a patient leaves those None that need it. Calibration slope and intercept are of a class
    alone.

    Args:
        predicted: The strategy's predictions.
        inside: The patients it is about: a site's, or all.
        weights: How often each resample drew each patient of `predicted`.
        rng: Source of the labels that a calibrated classifier's ECE is simulated with.
    """
    calls = call_classes(predicted)
    labels, num_classes = predicted.labels[inside], len(predicted.classes)
    by_class = {
        name: summarize_calls(
            predicted.one_against_rest(number), calls == number, inside, weights=weights, rng=rng
        )
        for number, name in enumerate(predicted.classes)
    }
    recalls = [found["sensitivity"] for found in by_class.values()]
    counts = macro.confusion(labels, calls[inside], num_classes=num_classes)
    balanced = _mean_of_independent(recalls)
    return {
        "n": len(labels),
        "positives": None,
        "counts": dict(zip(predicted.classes, counts.sum(axis=1).tolist(), strict=True)),
        "auc": with_interval(
            macro.macro_auc(labels, predicted.probabilities[inside]),
            macro.macro_auc_interval(labels, predicted.probabilities[inside]),
        ),
        "accuracy": _accuracy(counts),
        "balanced_accuracy": balanced,
        "sensitivity": balanced,
        "specificity": _mean_of_ends([found["specificity"] for found in by_class.values()]),
        **_summarize_calibration(
            labels,
            predicted.probabilities[inside],
            strata=strata_of(predicted, inside),
            weights=weights[:, inside],
            rng=rng,
        ),
        "classes": by_class,
        "confusion": {
            "counts": counts.tolist(),
            "shares": [[_share(int(cell), int(row.sum())) for cell in row] for row in counts],
        },
    }


def _share(successes: int, trials: int) -> Json:
    value = successes / trials if trials else None
    return with_interval(value, wilson_interval(successes, trials))


def _accuracy(counts: Int[np.ndarray, "k k"]) -> Json:
    """Return the share called rightly, by MOVER on the recalls of the classes that are there."""
    total = int(counts.sum())
    if not total:
        return with_interval(None, None)
    parts = []
    for number, row in enumerate(counts):
        size, right = int(row.sum()), int(row[number])
        around = wilson_interval(right, size)
        if around is not None:
            parts.append((size / total, right / size, around))
    return with_interval(int(np.trace(counts)) / total, weighted_interval(parts))


def _mean_of_independent(parts: Sequence[Json]) -> Json:
    """Return the mean of values of different patients, by MOVER; None if one is None."""
    if any(part["value"] is None for part in parts):
        return with_interval(None, None)
    weight = 1 / len(parts)
    return with_interval(
        float(np.mean([part["value"] for part in parts])),
        weighted_interval(
            [(weight, part["value"], Interval(part["low"], part["high"])) for part in parts]
        ),
    )


def _mean_of_ends(parts: Sequence[Json]) -> Json:
    """Return the mean of values of the same patients, of ends that are right however they vary."""
    if any(part["value"] is None for part in parts):
        return with_interval(None, None)
    value, low, high = (
        float(np.mean([part[key] for part in parts])) for key in ("value", "low", "high")
    )
    return with_interval(value, Interval(low, high))


def _summarize_calibration(
    labels: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n k"],
    *,
    strata: Sequence[str],
    weights: Weights,
    rng: np.random.Generator,
) -> Json:
    """Return Brier and ECE, the means over classes."""
    unknown = with_interval(None, None)
    alone = {"calibration_slope": unknown, "calibration_intercept": unknown}
    brier, ece = macro.macro_brier(labels, probabilities), macro.macro_ece(labels, probabilities)
    if brier is None or ece is None:
        return alone | dict.fromkeys(("brier", "ece", "ece_if_calibrated"), unknown)
    calibrated = macro.simulate_calibrated_macro_ece(
        probabilities, num_resamples=len(weights), rng=rng
    )
    around_brier, around_ece = None, None
    # Strata of one patient each give every resample the same patients: no width can be known.
    if len(set(strata)) < len(strata):
        errors = macro.squared_errors(labels, probabilities)
        resampled = weights @ errors / weights.sum(axis=1)
        around_brier = bca_interval(brier, resampled, deviations(errors, strata))
        resampled = macro.resampled_macro_ece(labels, probabilities, weights)
        around_ece = ece_interval(ece, calibrated, resampled)
    return {
        "brier": with_interval(brier, around_brier),
        "ece": with_interval(ece, around_ece),
        "ece_if_calibrated": with_interval(
            float(calibrated.mean()), percentile_interval(calibrated)
        ),
        **alone,
    }


def summarize_class_seeds(predicted: ClassPredictions) -> Json:
    """Return the overall macro AUC of each training seed alone, and how much they vary."""
    return describe_aucs(
        [macro.macro_auc(predicted.labels, scores) for scores in predicted.by_seed]
    )


def summarize_points_of(predicted: AnyPredictions, *, threshold: float | None) -> dict[str, float]:
    """Return a strategy's figures of merit without intervals, flat, for a run's metrics.

    As `summarize_points`; where every class is predicted, they are means over the classes, and
    `recall_<class>` is beside them.
    """
    if isinstance(predicted, FindingPredictions):
        return _finding_points(predicted)
    if isinstance(predicted, ClassPredictions):
        return _points(predicted)
    return summarize_points(predicted, threshold=threshold)


def _finding_points(predicted: FindingPredictions) -> dict[str, float]:
    """Return each finding's AUC, and the mean over findings of every figure of merit."""
    each = [
        summarize_points(predicted.one_against_rest(number), threshold=EVEN)
        for number in range(len(predicted.classes))
    ]
    points = {
        f"auc_{name}": found["auc"]
        for name, found in zip(predicted.classes, each, strict=True)
        if "auc" in found
    }
    for key in each[0]:
        if all(key in found for found in each):
            points[key] = float(np.mean([found[key] for found in each]))
    return points


def _points(predicted: ClassPredictions) -> dict[str, float]:
    sites = np.array(predicted.sites)
    groups = {"": np.ones(len(sites), dtype=bool)}
    groups |= {f".{site}": sites == site for site in sorted(set(predicted.sites))}
    calls = call_classes(predicted)
    points: dict[str, float | None] = {}
    for suffix, inside in groups.items():
        labels, probabilities = predicted.labels[inside], predicted.probabilities[inside]
        counts = macro.confusion(labels, calls[inside], num_classes=len(predicted.classes))
        recalls = [
            float(row[number] / row.sum()) if row.any() else None
            for number, row in enumerate(counts)
        ]
        known = [recall for recall in recalls if recall is not None]
        points |= {
            f"auc{suffix}": macro.macro_auc(labels, probabilities),
            f"accuracy{suffix}": float(np.trace(counts) / counts.sum()),
            f"balanced_accuracy{suffix}": (
                float(np.mean(known)) if len(known) == len(recalls) else None
            ),
            f"brier{suffix}": macro.macro_brier(labels, probabilities),
            f"ece{suffix}": macro.macro_ece(labels, probabilities),
        }
        points |= {
            f"recall_{name}{suffix}": recall
            for name, recall in zip(predicted.classes, recalls, strict=True)
        }
    return {name: value for name, value in points.items() if value is not None}
