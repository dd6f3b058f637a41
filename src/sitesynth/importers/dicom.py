"""DICOM series, converted to volumes, and segmentations, to masks.

What is kept of the tags is PatientID, and the affine: no name, date or description reaches a file.
"""

import fnmatch
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sitesynth.cohorts import cells
from sitesynth.cohorts.tables import MASK
from sitesynth.errors import CohortError, SitesynthError, VolumeError
from sitesynth.importers.dicom_masks import read_mask
from sitesynth.importers.dicom_slices import Slice, read_slice, stack_slices
from sitesynth.importers.drafts import Draft, LeftOut, Reason
from sitesynth.importers.general import Meaning, import_found
from sitesynth.importers.outputs import check_is_free, new_folder
from sitesynth.importers.trees import FoundScan, Identity, list_files
from sitesynth.tracking import Progress
from sitesynth.volumes import Volume, write_nifti


__all__ = ["import_dicom"]


def import_dicom(
    source: Path,
    tables: Sequence[Path],
    meaning: Meaning,
    *,
    sequences: Mapping[str, str],
    mask: str | None,
    volumes: Path,
    progress: Progress,
) -> Draft:
    """Convert the series that are asked for, and join them with their labels.

    Of a patient's several studies, the first by date goes in. A series that is no volume is left
    out with its reason, and its sequence is missing.

    Args:
        source: A folder of DICOM files, in any order; other files are passed over.
        tables: Label tables, by PatientID.
        meaning: What they mean.
        sequences: Our name of each sequence to its SeriesDescription, in channel order; case does
            not matter, and * stands for anything.
        mask: SeriesDescription of the segmentations, by the same rules; None takes none.
        volumes: A new or empty folder for the converted volumes; left as it was on failure.
        progress: Shows how far it is.

    Raises:
        CohortError: If no series fits, or as for `import_found`.
    """
    check_is_free(volumes)
    series, left_out = _find_series(source, progress)
    wanted, passed_over = _choose(series, sequences, mask)
    if not any(name in sequences for _, name in wanted):
        known = sorted({slices[0].description for slices in series.values()})
        raise CohortError(
            f"{source} has no series called {' or '.join(sequences.values())}, but "
            f"{known[:8]}; correct --sequence, where * stands for anything."
        )
    left_out += passed_over
    files: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    done = 0
    with new_folder(volumes) as folder, progress(len(wanted), "convert series") as on_step:
        for patient in sorted({patient for patient, _ in wanted}):
            stacked: list[Volume] = []
            # The mask comes last, when there is something that it may lie on.
            for name in (*sequences, MASK):
                if (patient, name) not in wanted:
                    continue
                path = f"{patient}/{name}.nii.gz"
                try:
                    if name == MASK:
                        drawn = read_mask(wanted[patient, name][0].path, stacked)
                        write_nifti(folder / path, drawn, dtype=np.uint8)
                    else:
                        stacked.append(stack_slices(wanted[patient, name]))
                        write_nifti(folder / path, stacked[-1], dtype=np.float32)
                except VolumeError as error:
                    left_out.append(LeftOut(patient, name, Reason.NO_VOLUME, str(error)))
                else:
                    files[patient][name] = (path,)
                done += 1
                on_step(done, {})
    scans = [FoundScan(Identity(patient, patient), one) for patient, one in files.items()]
    try:
        draft = import_found(
            "dicom",
            volumes,
            scans,
            tables,
            meaning,
            sequences=tuple(sequences),
            identify_key="",
            progress=progress,
        )
    except SitesynthError:
        shutil.rmtree(volumes)
        raise
    merged = sorted(
        {*left_out, *draft.left_out}, key=lambda one: (one.patient_id, one.scan_id, one.reason)
    )
    return replace(draft, left_out=tuple(merged))


def _find_series(
    source: Path, progress: Progress
) -> tuple[dict[tuple[str, str], list[Slice]], list[LeftOut]]:
    """Read all tags; return slices by patient and series, and who cannot be known."""
    files = list_files(source)
    series: dict[tuple[str, str], list[Slice]] = defaultdict(list)
    left_out: dict[tuple[str, Reason], LeftOut] = {}
    with progress(len(files), "read tags") as on_step:
        for number, file in enumerate(files, start=1):
            try:
                one = read_slice(source / file)
            except VolumeError as error:
                left_out[file, Reason.UNREADABLE] = LeftOut("", file, Reason.UNREADABLE, str(error))
            else:
                if one is not None and (fault := _fault_of_patient(one)):
                    # The id is not repeated: it may be what must not be told.
                    left_out[one.series, Reason.UNKNOWN_VALUE] = LeftOut(
                        "", one.series, Reason.UNKNOWN_VALUE, fault
                    )
                elif one is not None:
                    series[one.patient_id, one.series].append(one)
            on_step(number, {})
    if not series and not left_out:
        raise CohortError(
            f"none of the {len(files)} files in {source} is a DICOM image; name the folder of the "
            "export, or use `sitesynth import folder` for NIfTI."
        )
    return series, list(left_out.values())


def _fault_of_patient(one: Slice) -> str:
    if one.names_patient:
        return "PatientID holds a part of PatientName; replace it by a pseudonym"
    if cells.fault_of_scan_id(one.patient_id):
        return "PatientID must be letters, digits, '.', '_' or '-'; replace it by a pseudonym"
    return ""


def _choose(
    series: Mapping[tuple[str, str], list[Slice]], sequences: Mapping[str, str], mask: str | None
) -> tuple[dict[tuple[str, str], list[Slice]], list[LeftOut]]:
    """Return the slices by patient and sequence or mask, of each patient's first study."""
    names = {**sequences, **({} if mask is None else {MASK: mask})}
    left_out = []
    wanted: dict[tuple[str, str], list[Slice]] = {}
    by_patient: dict[str, list[list[Slice]]] = defaultdict(list)
    for (patient, _), slices in series.items():
        by_patient[patient].append(slices)
    for patient, several in by_patient.items():
        first = min((slices[0].date, slices[0].study) for slices in several)
        for slices in several:
            if (slices[0].date, slices[0].study) != first:
                detail = f"{slices[0].description}, a later study"
                left_out.append(LeftOut(patient, slices[0].series, Reason.FOLLOW_UP, detail))
        here = [slices for slices in several if (slices[0].date, slices[0].study) == first]
        for name, pattern in names.items():
            fitting = [
                slices
                for slices in here
                if slices[0].is_mask == (name == MASK) and _fits(slices[0].description, pattern)
            ]
            several_masks = name == MASK and sum(map(len, fitting)) > 1
            if len(fitting) > 1 or several_masks:
                detail = " and ".join(sorted({slices[0].description for slices in fitting}))
                left_out.append(LeftOut(patient, name, Reason.AMBIGUOUS, detail))
            elif fitting:
                wanted[patient, name] = fitting[0]
    return wanted, left_out


def _fits(description: str, pattern: str) -> bool:
    # Brackets and question marks are in real descriptions: only * is special.
    escaped = pattern.lower().replace("[", "[[]").replace("?", "[?]")
    return fnmatch.fnmatchcase(description.lower(), escaped)
