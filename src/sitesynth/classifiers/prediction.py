"""Predicting scans with a strategy's classifier: the table that all statistics start from.

Axes: n = scans, c = classes of which a probability is predicted: the positive one, or all.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from torch import Tensor

from sitesynth.classifiers.baseline import Baseline
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.errors import CohortError
from sitesynth.images import ImageSet
from sitesynth.patterns import AND, EVEN, NOTHING, are_side_by_side, is_complete
from sitesynth.settings import LabelUnit


__all__ = [
    "call",
    "mean_probability",
    "predict_by_baseline",
    "predict_labelled",
    "predict_members",
    "probability_columns",
]

LABEL_OF = "label_"
"""How columns begin that say whether a scan has a finding."""

DIGITS = 6
"""Decimals of a probability: enough for ranks, and the same text on machines of one kind."""


def predict_members(
    ensemble: Ensemble, voxels: Float[Tensor, "n s ..."]
) -> Float64[np.ndarray, "members n c"]:
    """Return each member's probabilities, to `DIGITS` decimals."""
    members: Float64[np.ndarray, "members n c"] = (
        ensemble.predict_members(voxels).double().numpy().round(DIGITS)
    )
    return members


def mean_probability(members: Float64[np.ndarray, "members n c"]) -> Float64[np.ndarray, "n c"]:
    """Return the ensemble's probabilities, to `DIGITS` decimals."""
    mean: Float64[np.ndarray, "n c"] = members.mean(axis=0).round(DIGITS)
    return mean


def probability_columns(
    told: ClassifierConfig | Baseline, probabilities: Float64[np.ndarray, "n c"], *, prefix: str
) -> dict[str, Float64[np.ndarray, " n"]]:
    """Return the columns that hold probabilities in a table of predictions.

    One named by the prefix alone for that of the positive class; else `<prefix>_<class>` for each.
    """
    if told.positive is not None:
        return {prefix: probabilities[:, 0]}
    return {
        f"{prefix}_{name}": column
        for name, column in zip(told.classes, probabilities.T, strict=True)
    }


def call(config: ClassifierConfig, probabilities: Float64[np.ndarray, "n c"]) -> list[str]:
    """Return the class that each scan is called: by the threshold, or the most probable one."""
    if are_side_by_side(config.label):
        names = np.array(config.classes)
        return [AND.join(names[row >= EVEN]) or NOTHING for row in probabilities]
    if config.positive is None or config.threshold is None:
        return [config.classes[number] for number in probabilities.argmax(axis=1)]
    (negative,) = (name for name in config.classes if name != config.positive)
    return [config.positive if p >= config.threshold else negative for p in probabilities[:, 0]]


def predict_labelled(
    ensemble: Ensemble, images: ImageSet, *, label_unit: LabelUnit
) -> pd.DataFrame:
    """Predict the scans of an image set whose label is known.

    Args:
        ensemble: The strategy's classifier.
        images: Scans on the classifier's grid.
        label_unit: What a label belongs to. If to scans, a patient's scans of one class are the
            unit of statistics, and its patient_id says so: `<patient>:<class>`.

    Returns:
        One row per scan: patient_id, scan_id, site, label (1 for the positive class), probability
        (mean over seeds), seed_0, seed_1, ..., and the image set's other columns. Where every class
        is predicted, the label is the class, and each class has its probability_<class>,
        seed_0_<class>, ...; findings have a label_<finding> each (1 if the scan has it).

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
    known = _judged(images, config.label)
    voxels = known.load(range(len(known)))[:, : len(config.sequences)]
    members = predict_members(ensemble, voxels)
    return _tabulate(
        known,
        mean_probability(members),
        told=config,
        label_unit=label_unit,
        members=members,
    )


def predict_by_baseline(
    baseline: Baseline, images: ImageSet, *, label_unit: LabelUnit
) -> pd.DataFrame:
    """Predict the scans of an image set whose label is known, by a baseline.

    The table is that of `predict_labelled` without seeds: nothing about a baseline is drawn.
    """
    known = _judged(images, baseline.label)
    return _tabulate(
        known,
        baseline.predict(known).round(DIGITS),
        told=baseline,
        label_unit=label_unit,
        members=(),
    )


def _judged(images: ImageSet, label: str) -> ImageSet:
    """Return the scans whose label is known; of findings, of which each is."""
    if are_side_by_side(label):
        return images.select(images.table[label].map(is_complete))
    return images.labelled(label)


def _tabulate(
    known: ImageSet,
    probabilities: Float64[np.ndarray, "n c"],
    *,
    told: ClassifierConfig | Baseline,
    label_unit: LabelUnit,
    members: Iterable[Float64[np.ndarray, "n c"]],
) -> pd.DataFrame:
    identity = ["patient_id", "scan_id", "site"]
    predictions = known.table[identity].copy()
    if label_unit == "scan":
        predictions["patient_id"] += ":" + known.table[told.label]
    truth = known.table[told.label]
    is_binary = told.positive is not None
    if are_side_by_side(told.label):
        for name, column in zip(told.classes, known.findings(told.classes).T, strict=True):
            predictions[f"{LABEL_OF}{name}"] = column.numpy()
    else:
        predictions["label"] = (truth == told.positive).astype(int) if is_binary else truth
    shown = probability_columns(told, probabilities, prefix="probability")
    for number, chances in enumerate(members):
        shown |= probability_columns(told, chances, prefix=f"seed_{number}")
    for name, column in shown.items():
        predictions[name] = column
    others = [column for column in known.table.columns if column not in {*identity, "split"}]
    return predictions.join(known.table[others])
