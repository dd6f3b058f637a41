"""What a strategy predicts for the external patients: results/evaluation/<name>/predictions.csv.

One row per scan; one entry per patient once read, because a patient's scans are no independent
evidence (intervals over slices or scans cover 43 % where they promise 95 %).

A task with a positive class has columns `probability`, `seed_0`, ..., and its labels are 1 and 0. A
task of all classes has `probability_<class>`, `seed_0_<class>`, ..., and its labels are classes. A
task of findings, told side by side, has the same of each finding, and `label_<finding>`, 1 or 0.

Axes: n = patients, s = training seeds, k = classes or findings.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from sitesynth.errors import CohortError, MissingInputError
from sitesynth.storage import read_json


__all__ = [
    "AnyPredictions",
    "ClassPredictions",
    "FindingPredictions",
    "MultiplePredictions",
    "Predictions",
    "check_same_patients",
    "class_predictions_by_patient",
    "finding_predictions_by_patient",
    "predictions_by_patient",
    "read_evaluations",
    "read_predictions",
]

COLUMNS = ("patient_id", "scan_id", "site", "label")

PROBABILITY = "probability"
PER_CLASS = "probability_"
PER_LABEL = "label_"
SEED_PREFIX = "seed_"

DIGITS = 12
"""Decimals of a patient's mean: scans of one probability have it as theirs, to the bit, however
many they are, so that patients who are told the same are tied."""

SLACK = 1e-4
"""By how much a patient's probabilities may miss 1, for their rounding."""


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


@final
@dataclass(frozen=True, slots=True)
class ClassPredictions:
    """One strategy's predictions of every class, ordered by site and patient."""

    classes: tuple[str, ...]
    patients: tuple[str, ...]
    sites: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    """Number of each patient's class."""
    probabilities: Float[np.ndarray, "n k"]
    """Of every class: mean over seeds, and over a patient's scans."""
    by_seed: Float[np.ndarray, "s n k"]
    """The same for each training seed."""

    def one_against_rest(self, number: int) -> Predictions:
        """Return the predictions of one class, with which the others are the other class."""
        return Predictions(
            patients=self.patients,
            sites=self.sites,
            labels=self.labels == number,
            probabilities=self.probabilities[:, number],
            by_seed=self.by_seed[:, :, number],
        )


@final
@dataclass(frozen=True, slots=True)
class FindingPredictions:
    """One strategy's predictions of findings, which a patient may have several of."""

    classes: tuple[str, ...]
    """The findings."""
    patients: tuple[str, ...]
    sites: tuple[str, ...]
    labels: Bool[np.ndarray, "n k"]
    """True where a patient has a finding."""
    probabilities: Float[np.ndarray, "n k"]
    """Of every finding: mean over seeds, and over a patient's scans."""
    by_seed: Float[np.ndarray, "s n k"]
    """The same for each training seed."""

    def one_against_rest(self, number: int) -> Predictions:
        """Return the predictions of one finding."""
        return Predictions(
            patients=self.patients,
            sites=self.sites,
            labels=self.labels[:, number],
            probabilities=self.probabilities[:, number],
            by_seed=self.by_seed[:, :, number],
        )


MultiplePredictions = ClassPredictions | FindingPredictions
"""Of several classes or findings, each of which has figures of its own."""

AnyPredictions = Predictions | MultiplePredictions
"""Of a task with a positive class, of all classes, or of findings."""


def read_evaluations(
    folder: Path, strategies: Sequence[str], *, test_sha256: str
) -> tuple[dict[str, AnyPredictions], dict[str, float | None]]:
    """Read what the stage `evaluate` wrote for each strategy.

    Args:
        folder: results/evaluation.
        strategies: Subfolders of it, in reporting order.
        test_sha256: Digest of the frozen list of external patients.

    Returns:
        Predictions and thresholds, by strategy; a task of all classes has no threshold.

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
        threshold = told["threshold"]
        if (threshold is None) == isinstance(predictions[strategy], Predictions):
            raise CohortError(
                f"{folder / strategy}: metrics.json has the threshold {threshold}, which is not of "
                "the task that predictions.csv is of. Run `dvc repro evaluate`."
            )
        thresholds[strategy] = None if threshold is None else float(threshold)
    return predictions, thresholds


def read_predictions(path: Path) -> AnyPredictions:
    """Read predictions.csv; its columns tell whether a class is positive.

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
    if rows and PROBABILITY not in rows[0] and _classes_of(rows[0]):
        if any(name.startswith(PER_LABEL) for name in rows[0]):
            return finding_predictions_by_patient(rows, named=str(path))
        return class_predictions_by_patient(rows, named=str(path))
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
    _check_columns(rows, [*COLUMNS, PROBABILITY], named=named)
    # Not sorted as text, which puts seed_10 before seed_2.
    seeds = sorted(
        (column for column in rows[0] if column.startswith(SEED_PREFIX)),
        key=lambda column: (len(column), column),
    )
    found = _average(rows, [PROBABILITY, *seeds], labels=("0", "1"), named=named)
    return Predictions(
        patients=found.patients,
        sites=found.sites,
        labels=found.labels == 1,
        probabilities=found.values[0],
        by_seed=found.values[1:],
    )


def class_predictions_by_patient(
    rows: Sequence[Mapping[str, str]], *, named: str
) -> ClassPredictions:
    """Average predictions of every class over each patient's scans.

    Args:
        rows: As for `predictions_by_patient`, but with a class for a label, and for each class
            `probability_<class>`, `seed_0_<class>`, ...; the columns' order is that of the classes.
        named: What messages call the table.

    Raises:
        CohortError: As for `predictions_by_patient`, or if a patient's probabilities do not sum up
            to 1.
    """
    _check_columns(rows, COLUMNS, named=named)
    classes = _classes_of(rows[0])
    found, chances = _average_each(rows, classes, labels=classes, named=named)
    sums = chances.sum(axis=2)
    if np.abs(sums - 1).max() > SLACK:
        patient = found.patients[int(np.abs(sums - 1).max(axis=0).argmax())]
        raise CohortError(
            f"{named}: the probabilities of {list(classes)} of patient {patient} do not sum up to "
            "1. Run `dvc repro evaluate`."
        )
    return ClassPredictions(
        classes=classes,
        patients=found.patients,
        sites=found.sites,
        labels=found.labels,
        probabilities=chances[0],
        by_seed=chances[1:],
    )


def finding_predictions_by_patient(
    rows: Sequence[Mapping[str, str]], *, named: str
) -> FindingPredictions:
    """Average predictions of findings over each patient's scans.

    Args:
        rows: As for `predictions_by_patient`, but for each finding `label_<finding>` (0 or 1),
            `probability_<finding>`, `seed_0_<finding>`, ...
        named: What messages call the table.

    Raises:
        CohortError: As for `predictions_by_patient`.
    """
    _check_columns(rows, [name for name in COLUMNS if name != "label"], named=named)
    findings = _classes_of(rows[0])
    _check_columns(rows, [f"{PER_LABEL}{name}" for name in findings], named=named)
    told = []
    for line, row in enumerate(rows, start=2):
        cells = [row[f"{PER_LABEL}{name}"] for name in findings]
        if not set(cells) <= {"0", "1"}:
            raise CohortError(
                f"{named}, line {line}: what a scan has must be 0 or 1 for each of "
                f"{list(findings)}, got {cells}. Run `dvc repro evaluate`."
            )
        told.append({**row, "label": "".join(cells)})
    patterns = sorted({row["label"] for row in told})
    found, chances = _average_each(told, findings, labels=patterns, named=named)
    flags = np.array([[cell == "1" for cell in pattern] for pattern in patterns])
    return FindingPredictions(
        classes=findings,
        patients=found.patients,
        sites=found.sites,
        labels=flags[found.labels],
        probabilities=chances[0],
        by_seed=chances[1:],
    )


def _average_each(
    rows: Sequence[Mapping[str, str]],
    classes: Sequence[str],
    *,
    labels: Sequence[str],
    named: str,
) -> "tuple[_Averages, Float[np.ndarray, 'b n k']]":
    """Average the probabilities of several classes: the mean, and then each seed's."""
    numbers = range(sum(f"{SEED_PREFIX}{n}_{classes[0]}" in rows[0] for n in range(len(rows[0]))))
    blocks = ["probability", *(f"{SEED_PREFIX}{number}" for number in numbers)]
    columns = [f"{block}_{name}" for block in blocks for name in classes]
    _check_columns(rows, columns, named=named)
    found = _average(rows, columns, labels=labels, named=named)
    return found, found.values.reshape(len(blocks), len(classes), -1).transpose(0, 2, 1)


def _classes_of(row: Mapping[str, str]) -> tuple[str, ...]:
    """Return the classes that a table has probabilities of, in order."""
    return tuple(name.removeprefix(PER_CLASS) for name in row if name.startswith(PER_CLASS))


def _check_columns(
    rows: Sequence[Mapping[str, str]], columns: Sequence[str], *, named: str
) -> None:
    if not rows:
        raise CohortError(f"{named} has no row: no external patient has a known label.")
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise CohortError(f"{named} lacks the columns {missing}; it has {list(rows[0])}.")


@final
@dataclass(frozen=True, slots=True)
class _Averages:
    """A table's numbers by patient, ordered by site and patient. Axis v = columns."""

    patients: tuple[str, ...]
    sites: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    values: Float[np.ndarray, "v n"]


def _average(
    rows: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    *,
    labels: Sequence[str],
    named: str,
) -> _Averages:
    """Average columns of probabilities over each patient's scans, and number the labels."""
    scans: dict[tuple[str, str], list[list[float]]] = {}
    facts: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for line, row in enumerate(rows, start=2):
        place = f"{named}, line {line}"
        patient, scan = row["patient_id"], row["scan_id"]
        if scan in seen:
            raise CohortError(f"{place}: scan {scan} is listed twice; a scan is predicted once.")
        seen.add(scan)
        if row["label"] not in labels:
            raise CohortError(f"{place}: label must be {_either(labels)}, got {row['label']!r}.")
        told = facts.setdefault(patient, (row["site"], row["label"]))
        if told != (row["site"], row["label"]):
            raise CohortError(
                f"{place}: patient {patient} is at site {row['site']} with label {row['label']}, "
                f"and above at site {told[0]} with label {told[1]}; a patient has one of each. "
                "Correct the cohort table."
            )
        values = [_probability(row[column], place) for column in columns]
        scans.setdefault((row["site"], patient), []).append(values)
    ordered = sorted(scans)
    return _Averages(
        patients=tuple(patient for _, patient in ordered),
        sites=tuple(site for site, _ in ordered),
        labels=np.array([labels.index(facts[patient][1]) for _, patient in ordered]),
        values=np.array([np.mean(scans[key], axis=0).round(DIGITS) for key in ordered]).T,
    )


def _either(words: Sequence[str]) -> str:
    """Name what there is to choose from."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


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


def check_same_patients(predictions: Mapping[str, AnyPredictions]) -> None:
    """Check that all strategies were tested on the same patients, and told the same classes apart.

    Raises:
        CohortError: If two strategies disagree about a patient, naming both and some patients; or
            about the classes.
    """
    names = iter(predictions)
    first = next(names)
    expected = _identities(predictions[first])
    for name in names:
        classes = [_classes_told(predictions[which]) for which in (first, name)]
        if classes[0] != classes[1]:
            raise CohortError(
                f"strategies must predict the same classes: {first} predicts {classes[0]}, {name} "
                f"{classes[1]}. Run `dvc repro evaluate`."
            )
        found = _identities(predictions[name])
        if found != expected:
            differing = sorted({patient for patient, *_ in found ^ expected})
            raise CohortError(
                f"strategies must be tested on the same patients: {first} and {name} disagree on "
                f"{len(differing)} of them ({_some(differing)}). Run `dvc repro evaluate`."
            )


def _identities(predictions: AnyPredictions) -> set[tuple[str, str, str]]:
    labels = map(str, predictions.labels.tolist())
    return set(zip(predictions.patients, predictions.sites, labels, strict=True))


def _classes_told(predictions: AnyPredictions) -> str:
    if not isinstance(predictions, Predictions):
        return ", ".join(predictions.classes)
    return "a positive class"


def _some(names: Iterable[str], *, most: int = 3) -> str:
    """Name the first few of many."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
