"""A table of labels, one record per patient."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sitesynth.cohorts.sources import Source, read_source
from sitesynth.errors import CohortError, MissingInputError
from sitesynth.importers.drafts import LeftOut, Reason
from sitesynth.importers.trees import Identity


__all__ = ["Records", "joined", "read_records", "records_of"]


@final
@dataclass(frozen=True)
class Records:
    """What is known of patients beside their scans."""

    name: str
    """What messages call the table."""
    by_patient: Mapping[str, Mapping[str, str]]
    """By patient and field: the cell, as it was written."""
    left_out: tuple[LeftOut, ...]
    """Rows that belong to no patient, or contradict each other."""


def read_records(
    tables: Sequence[Path],
    *,
    key: Sequence[str],
    fields: Mapping[str, Sequence[str]],
    optional: Collection[str],
    identify: Callable[[str], Identity | None],
) -> Records:
    """Read one or more label tables of the same patients.

    Args:
        tables: CSV, TSV or Parquet; a field is read from the first that has it, and a patient is
            known if the first table has them.
        key: Names that the column of ids may have; the first that is there counts.
        fields: By field: names that its column may have, likewise.
        optional: Fields that no table need have; they are then unknown.
        identify: Whose an id is; None if it is no id.

    Returns:
        Records of the fields that a table has.

    Raises:
        MissingInputError: If there is no such table.
        CohortError: If it is no table, or lacks a column.
    """
    read: list[Records] = []
    open_fields = dict(fields)
    headers = []
    for table in tables:
        if not table.exists():
            raise MissingInputError(f"the label table {table} does not exist; correct --labels.")
        source = read_source(table)
        headers.append(f"{source.name} has {list(source.header)}")
        key_index = _column_of(source, key)
        if key_index is None:
            raise CohortError(
                f"the label table {source.name} has no column of ids, {_any_of(key)}. Its columns "
                f"are {list(source.header)}; name the right table, or map patient_id with --column."
            )
        here = {
            name: index
            for name, names in open_fields.items()
            if (index := _column_of(source, names)) is not None
        }
        for name in here:
            del open_fields[name]
        rows = (
            (
                row.cells[key_index],
                {name: row.cells[index] for name, index in here.items()},
                f"row {row.number}",
            )
            for row in source.rows
        )
        read.append(records_of(source.name, rows, identify))
    lacking = {name: names for name, names in open_fields.items() if name not in optional}
    if lacking:
        wanted = "; ".join(f"{name}: {_any_of(names)}" for name, names in lacking.items())
        raise CohortError(
            f"no label table has a column for {wanted}. {'; '.join(headers)}; name the right "
            "table, or rename the column."
        )
    return joined(read, [name for name in fields if name not in open_fields])


def joined(read: Sequence[Records], fields: Iterable[str]) -> Records:
    """Put the fields of several records of a patient together.

    Args:
        read: The first says which patients there are; in a field that two have, it counts.
        fields: Those that each record shall have, empty where nobody knows.
    """
    contradicted = {
        one.patient_id for r in read for one in r.left_out if one.reason is Reason.CONTRADICTION
    }
    by_patient = {}
    for patient in read[0].by_patient:
        if patient not in contradicted:
            record = dict.fromkeys(fields, "")
            for one in reversed(read):
                record |= one.by_patient.get(patient, {})
            by_patient[patient] = record
    return Records(
        " and ".join(one.name for one in read),
        by_patient,
        tuple(out for one in read for out in one.left_out),
    )


def records_of(
    name: str,
    rows: Iterable[tuple[str, Mapping[str, str], str]],
    identify: Callable[[str], Identity | None],
) -> Records:
    """Gather records from ids, fields and places.

    A patient may have several rows that say the same, as the GDC's tables do. Rows of follow-ups
    are reported, and not looked at.
    """
    records: dict[str, Mapping[str, str]] = {}
    places: dict[str, str] = {}
    left_out: list[LeftOut] = []
    contradicted: set[str] = set()
    for text, fields, place in rows:
        identity = identify(text)
        if identity is None:
            detail = f"{name}, {place}: {text!r} is no patient's id"
            left_out.append(LeftOut(text, "", Reason.UNKNOWN_VALUE, detail))
        elif identity.is_follow_up:
            detail = f"{name}, {place}"
            left_out.append(
                LeftOut(identity.patient_id, identity.scan_id, Reason.FOLLOW_UP, detail)
            )
        else:
            patient = identity.patient_id
            first = records.setdefault(patient, fields)
            places.setdefault(patient, place)
            differ = [key for key in fields if fields[key] != first[key]]
            if differ and patient not in contradicted:
                contradicted.add(patient)
                key = differ[0]
                detail = (
                    f"{name}, {places[patient]} and {place}: {key} {first[key]!r} and "
                    f"{fields[key]!r}"
                )
                left_out.append(LeftOut(patient, "", Reason.CONTRADICTION, detail))
    kept = {patient: records[patient] for patient in records if patient not in contradicted}
    return Records(name, kept, tuple(left_out))


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _column_of(source: Source, names: Sequence[str]) -> int | None:
    """Return the first column that bears one of the names; case does not matter."""
    header = [name.lower() for name in source.header]
    return next((header.index(name.lower()) for name in names if name.lower() in header), None)
