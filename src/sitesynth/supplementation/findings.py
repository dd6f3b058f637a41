"""The content of results/supplementation.json.

It holds no time and no id, so the same curve gives the same bytes.

Axes: n = patients, s = replicates, r = resamples.
"""

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any

import numpy as np
from jaxtyping import Float

from sitesynth import seeds
from sitesynth.errors import CohortError
from sitesynth.evaluation.intervals import draw_resamples, percentile_interval
from sitesynth.evaluation.metrics import auc, resampled_auc
from sitesynth.evaluation.predictions import Predictions, check_same_patients
from sitesynth.evaluation.summaries import with_interval
from sitesynth.supplementation.amounts import Amount, Counts, scans_of


__all__ = ["describe_curve", "describe_nothing"]

DIGITS = 6

Json = dict[str, Any]

ABOUT = (
    "External AUC against synthetic scans, in percent of the real ones: added to them, and alone. "
    "Descriptive: nothing in the study is chosen by it. Intervals are by patient, around the mean "
    "of the replicates; how much trainings vary is sd."
)

NOTHING = (
    "Not measured: supplementation.percentages is empty. `supplementation.percentages: [0, 50, "
    "100, 200, 300, 500, 1000]` in params.yaml and `dvc repro` measure it."
)


def describe_nothing() -> Json:
    """Describe a study that did not ask for the curve."""
    return {"about": NOTHING, "amounts": []}


def describe_curve(
    curve: Mapping[Amount, Predictions],
    *,
    real: Counts,
    num_resamples: int,
    test_sha256: str,
    seed: int,
) -> Json:
    """Describe the curve; the first amount is what the others are compared with.

    Args:
        curve: Predictions for the external patients, by replicate.
        real: Real training scans by site and class.
        num_resamples: Bootstrap resamples of patients, the same for every amount.
        test_sha256: Digest of the frozen list of external patients.
        seed: Root seed of the study.

    Raises:
        CohortError: If the external patients are of one class only.
    """
    check_same_patients({amount.name: predicted for amount, predicted in curve.items()})
    first = next(iter(curve.values()))
    if first.labels.all() or not first.labels.any():
        raise CohortError(
            f"all {len(first.labels)} external patients are of one class; an AUC needs both. "
            "Name further external sites, or set supplementation.percentages to []."
        )
    strata = [f"{site} {label}" for site, label in zip(first.sites, first.labels, strict=True)]
    weights = draw_resamples(
        strata,
        num_resamples=num_resamples,
        rng=seeds.numpy_generator(seed, "supplementation", "resamples"),
    )
    resampled = {amount: _mean_auc(predicted, weights) for amount, predicted in curve.items()}
    values = {amount: _aucs(predicted) for amount, predicted in curve.items()}
    reference = next(iter(curve))
    return {
        "about": ABOUT,
        "reference": reference.name,
        "n": len(first.labels),
        "positives": int(first.labels.sum()),
        "num_resamples": num_resamples,
        "test_sha256": test_sha256,
        "real_scans": real,
        "amounts": [
            {
                "name": amount.name,
                "kind": amount.kind,
                "percentage": amount.percentage,
                "synthetic_scans": scans_of(real, amount.percentage),
                "auc": _told(fmean(aucs), resampled[amount]),
                "difference": None
                if amount == reference
                else _told(
                    fmean(aucs) - fmean(values[reference]),
                    resampled[amount] - resampled[reference],
                ),
                "sd": round(stdev(aucs), DIGITS) if len(aucs) > 1 else None,
                "replicates": [
                    {"replicate": number, "auc": round(value, DIGITS)}
                    for number, value in enumerate(aucs)
                ],
            }
            for amount, aucs in values.items()
        ],
    }


def _aucs(predicted: Predictions) -> list[float]:
    """Return each replicate's AUC."""
    found = [auc(predicted.labels, scores) for scores in predicted.by_seed]
    return [value for value in found if value is not None]


def _mean_auc(predicted: Predictions, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
    """Return the mean of the replicates' AUCs in every resample of patients."""
    each = [resampled_auc(predicted.labels, scores, weights) for scores in predicted.by_seed]
    mean: Float[np.ndarray, " r"] = np.mean(each, axis=0)
    return mean


def _told(value: float, resampled: Float[np.ndarray, " r"]) -> Json:
    told = with_interval(value, percentile_interval(resampled))
    return {name: None if end is None else round(end, DIGITS) for name, end in told.items()}
