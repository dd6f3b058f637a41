"""How good the strategies are in parts of the external patients: by sex, age, scanner, sequences.

A group with fewer patients of a class than the study's minimum is counted and not judged: its
interval would span everything, and with many groups one of them always looks remarkable. Groups
overlap, and nothing is tested: what stands out here is a question for another study.

Axes: n = patients.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from jaxtyping import Bool

from sitesynth.errors import CohortError
from sitesynth.evaluation.predictions import AnyPredictions, Predictions
from sitesynth.evaluation.ranking import (
    auc_difference_of,
    auc_of,
    class_sizes,
    smallest_class,
)
from sitesynth.evaluation.summaries import with_interval
from sitesynth.settings import PRESENCE


__all__ = ["Subgroup", "compare_subgroups", "find_subgroups", "read_attributes"]

MOST_VALUES: Final = 6
"""A covariate of numbers with more values than this is cut into bands."""

BANDS: Final = 3
"""As many patients in each, as far as ties allow."""

UNKNOWN: Final = "unknown"

SEQUENCES: Final = "sequences"
"""The covariate that says which sequences were not acquired."""

COMPLETE: Final = "all there"

Json = dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Subgroup:
    """Patients with something in common."""

    covariate: str
    value: str
    inside: Bool[np.ndarray, " n"]


def read_attributes(
    path: Path, predictions: AnyPredictions, *, covariates: Sequence[str], sequences: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Read what predictions.csv says of each patient beside its predictions.

    Args:
        path: A strategy's predictions.csv; all strategies' say the same.
        predictions: What was read from it; gives the order.
        covariates: Columns of the cohort's table.
        sequences: Sequences that a scan may lack.

    Returns:
        By covariate, and under `SEQUENCES`: a word per patient, "" where unknown. Of a patient with
        several scans it is that of the first in the order of their names.

    Raises:
        CohortError: If a column is not in the table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["scan_id"], reverse=True)
    wanted = [*covariates, *(f"{PRESENCE}{sequence}" for sequence in sequences)]
    missing = [column for column in wanted if column not in rows[0]]
    if missing:
        raise CohortError(f"{path} lacks the columns {missing}. Run `dvc repro evaluate`.")
    of_patient = {row["patient_id"]: row for row in rows}
    found = [of_patient[patient] for patient in predictions.patients]
    attributes = {name: tuple(row[name] for row in found) for name in covariates}
    attributes[SEQUENCES] = tuple(
        ", ".join(f"without {s}" for s in sequences if row[f"{PRESENCE}{s}"] != "true") or COMPLETE
        for row in found
    )
    return attributes


def find_subgroups(attributes: Mapping[str, Sequence[str]]) -> list[Subgroup]:
    """Return the groups of every covariate that has more than one."""
    found = []
    for covariate, words in attributes.items():
        order, named = _name_groups(words)
        values = [value for value in [*order, UNKNOWN] if value in named]
        if len(values) > 1:
            found += [
                Subgroup(covariate, value, np.array([word == value for word in named]))
                for value in values
            ]
    return found


def compare_subgroups(
    predictions: Mapping[str, AnyPredictions],
    groups: Sequence[Subgroup],
    *,
    reference: str,
    min_patients: int,
) -> Json:
    """Return every strategy's AUC in every group, and its difference from the reference's.

    Args:
        predictions: By strategy, all of the same patients.
        groups: Groups of them.
        reference: The strategy the others are compared with.
        min_patients: Of each class, for a group to be judged.
    """
    test = predictions[reference]
    told = []
    for group in groups:
        sizes = class_sizes(test, group.inside)
        entry: Json = {
            "covariate": group.covariate,
            "value": group.value,
            "n": int(group.inside.sum()),
            "positives": sizes[1] if isinstance(test, Predictions) else None,
            "strategies": {},
        }
        if not isinstance(test, Predictions):
            entry["counts"] = dict(zip(test.classes, sizes, strict=True))
        if smallest_class(test, group.inside) >= min_patients:
            entry["strategies"] = {
                name: _judge(predicted, None if name == reference else test, group.inside)
                for name, predicted in predictions.items()
            }
        told.append(entry)
    return {"min_patients": min_patients, "groups": told}


def _judge(
    predicted: AnyPredictions, beside: AnyPredictions | None, inside: Bool[np.ndarray, " n"]
) -> Json:
    difference = None if beside is None else auc_difference_of(predicted, beside, inside)
    return {
        "auc": with_interval(*auc_of(predicted, inside)),
        "auc_difference": with_interval(None, None)
        if difference is None
        else with_interval(difference.value, difference.interval()),
    }


def _name_groups(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the groups in reading order, and the group of each word.

    A word is its own group, the most frequent first; many numbers are cut into bands.
    """
    numbers = _as_numbers(words)
    known = [number for number in numbers or () if number is not None]
    if numbers is None or len(set(known)) <= MOST_VALUES:
        order = [word for word, _ in Counter(sorted(words)).most_common() if word]
        return order, [word or UNKNOWN for word in words]
    cuts = np.quantile(known, np.arange(1, BANDS) / BANDS)
    # Whole numbers are cut at whole numbers, as a reader would.
    cuts = np.unique(np.round(cuts) if np.allclose(known, np.round(known)) else cuts)
    names = [f"below {cuts[0]:g}"]
    names += [f"{low:g} to below {high:g}" for low, high in pairwise(cuts)]
    names += [f"{cuts[-1]:g} and above"]
    return names, [
        UNKNOWN if number is None else names[int(np.searchsorted(cuts, number, side="right"))]
        for number in numbers
    ]


def _as_numbers(words: Sequence[str]) -> list[float | None] | None:
    """Return words as numbers, None where unknown; None if one is no number."""
    try:
        return [float(word) if word else None for word in words]
    except ValueError:
        return None
