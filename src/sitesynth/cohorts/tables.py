"""The data contract: other people's tables, mapped to our columns and checked cell by cell.

A canonical table has one row per scan and these columns, every cell a string, empty = unknown:

    patient_id  scan_id  site  split  <labels>  <covariates>  <sequences>  brain_mask  mask

Cohorts whose files hold all sequences as channels have one column `image` instead of one per
sequence. `mask` is there if the cohort has masks; so is `brain_mask`, and no cell of it is empty.
Paths are relative to `Cohort.root`.

Where a table gives no scan_id, it is the patient_id: one scan per patient. Where scan_id is mapped
to a column of paths, it is the file's name without folders and suffixes.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

import pandas as pd

from sitesynth.cohorts import cells
from sitesynth.cohorts.sources import Row, Source, read_source
from sitesynth.errors import CohortError, LeakageError
from sitesynth.patterns import are_side_by_side, compose
from sitesynth.settings import FINDINGS, CohortSettings, SiteSettings


__all__ = [
    "BRAIN_MASK",
    "IDENTITY_COLUMNS",
    "IMAGE",
    "MASK",
    "MASKS",
    "Cohort",
    "canonical_columns",
    "file_columns",
    "map_source",
    "read_cohort",
    "single_labels",
]

IDENTITY_COLUMNS = ("patient_id", "scan_id", "site", "split")
"""First columns of every canonical table."""

IMAGE = "image"
"""The column of files whose channels are the sequences, in order."""

MASK = "mask"
"""The column of masks of the tumour (or organ)."""

BRAIN_MASK = "brain_mask"
"""The column of masks of the brain."""

MASKS = (BRAIN_MASK, MASK)
"""Columns of files that are no image."""

OPTIONAL_COLUMNS = ("scan_id", "split")

MAX_SHOWN = 5
"""Problems that one message lists."""


@final
@dataclass(frozen=True)
class Cohort:
    """The scans of a study, as its table gives them."""

    name: str
    """What messages call the table."""

    root: Path
    """The folder that paths are relative to."""

    table: pd.DataFrame
    """A canonical table, sorted by site, patient and scan."""

    left_out: Mapping[str, int]
    """Rows by site of the table that the study does not name."""


def read_cohort(table: Path, *, cohort: CohortSettings, sites: SiteSettings) -> Cohort:
    """Read a cohort's table, map its columns and codes to ours, and check every row.

    Args:
        table: A CSV, TSV or Parquet file; the paths in it are relative to its folder.
        cohort: What its columns and codes mean.
        sites: The sites of the study; rows of others are counted, and left out unchecked.

    Raises:
        MissingInputError: If there is no such table.
        CohortError: If it breaks the data contract; names table, row, column, value and rule.
        LeakageError: If a patient is at two sites or in two splits, or two rows name one file.
    """
    source = read_source(table)
    found = map_source(source, root=table.parent, cohort=cohort, sites=sites)
    present = set(found.table["site"])
    for site in sites.all:
        if site not in present:
            raise CohortError(
                f"the table {source.name} has no row for site '{site}' of params.yaml: an empty "
                f"site. Its sites are {sorted(present | set(found.left_out))}; correct sites.all, "
                "or map the table's names in cohort.codes.site."
            )
    return found


def map_source(
    source: Source, *, root: Path, cohort: CohortSettings, sites: SiteSettings
) -> Cohort:
    """Map a table to ours and check every row, without asking that each site has one.

    Raises:
        CohortError: As for `read_cohort`.
        LeakageError: As for `read_cohort`.
    """
    columns = _matched_columns(source, cohort)
    scans: list[_Scan] = []
    left_out: dict[str, int] = {}
    problems: list[str] = []
    for row in source.rows:
        scan = _Scan(row.number, _mapped(row, columns, cohort))
        site = scan.cells["site"]
        if site and site not in sites.all:
            left_out[site] = left_out.get(site, 0) + 1
        else:
            scans.append(scan)
            problems += _problems_of(scan, columns, root=root, cohort=cohort, sites=sites)
    files = [name for name, column in columns.items() if column.holds_paths]
    # In this order: a patient at two sites, or a row that is there twice, also repeats its files.
    _raise_if_any(source, problems, CohortError)
    _raise_if_any(source, _split_patients(scans), LeakageError)
    of_patient = single_labels(cohort) if cohort.label_unit == "patient" else ()
    _raise_if_any(source, _contradictions(scans, files, labels=of_patient), CohortError)
    _raise_if_any(source, _shared_files(scans, files), LeakageError)
    if FINDINGS in cohort.labels:
        for scan in scans:
            scan.cells[FINDINGS] = compose(scan.cells, cohort.labels)
    names = canonical_columns(cohort, has_image=_has_image(source, cohort))
    table = pd.DataFrame([scan.cells for scan in scans], columns=list(names), dtype=str)
    table = table.sort_values(["site", "patient_id", "scan_id"], ignore_index=True)
    return Cohort(source.name, root, table, dict(sorted(left_out.items())))


def canonical_columns(cohort: CohortSettings, *, has_image: bool) -> tuple[str, ...]:
    """Return the columns of a canonical table, in order.

    Args:
        cohort: The study's cohort.
        has_image: Whether one `image` column stands for all sequences.
    """
    sequences = (IMAGE,) if has_image else cohort.sequences
    masks = [BRAIN_MASK] if cohort.has_brain_mask else []
    masks += [MASK] if cohort.has_mask else []
    return (*IDENTITY_COLUMNS, *cohort.labels, *cohort.covariates, *sequences, *masks)


def single_labels(cohort: CohortSettings) -> tuple[str, ...]:
    """Return the labels that a table has columns of: all but `findings`, made of others."""
    return tuple(label for label in cohort.labels if not are_side_by_side(label))


def file_columns(table: pd.DataFrame, cohort: CohortSettings) -> tuple[str, ...]:
    """Return the columns of a canonical table that hold paths, in order; the mask last."""
    names = dict.fromkeys((*cohort.sequences, IMAGE, *MASKS))
    return tuple(name for name in names if name in table.columns)


@final
@dataclass(frozen=True, slots=True)
class _Scan:
    """One row, mapped."""

    row: int
    cells: dict[str, str]


@final
@dataclass(frozen=True, slots=True)
class _Column:
    """Where one of our columns is in the table."""

    ours: str
    theirs: str
    index: int | None
    """None where the table has no such column, and need not."""
    holds_paths: bool

    def __str__(self) -> str:
        return f"'{self.theirs}'" + ("" if self.theirs == self.ours else f" (our {self.ours})")


def _matched_columns(source: Source, cohort: CohortSettings) -> dict[str, _Column]:
    """Find each of our columns in a table's header."""
    names = [
        name
        for name in canonical_columns(cohort, has_image=_has_image(source, cohort))
        if not are_side_by_side(name)
    ]
    for section, mapped in (("columns", cohort.columns), ("codes", cohort.codes)):
        for name in mapped:
            if name not in names:
                raise CohortError(
                    f"cohort.{section} in params.yaml maps '{name}', which is no column of this "
                    f"study; its columns are {list(names)}."
                )
    found = {}
    for name in names:
        theirs = cohort.columns.get(name, name)
        is_needed = name not in OPTIONAL_COLUMNS or name in cohort.columns
        if theirs not in source.header and is_needed:
            raise CohortError(
                f"the table {source.name} has no column '{theirs}', which params.yaml expects for "
                f"our {name}. Its columns are {list(source.header)}; name the right one in "
                f"cohort.columns.{name}."
            )
        index = source.header.index(theirs) if theirs in source.header else None
        found[name] = _Column(name, theirs, index, name in {*cohort.sequences, IMAGE, *MASKS})
    return found


def _has_image(source: Source, cohort: CohortSettings) -> bool:
    """Return whether one column of multi-channel files stands for all sequences."""
    if IMAGE in cohort.sequences:
        return False
    if IMAGE in cohort.columns:
        both = sorted(set(cohort.sequences) & set(cohort.columns))
        if both:
            raise CohortError(
                f"cohort.columns in params.yaml maps both '{IMAGE}' and {both}; map one '{IMAGE}' "
                "column whose channels are the sequences, or one column per sequence."
            )
        return True
    has_sequences = any(
        cohort.columns.get(name, name) in source.header for name in cohort.sequences
    )
    return IMAGE in source.header and not has_sequences


def _mapped(row: Row, columns: Mapping[str, _Column], cohort: CohortSettings) -> dict[str, str]:
    """Return a row's cells under our names and in our codes."""
    found = {}
    for name, column in columns.items():
        cell = "" if column.index is None else row.cells[column.index]
        found[name] = cohort.codes.get(name, {}).get(cell, cell).strip()
    is_file = any(
        column.holds_paths and column.theirs == columns["scan_id"].theirs
        for column in columns.values()
    )
    if is_file:
        found["scan_id"] = PurePosixPath(found["scan_id"]).name.split(".")[0]
    found["scan_id"] = found["scan_id"] or found["patient_id"]
    return found


def _problems_of(
    scan: _Scan,
    columns: Mapping[str, _Column],
    *,
    root: Path,
    cohort: CohortSettings,
    sites: SiteSettings,
) -> list[str]:
    """List what is wrong with one row, by itself."""
    problems = []
    for name, column in columns.items():
        cell = scan.cells[name]
        fault = cells.fault_of_control_characters(cell)
        if not fault and column.holds_paths:
            fault = cells.fault_of_path(cell, root)
        elif not fault and name in cohort.labels:
            fault = cells.fault_of_code(name, cell, cohort.labels[name])
        elif not fault:
            is_external = scan.cells["site"] in sites.external
            fault = _fault_of_named(name, cell, is_external=is_external)
        if name == BRAIN_MASK and not cell:
            fault = "must not be empty: cohort.has_brain_mask promises one for every scan"
        if fault:
            problems.append(f"row {scan.row}, column {column}: {cell!r} {fault}.")
    sequences = [
        name for name, column in columns.items() if column.holds_paths and name not in MASKS
    ]
    if not any(scan.cells[name] for name in sequences):
        problems.append(
            f"row {scan.row}, scan '{scan.cells['scan_id']}': no sequence at all, {sequences} are "
            "empty; give a file or remove the row."
        )
    return problems


def _fault_of_named(name: str, cell: str, *, is_external: bool) -> str:
    """Apply the rule that belongs to a column of a fixed name."""
    if name in cells.NUMBERS:
        return cells.fault_of_number(name, cell)
    match name:
        case "patient_id" | "site":
            return cells.fault_of_id(cell)
        case "scan_id":
            return cells.fault_of_scan_id(cell)
        case "split":
            return cells.fault_of_split(cell, is_external=is_external)
        case "sex":
            return cells.fault_of_code(name, cell, cells.SEXES)
        case _:
            return ""


def _split_patients(scans: Sequence[_Scan]) -> list[str]:
    """List patients who would be on both sides of a wall."""
    return [
        f"rows {first.row} and {second.row}: patient '{patient}' has {column} "
        f"{first.cells[column]!r} and {second.cells[column]!r}, but {rule}."
        for column, rule in (
            ("site", "a patient belongs to one site; correct patient_id or site"),
            ("split", "all scans of a patient belong to one split; correct the split"),
        )
        for patient, first, second in _disagreeing(scans, column)
    ]


def _shared_files(scans: Sequence[_Scan], files: Sequence[str]) -> list[str]:
    """List pairs of scans that name one file.

    One mask may serve several scans, as an atlas does; an image belongs to one.
    """
    problems = []
    owners: dict[str, _Scan] = {}
    for scan in scans:
        for cell in (scan.cells[name] for name in files if name not in MASKS and scan.cells[name]):
            path = os.path.normpath(cell)
            owner = owners.setdefault(path, scan)
            if owner is not scan:
                problems.append(
                    f"rows {owner.row} and {scan.row}: scans '{owner.cells['scan_id']}' and "
                    f"'{scan.cells['scan_id']}' both name the file {path!r}, but a file belongs to "
                    "one scan; correct the path or remove a row."
                )
    return problems


def _contradictions(
    scans: Sequence[_Scan], files: Sequence[str], *, labels: Iterable[str]
) -> list[str]:
    """List what rows say that cannot both be true."""
    problems = []
    first_rows: dict[str, int] = {}
    for scan in scans:
        scan_id = scan.cells["scan_id"]
        first = first_rows.setdefault(scan_id, scan.row)
        if first != scan.row:
            problems.append(
                f"rows {first} and {scan.row}: both have the scan_id '{scan_id}', which must be "
                "unique in the table; remove one, or give patients with several scans a scan_id."
            )
        paths = [scan.cells[name] for name in files if scan.cells[name]]
        for path in sorted({path for path in paths if paths.count(path) > 1}):
            names = [name for name in files if scan.cells[name] == path]
            problems.append(
                f"row {scan.row}, scan '{scan_id}': {names} name the same file {path!r}; leave the "
                "missing ones empty."
            )
    for label in labels:
        for patient, other, second in _disagreeing(scans, label):
            problems.append(
                f"rows {other.row} and {second.row}: patient '{patient}' has {label} "
                f"{other.cells[label]!r} and {second.cells[label]!r}, but a label belongs to "
                "the patient; correct one, leave it empty, or set cohort.label_unit to scan."
            )
    return problems


def _disagreeing(scans: Iterable[_Scan], column: str) -> list[tuple[str, _Scan, _Scan]]:
    """List each patient with two known values of a column, and the first rows that show it."""
    firsts: dict[str, _Scan] = {}
    found: dict[str, tuple[str, _Scan, _Scan]] = {}
    for scan in scans:
        if scan.cells[column]:
            patient = scan.cells["patient_id"]
            first = firsts.setdefault(patient, scan)
            if first.cells[column] != scan.cells[column]:
                found.setdefault(patient, (patient, first, scan))
    return list(found.values())


def _raise_if_any(source: Source, problems: Sequence[str], kind: type[CohortError]) -> None:
    """Raise one error that lists the first problems of a table."""
    if len(problems) == 1:
        raise kind(f"the table {source.name}, {problems[0]}")
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:MAX_SHOWN])
        more = len(problems) - MAX_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        raise kind(f"the table {source.name} has {len(problems)} problems:{shown}{rest}")
