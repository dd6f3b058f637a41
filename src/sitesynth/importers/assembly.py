"""Scans and records, brought together: who goes in, and who is left out and why."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sitesynth.errors import CohortError, VolumeError
from sitesynth.importers.codes import CodeError, ContradictionError
from sitesynth.importers.drafts import Draft, LeftOut, Reason, Scan
from sitesynth.importers.records import Records
from sitesynth.importers.trees import FoundScan
from sitesynth.tracking import Progress
from sitesynth.volumes import read_header


__all__ = ["assemble"]

MASK = "mask"


def assemble(
    layout: str,
    source: Path,
    found: Sequence[FoundScan],
    records: Records | None,
    *,
    translate: Callable[[Mapping[str, str]], Mapping[str, str]],
    sequences: tuple[str, ...],
    labels: Mapping[str, tuple[str, ...]],
    covariates: tuple[str, ...],
    site: str,
    progress: Progress,
) -> Draft:
    """Decide for each scan whether it goes in.

    Only headers are read: whether the voxels are sound is the check stage's question.

    Args:
        layout: Name of the importer.
        source: The folder that the files' paths are relative to.
        found: Scans, in order; of a patient's several, the first that is no follow-up goes in.
        records: What is known of the patients; None if there is no table.
        translate: A record in our words; raises `CodeError` for what it does not understand.
        sequences: Our sequences, in channel order.
        labels: Our labels and their classes.
        covariates: Our covariates.
        site: Where the patients are, unless the path or the record says.
        progress: Shows how far the headers are.

    Raises:
        CohortError: If no scan is left; says what the reasons were.
    """
    scans: list[Scan] = []
    left_out = [] if records is None else list(records.left_out)
    taken: dict[str, str] = {}
    contradicted = {one.patient_id for one in left_out if one.reason is Reason.CONTRADICTION}
    with progress(len(found), "read headers") as on_step:
        for number, one in enumerate(found, start=1):
            who = one.identity
            if who.patient_id in contradicted:
                continue  # reported with its rows
            verdict = _judge(one, source, records, taken, sequences)
            if isinstance(verdict, LeftOut):
                left_out.append(verdict)
            else:
                try:
                    values = translate(verdict)
                except CodeError as error:
                    is_contradiction = isinstance(error, ContradictionError)
                    reason = Reason.CONTRADICTION if is_contradiction else Reason.UNKNOWN_VALUE
                    left_out.append(LeftOut(who.patient_id, who.scan_id, reason, str(error)))
                else:
                    home = who.site or values.get("site", "") or site
                    scans.append(_scan_of(one, home, source, values))
                    taken[who.patient_id] = who.scan_id
            on_step(number, {})
    imaged = {one.identity.patient_id for one in found}
    if records is not None:
        left_out += [
            LeftOut(patient, "", Reason.NO_IMAGES, f"in {records.name}, but not in {source}")
            for patient in records.by_patient
            if patient not in imaged
        ]
    unique = {(one.patient_id, one.scan_id, one.reason): one for one in reversed(left_out)}
    ordered = sorted(unique.values(), key=lambda one: (one.patient_id, one.scan_id, one.reason))
    if not scans:
        shown = "".join(f"\n  {one.patient_id}: {one.reason} ({one.detail})" for one in ordered[:5])
        raise CohortError(
            f"{source} has no scan that can go in; {len(ordered)} are left out:{shown}\nName the "
            "folder that holds the patients' folders, and the table that belongs to it."
        )
    return Draft(layout, sequences, labels, covariates, tuple(scans), tuple(ordered))


def _judge(
    one: FoundScan,
    source: Path,
    records: Records | None,
    taken: Mapping[str, str],
    sequences: Sequence[str],
) -> LeftOut | Mapping[str, str]:
    """Return a scan's record, or why it is left out."""
    who = one.identity
    several = {column: paths for column, paths in one.files.items() if len(paths) > 1}
    record = {} if records is None else records.by_patient.get(who.patient_id)
    if who.is_follow_up:
        reason, detail = Reason.FOLLOW_UP, ", ".join(one.files[column][0] for column in one.files)
    elif who.patient_id in taken:
        reason, detail = Reason.SECOND_SCAN, f"{taken[who.patient_id]} goes in"
    elif several:
        column, paths = next(iter(several.items()))
        reason, detail = Reason.AMBIGUOUS, f"{column}: {' and '.join(paths)}"
    elif not set(sequences) & set(one.files):
        reason, detail = Reason.NO_IMAGES, f"none of {', '.join(sequences)}"
    elif record is None:
        assert records is not None  # noqa: S101
        reason, detail = Reason.NO_RECORD, records.name
    else:
        fault = _fault_of_headers(one, source)
        if fault is None:
            return record
        reason, detail = fault
    return LeftOut(who.patient_id, who.scan_id, reason, detail)


def _fault_of_headers(one: FoundScan, source: Path) -> tuple[Reason, str] | None:
    """Look for headers that cannot be read, and for files of one scan that are not of one shape."""
    shapes: dict[tuple[int, ...], str] = {}
    for column in one.files:
        path = one.files[column][0]
        try:
            shapes.setdefault(read_header(source / path).shape, path)
        except VolumeError as error:
            return Reason.UNREADABLE, str(error)
    if len(shapes) > 1:
        each = " and ".join(f"{path} {list(shape)}" for shape, path in shapes.items())
        return Reason.GRIDS_DIFFER, each
    return None


def _scan_of(one: FoundScan, site: str, source: Path, values: Mapping[str, str]) -> Scan:
    who = one.identity
    paths = {column: paths[0] for column, paths in one.files.items()}
    return Scan(
        who.patient_id,
        who.scan_id,
        site,
        {name: value for name, value in values.items() if name != "site"},
        {column: (source / path).resolve() for column, path in paths.items()},
        {column: f"{site}/{path}" for column, path in paths.items()},
    )
