"""What a strategy predicts for the external patients: results/evaluation/<name>/predictions.csv.

One row per scan; one entry per patient once read, because a patient's scans are no independent
evidence (intervals over slices or scans cover 43 % where they promise 95 %).

Axes: n = patients, s = training seeds.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.errors import CohortError, MissingInputError
from sitesynth.storage import read_json


__all__ = [
    "Predictions",
    "check_same_patients",
    "predictions_by_patient",
    "read_evaluations",
    "read_predictions",
]

COLUMNS = ("patient_id", "scan_id", "site", "label", "probability")

SEED_PREFIX = "seed_"


@final
@dataclass(frozen=True, slots=True)
class Predictions:
    """One strategy's predictions, ordered by site and patient."""

    patients: tuple[str, ...]
    sites: tuple[str, ...]
    labels: Bool[np.ndarray, " n"]
    """True for the positive class."""
    probabilities: Float[np.ndarray, " n"]
    """Of the positive class: mean over seeds, and over a patient's scans."""
    by_seed: Float[np.ndarray, "s n"]
    """The same for each training seed."""


def read_evaluations(
    folder: Path, strategies: Sequence[str], *, test_sha256: str
) -> tuple[dict[str, Predictions], dict[str, float]]:
    """Read what the stage `evaluate` wrote for each strategy.

    Args:
        folder: results/evaluation.
        strategies: Subfolders of it, in reporting order.
        test_sha256: Digest of the frozen list of external patients.

    Returns:
        Predictions and thresholds, by strategy.

    Raises:
        MissingInputError: If a strategy has no predictions.
        CohortError: If a strategy was tested on another list, or its table is not valid.
    """
    predictions, thresholds = {}, {}
    for strategy in strategies:
        predictions[strategy] = read_predictions(folder / strategy / "predictions.csv")
        told = read_json(folder / strategy / "metrics.json")
        if told["test_sha256"] != test_sha256:
            raise CohortError(
                f"{folder / strategy}: was tested on the list of patients {told['test_sha256']}, "
                f"but the frozen one is {test_sha256}. Run `dvc repro evaluate`."
            )
        thresholds[strategy] = float(told["threshold"])
    return predictions, thresholds


def read_predictions(path: Path) -> Predictions:
    """Read predictions.csv.

    Raises:
        MissingInputError: If there is no such file.
        CohortError: As for `predictions_by_patient`.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{path} does not exist; the stage `evaluate` writes it, run `dvc repro evaluate`."
        ) from error
    return predictions_by_patient(rows, named=str(path))


def predictions_by_patient(rows: Sequence[Mapping[str, str]], *, named: str) -> Predictions:
    """Average predictions over each patient's scans.

    Args:
        rows: One per scan: `patient_id`, `scan_id`, `site`, `label` (0 or 1), `probability`, and
            `seed_0`, `seed_1`, ...; other columns are left alone. Their order does not matter.
        named: What messages call the table.

    Raises:
        CohortError: If there is no row, a column is missing, a scan is listed twice, a patient has
            two labels or two sites, or a probability is not in [0, 1].
    """
    if not rows:
        raise CohortError(f"{named} has no row: no external patient has a known label.")
    missing = [column for column in COLUMNS if column not in rows[0]]
    if missing:
        raise CohortError(f"{named} lacks the columns {missing}; it has {list(rows[0])}.")
    # Not sorted as text, which puts seed_10 before seed_2.
    seeds = sorted(
        (column for column in rows[0] if column.startswith(SEED_PREFIX)),
        key=lambda column: (len(column), column),
    )
    scans: dict[tuple[str, str], list[list[float]]] = {}
    facts: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for line, row in enumerate(rows, start=2):
        place = f"{named}, line {line}"
        patient, scan = row["patient_id"], row["scan_id"]
        if scan in seen:
            raise CohortError(f"{place}: scan {scan} is listed twice; a scan is predicted once.")
        seen.add(scan)
        if row["label"] not in {"0", "1"}:
            raise CohortError(f"{place}: label must be 0 or 1, got {row['label']!r}.")
        told = facts.setdefault(patient, (row["site"], row["label"]))
        if told != (row["site"], row["label"]):
            raise CohortError(
                f"{place}: patient {patient} is at site {row['site']} with label {row['label']}, "
                f"and above at site {told[0]} with label {told[1]}; a patient has one of each. "
                "Correct the cohort table."
            )
        values = [_probability(row[column], place) for column in ("probability", *seeds)]
        scans.setdefault((row["site"], patient), []).append(values)
    ordered = sorted(scans)
    means = np.array([np.mean(scans[key], axis=0) for key in ordered]).T
    return Predictions(
        patients=tuple(patient for _, patient in ordered),
        sites=tuple(site for site, _ in ordered),
        labels=np.array([facts[patient][1] == "1" for _, patient in ordered]),
        probabilities=means[0],
        by_seed=means[1:],
    )


def _probability(cell: str, place: str) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise CohortError(
            f"{place}: a probability must be a number in [0, 1], got {cell!r}. "
            "Run `dvc repro evaluate`."
        )
    return value


def check_same_patients(predictions: Mapping[str, Predictions]) -> None:
    """Check that all strategies were tested on the same patients.

    Raises:
        CohortError: If two strategies disagree about a patient, naming both and some patients.
    """
    names = iter(predictions)
    first = next(names)
    expected = _identities(predictions[first])
    for name in names:
        found = _identities(predictions[name])
        if found != expected:
            differing = sorted({patient for patient, *_ in found ^ expected})
            raise CohortError(
                f"strategies must be tested on the same patients: {first} and {name} disagree on "
                f"{len(differing)} of them ({_some(differing)}). Run `dvc repro evaluate`."
            )


def _identities(predictions: Predictions) -> set[tuple[str, str, bool]]:
    return set(
        zip(predictions.patients, predictions.sites, predictions.labels.tolist(), strict=True)
    )


def _some(names: Iterable[str], *, most: int = 3) -> str:
    """Name the first few of many."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
