"""Predicting scans with a strategy's classifier: the table that all statistics start from."""

from typing import Literal

import pandas as pd

from sitesynth.classifiers.ensemble import Ensemble
from sitesynth.errors import CohortError
from sitesynth.images import ImageSet


__all__ = ["predict_labelled"]

DIGITS = 6
"""Decimals of a probability: enough for ranks, and the same text on machines of one kind."""


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
    members = ensemble.predict_members(voxels).double().numpy().round(DIGITS)
    identity = ["patient_id", "scan_id", "site"]
    predictions = known.table[identity].copy()
    if label_unit == "scan":
        predictions["patient_id"] += ":" + known.table[config.label]
    predictions["label"] = (known.table[config.label] == config.positive).astype(int)
    predictions["probability"] = members.mean(axis=0).round(DIGITS)
    for number, chances in enumerate(members):
        predictions[f"seed_{number}"] = chances
    others = [column for column in known.table.columns if column not in {*identity, "split"}]
    return predictions.join(known.table[others])
