"""Predicting scans with a strategy's classifier: the table that all statistics start from."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from torch import Tensor

from sitesynth.classifiers.baseline import Baseline
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.errors import CohortError
from sitesynth.images import ImageSet


__all__ = [
    "call",
    "mean_probability",
    "predict_by_baseline",
    "predict_labelled",
    "predict_members",
]

DIGITS = 6
"""Decimals of a probability: enough for ranks, and the same text on machines of one kind."""


def predict_members(
    ensemble: Ensemble, voxels: Float[Tensor, "n s ..."]
) -> Float64[np.ndarray, "members n"]:
    """Return each member's probability of the positive class, to `DIGITS` decimals."""
    members: Float64[np.ndarray, "members n"] = (
        ensemble.predict_members(voxels).double().numpy().round(DIGITS)
    )
    return members


def mean_probability(members: Float64[np.ndarray, "members n"]) -> Float64[np.ndarray, " n"]:
    """Return the ensemble's probability, to `DIGITS` decimals."""
    mean: Float64[np.ndarray, " n"] = members.mean(axis=0).round(DIGITS)
    return mean


def call(config: ClassifierConfig, probabilities: Iterable[float]) -> list[str]:
    """Return the class that each scan is called, from its probability of the positive one."""
    (negative,) = (name for name in config.classes if name != config.positive)
    return [config.positive if p >= config.threshold else negative for p in probabilities]


def predict_labelled(
    ensemble: Ensemble, images: ImageSet, *, label_unit: Literal["patient", "scan"]
) -> pd.DataFrame:
    """Predict the scans of an image set whose label is known.

    Args:
        ensemble: The strategy's classifier.
        images: Scans on the classifier's grid.
        label_unit: What a label belongs to. If to scans, a patient's scans of one class are the
            unit of statistics, and its patient_id says so: `<patient>:<class>`.

    Returns:
        One row per scan: patient_id, scan_id, site, label (1 for the positive class), probability
        (mean over seeds), seed_0, seed_1, ..., and the image set's other columns.

    Raises:
        CohortError: If the images are not what the classifier was trained on.
    """
    config = ensemble.config
    if images.sequences != config.sequences or images.grid != config.grid.shape:
        raise CohortError(
            f"the classifier takes {list(config.sequences)} on grid {list(config.grid.shape)}, but "
            f"the scans have {list(images.sequences)} on {list(images.grid)}. Preprocess them with "
            "the classifier's own settings."
        )
    known = images.labelled(config.label)
    voxels = known.load(range(len(known)))[:, : len(config.sequences)]
    members = predict_members(ensemble, voxels)
    return _tabulate(
        known,
        mean_probability(members),
        label=config.label,
        positive=config.positive,
        label_unit=label_unit,
        members=members,
    )


def predict_by_baseline(
    baseline: Baseline, images: ImageSet, *, label_unit: Literal["patient", "scan"]
) -> pd.DataFrame:
    """Predict the scans of an image set whose label is known, by a baseline.

    The table is that of `predict_labelled` without seeds: nothing about a baseline is drawn.
    """
    known = images.labelled(baseline.label)
    return _tabulate(
        known,
        baseline.predict(known).round(DIGITS),
        label=baseline.label,
        positive=baseline.positive,
        label_unit=label_unit,
        members=(),
    )


def _tabulate(
    known: ImageSet,
    probabilities: Float64[np.ndarray, " n"],
    *,
    label: str,
    positive: str,
    label_unit: Literal["patient", "scan"],
    members: Iterable[Float64[np.ndarray, " n"]],
) -> pd.DataFrame:
    identity = ["patient_id", "scan_id", "site"]
    predictions = known.table[identity].copy()
    if label_unit == "scan":
        predictions["patient_id"] += ":" + known.table[label]
    predictions["label"] = (known.table[label] == positive).astype(int)
    predictions["probability"] = probabilities
    for number, chances in enumerate(members):
        predictions[f"seed_{number}"] = chances
    others = [column for column in known.table.columns if column not in {*identity, "split"}]
    return predictions.join(known.table[others])
