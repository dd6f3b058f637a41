"""What a site's cohort must satisfy before anything is trained on it.

A suite is built from the settings and looks at three tables of a site:

    scans   its canonical table, numbers as numbers, unknown as null
    files   one row per file, as `sitesynth.cohorts.voxels` measured it
    groups  number of patients in all, and in each class where the site trains

A file that breaks a rule stops the study, or, where `check.bad_scans` says so, sets its scan aside:
the scan is in the quarantine table with every reason, in no split, and not counted in groups.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sitesynth.cohorts import cells
from sitesynth.cohorts.acquired import Acquired
from sitesynth.cohorts.expectations import Expectation, Outcome, judge
from sitesynth.cohorts.quality import MEASURES, find_outliers
from sitesynth.cohorts.tables import IMAGE, MASK, MASKS, file_columns, single_labels
from sitesynth.cohorts.voxels import FileMeasure, as_record
from sitesynth.errors import CohortError
from sitesynth.patterns import are_side_by_side
from sitesynth.settings import CheckSettings, CohortSettings, TaskSettings


__all__ = [
    "Tables",
    "build_suite",
    "check_site",
    "raise_failures",
    "tables_of",
]

Tables = Mapping[str, pd.DataFrame]

MAX_MASK_VALUES = 16
"""A mask with more values than the tissues of any known labelling is an image, or was blurred."""

MAX_SHOWN = 5
"""Failures that an error message lists; the page has them all."""

ANY_ORIENTATION = r"^(?=.*[RL])(?=.*[AP])(?=.*[IS])[RLAPIS]{3}$"


def build_suite(
    found: Acquired, *, cohort: CohortSettings, check: CheckSettings
) -> list[Expectation]:
    """Build the suite of one site from the settings."""
    return [
        *_scan_expectations(found, cohort),
        *_file_expectations(found, cohort, check),
        Expectation(
            "groups",
            f"A site has at least {check.min_patients} patients, and a training site at least "
            f"{check.min_patients_per_class} of each class",
            "add patients, make it an external site, or lower check.min_patients or "
            "check.min_patients_per_class",
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {"column_A": "num_patients", "column_B": "at_least", "or_equal": True},
        ),
    ]


def tables_of(
    found: Acquired,
    measures: Sequence[FileMeasure],
    *,
    cohort: CohortSettings,
    task: TaskSettings,
    check: CheckSettings,
) -> Tables:
    """Arrange a site's scans, files and groups as the suite looks at them."""
    scans = found.table.astype(object).where(found.table != "", None)
    for name in set(cells.NUMBERS) & set(cohort.covariates):
        scans[name] = pd.to_numeric(scans[name])
    records = [
        {
            "scan_id": measure.scan_id,
            "column": measure.column,
            "path": measure.path,
            "error": measure.error,
            "shape": measure.shape,
            "reference_shape": measure.reference_shape,
            "orientation": measure.orientation,
            "twin": measure.twin,
        }
        for measure in measures
    ]
    numbers = [
        {
            # A mask has one channel, whatever the images have.
            "num_channels": None if measure.column in MASKS else measure.num_channels,
            "num_nonfinite": measure.num_nonfinite,
            "contrast": _contrast(measure),
            "smallest_edge_mm": min(measure.spacing_mm) if measure.spacing_mm else None,
            "largest_edge_mm": max(measure.spacing_mm) if measure.spacing_mm else None,
            "affine_offset_mm": measure.affine_offset_mm,
            "mask_fraction": measure.foreground_fraction if measure.column in MASKS else None,
            "num_fractional": measure.num_fractional,
            "num_values": measure.num_values if measure.column == MASK else None,
        }
        for measure in measures
    ]
    files = pd.concat(
        [pd.DataFrame(records, dtype=object), pd.DataFrame(numbers, dtype=float)], axis=1
    )
    return {
        "scans": scans,
        "files": files,
        "groups": _groups_of(found, cohort=cohort, task=task, check=check),
    }


def check_site(
    found: Acquired,
    measures: Sequence[FileMeasure],
    *,
    cohort: CohortSettings,
    task: TaskSettings,
    check: CheckSettings,
) -> dict[str, Any]:
    """Check one site against its suite.

    Returns:
        JSON content: `success`, every rule with where it fails, the quarantine table, images
        unlike the site's others, every scan with its measures. The same for the same cohort,
        whenever and wherever it is checked.
    """
    tables = dict(tables_of(found, measures, cohort=cohort, task=task, check=check))
    outcomes = judge(build_suite(found, cohort=cohort, check=check), tables)
    quarantine = _quarantine_of(outcomes, tables) if check.bad_scans == "quarantine" else []
    if quarantine:
        aside = {row["scan_id"] for row in quarantine}
        kept = replace(found, table=found.table[~found.table["scan_id"].isin(aside)])
        tables["groups"] = _groups_of(kept, cohort=cohort, task=task, check=check)
        groups = [one.expectation for one in outcomes if one.expectation.subject == "groups"]
        outcomes = [
            replace(one, rows=()) if one.expectation.subject == "files" else one
            for one in outcomes
            if one.expectation.subject != "groups"
        ] + judge(groups, {"groups": tables["groups"]})
    rules = [_rule_of(outcome, tables, site=found.site) for outcome in outcomes]
    files: dict[str, dict[str, Any]] = {}
    for measure in measures:
        record = as_record(measure)
        files.setdefault(record.pop("scan_id"), {})[record.pop("column")] = record
    described = [*cohort.labels, *cohort.covariates]
    return {
        "site": found.site,
        "role": found.role,
        "success": not any(rule["failures"] for rule in rules),
        "num_scans": len(found.table),
        "num_patients": int(found.table["patient_id"].nunique()),
        "groups": tables["groups"].to_dict("records"),
        "columns": [*file_columns(found.table, cohort)],
        "rules": rules,
        "quarantine": quarantine,
        "outliers": find_outliers(_qualities(measures)),
        "scans": [
            {
                "scan_id": row["scan_id"],
                "patient_id": row["patient_id"],
                "split": row["split"],
                "values": {name: row[name] for name in described},
                "files": files.get(row["scan_id"], {}),
            }
            for row in found.table.to_dict("records")
        ],
    }


def _qualities(measures: Sequence[FileMeasure]) -> pd.DataFrame:
    """Return the measures of quality of a site's images, not of its masks."""
    return pd.DataFrame(
        [
            (one.scan_id, one.column, *(getattr(one, name) for name in MEASURES))
            for one in measures
            if one.column not in MASKS and one.error is None
        ],
        columns=["scan_id", "column", *MEASURES],
    )


def raise_failures(result: Mapping[str, Any], *, page: Path) -> None:
    """Stop the study if a site's check failed.

    Args:
        result: What `check_site` returned.
        page: Where the page is that lists every failure.

    Raises:
        CohortError: Names place, value, rule and next step of the first failures.
    """
    lines = [
        f"{failure['place']}: {failure['value']}. Rule: {rule['rule']}; {rule['step']}."
        for rule in result["rules"]
        for failure in rule["failures"]
    ]
    if lines:
        shown = "".join(f"\n  {line}" for line in lines[:MAX_SHOWN])
        more = f"\n  and {len(lines) - MAX_SHOWN} more" if len(lines) > MAX_SHOWN else ""
        failed = sum(bool(rule["failures"]) for rule in result["rules"])
        raise CohortError(
            f"the cohort of site '{result['site']}' breaks {failed} of {len(result['rules'])} "
            f"rules:{shown}{more}\nEvery check is on {page}."
        )


def _groups_of(
    found: Acquired, *, cohort: CohortSettings, task: TaskSettings, check: CheckSettings
) -> pd.DataFrame:
    """Count a site's patients, and those of each class where it trains."""
    patients = found.table.drop_duplicates("patient_id")
    groups = [("all patients", len(patients), check.min_patients)]
    if found.role == "training":
        known = found.table[found.table[task.label] != ""].drop_duplicates("patient_id")
        groups += [
            (said, count, check.min_patients_per_class)
            for said, count in _patients_by_class(known, cohort=cohort, label=task.label).items()
        ]
    return pd.DataFrame(groups, columns=["group", "num_patients", "at_least"])


def _patients_by_class(
    known: pd.DataFrame, *, cohort: CohortSettings, label: str
) -> dict[str, int]:
    """Count patients by what they have; of findings, those with and without each."""
    if are_side_by_side(label):
        return {
            f"patients with {name} = {word}": int((known[name] == word).sum())
            for name in cohort.labels[label]
            for word in cohort.labels[name]
        }
    return {
        f"patients with {label} = {name}": int((known[label] == name).sum())
        for name in cohort.labels[label]
    }


def _quarantine_of(outcomes: Iterable[Outcome], tables: Tables) -> list[dict[str, str]]:
    """List what is wrong with files: one row per file and broken rule."""
    files = tables["files"]
    return [
        {
            "scan_id": row["scan_id"],
            "column": row["column"],
            "path": row["path"],
            "rule": outcome.expectation.rule,
            "value": _values_of(row, outcome.expectation),
            "step": outcome.expectation.step,
        }
        for outcome in outcomes
        if outcome.expectation.subject == "files"
        for row in (files.iloc[number] for number in outcome.rows)
    ]


def _values_of(row: "pd.Series[Any]", expectation: Expectation) -> str:
    return ", ".join(f"{name} = {_shown(row[name])}" for name in expectation.columns)


def _scan_expectations(found: Acquired, cohort: CohortSettings) -> list[Expectation]:
    """Rules of a canonical table, which `tables` has enforced: the page shows that they hold."""
    step = "correct the cohort's table"
    rules = [
        Expectation(
            "scans",
            "Every scan has a patient",
            step,
            "ExpectColumnValuesToNotBeNull",
            {"column": "patient_id"},
        ),
        Expectation(
            "scans",
            "Every scan has an id",
            step,
            "ExpectColumnValuesToNotBeNull",
            {"column": "scan_id"},
        ),
        Expectation(
            "scans",
            "No two scans have one id",
            step,
            "ExpectColumnValuesToBeUnique",
            {"column": "scan_id"},
        ),
    ]
    sets: dict[str, Sequence[str]] = {"site": [found.site]}
    sets |= {label: cohort.labels[label] for label in single_labels(cohort)}
    sets["split"] = cells.SPLITS if found.role == "training" else ("test",)
    if "sex" in cohort.covariates:
        sets["sex"] = cells.SEXES
    rules += [
        Expectation(
            "scans",
            f"{name} is one of {', '.join(values)}, where known",
            step,
            "ExpectColumnValuesToBeInSet",
            {"column": name, "value_set": list(values)},
        )
        for name, values in sets.items()
    ]
    for name, (low, high, unit) in cells.NUMBERS.items():
        if name in cohort.covariates:
            rules.append(
                Expectation(
                    "scans",
                    f"{name} is from {low:g} to {high:g} {unit}, where known",
                    step,
                    "ExpectColumnValuesToBeBetween",
                    {"column": name, "min_value": low, "max_value": high},
                )
            )
    return rules


def _file_expectations(
    found: Acquired, cohort: CohortSettings, check: CheckSettings
) -> list[Expectation]:
    """Rules of the voxels and of how a scan's files lie to each other."""
    low, high = check.min_spacing_mm, check.max_spacing_mm
    rules = [
        Expectation(
            "files",
            "Every file can be read",
            "replace the file, or leave its cell empty",
            "ExpectColumnValuesToBeNull",
            {"column": "error"},
        ),
        Expectation(
            "files",
            "Every voxel is a finite number",
            "export the image again",
            "ExpectColumnValuesToBeBetween",
            {"column": "num_nonfinite", "min_value": 0, "max_value": 0},
        ),
        Expectation(
            "files",
            "No image is constant",
            "leave its cell empty if the sequence is missing",
            "ExpectColumnValuesToBeBetween",
            {"column": "contrast", "min_value": 0, "strict_min": True},
        ),
        Expectation(
            "files",
            f"No voxel edge is shorter than {low:g} mm",
            "correct the header, or check.min_spacing_mm",
            "ExpectColumnValuesToBeBetween",
            {"column": "smallest_edge_mm", "min_value": low},
        ),
        Expectation(
            "files",
            f"No voxel edge is longer than {high:g} mm",
            "correct the header, or check.max_spacing_mm",
            "ExpectColumnValuesToBeBetween",
            {"column": "largest_edge_mm", "max_value": high},
        ),
        Expectation(
            "files",
            "The orientation of every volume is known",
            "set qform_code or sform_code in the header",
            "ExpectColumnValuesToMatchRegex",
            {"column": "orientation", "regex": ANY_ORIENTATION},
        ),
        *_grid_expectations(check),
        Expectation(
            "files",
            "No two sequences of a scan have the same voxels",
            "leave the cell of the copy empty",
            "ExpectColumnValuesToBeNull",
            {"column": "twin"},
        ),
    ]
    if IMAGE in found.table.columns and IMAGE not in cohort.sequences:
        num = len(cohort.sequences)
        rules.append(
            Expectation(
                "files",
                f"Every image has {num} channels: {', '.join(cohort.sequences)}",
                "correct cohort.sequences or the file",
                "ExpectColumnValuesToBeInSet",
                {"column": "num_channels", "value_set": [num]},
            )
        )
    if set(MASKS) & set(found.table.columns):
        rules += [
            Expectation(
                "files",
                "Every mask has something inside",
                "leave its cell empty if the mask is missing",
                "ExpectColumnValuesToBeBetween",
                {"column": "mask_fraction", "min_value": 0, "strict_min": True},
            ),
            Expectation(
                "files",
                "Masks hold whole numbers: 0 outside, others inside",
                "resample labels to the nearest neighbour",
                "ExpectColumnValuesToBeBetween",
                {"column": "num_fractional", "min_value": 0, "max_value": 0},
            ),
            Expectation(
                "files",
                f"Masks hold at most {MAX_MASK_VALUES} values",
                "give a mask, not an image, and not as JPEG",
                "ExpectColumnValuesToBeBetween",
                {"column": "num_values", "min_value": 1, "max_value": MAX_MASK_VALUES},
            ),
        ]
    return rules


def _grid_expectations(check: CheckSettings) -> list[Expectation]:
    """Rules of how a scan's files lie to each other, where they must lie on one grid."""
    if check.grids == "any":
        return []
    near = check.affine_tolerance_mm
    return [
        Expectation(
            "files",
            "All files of a scan have one shape",
            "resample them to one grid, or set check.grids to any",
            "ExpectColumnPairValuesToBeEqual",
            {
                "column_A": "shape",
                "column_B": "reference_shape",
                "ignore_row_if": "either_value_is_missing",
            },
        ),
        Expectation(
            "files",
            f"All files of a scan lie within {near:g} mm of each other",
            "register them, correct the headers, or set check.grids to any",
            "ExpectColumnValuesToBeBetween",
            {"column": "affine_offset_mm", "min_value": 0, "max_value": near},
        ),
    ]


def _contrast(measure: FileMeasure) -> float | None:
    """Return the range of an image's values; a mask's is not asked for."""
    if measure.low is None or measure.high is None or measure.column in MASKS:
        return None
    return measure.high - measure.low


def _rule_of(outcome: Outcome, tables: Tables, *, site: str) -> dict[str, Any]:
    """Return a rule and where it fails, as JSON has it."""
    expectation = outcome.expectation
    table = tables[expectation.subject]
    failures = []
    for number in outcome.rows:
        row = table.iloc[number]
        place = _place_of(row, expectation.subject, site)
        failures.append({"place": place, "value": _values_of(row, expectation)})
    return {
        "rule": expectation.rule,
        "step": expectation.step,
        "subject": expectation.subject,
        "expectation": expectation.kind,
        "arguments": dict(expectation.kwargs),
        "num_checked": len(table),
        "failures": failures,
    }


def _place_of(row: pd.Series, subject: str, site: str) -> str:
    if subject == "files":
        return f"scan '{row['scan_id']}', {row['column']} {row['path']}"
    if subject == "groups":
        return f"site '{site}', {row['group']}"
    return f"scan '{row['scan_id']}' of patient '{row['patient_id']}'"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
