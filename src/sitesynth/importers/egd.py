"""The Erasmus Glioma Database (Health-RI XNAT): 774 patients, on a grid of its own.

    SUBJECTS/EGD-0001/{T1,T1GD,T2,FLAIR,MASK}.nii.gz, metadata.json                   downloader
    MR_EGD-0001/{1_T1,2_T1GD,3_T2,4_FLAIR,5_MASK}/NIFTI/<name>.nii.gz, metadata.json  XNAT archive
    Genetic_and_Histological_labels.csv     Subject, IDH, 1p19q, Grade

Traps: codes are 1 (mutated, codeleted), 0 (not) and -1 (unknown); a field strength of 0 or below is
unknown; METADATA/ holds atlas masks, which are nobody's; images are defaced, of 197 x 233 x 189
voxels. What no table says is taken from each patient's metadata.json.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sitesynth.errors import CohortError
from sitesynth.importers import codes
from sitesynth.importers.layouts import Layout, rules_of
from sitesynth.importers.records import Records, records_of
from sitesynth.importers.trees import FoundScan, Identity


__all__ = ["LAYOUT"]

_ID = re.compile(r"(?:MR_)?EGD-(\d{1,4})")

YES, NO = ("1", "1.0"), ("0", "0.0")
UNKNOWN = {"-1": "", "-1.0": ""}
IDH = {**UNKNOWN, **dict.fromkeys(YES, "mutant"), **dict.fromkeys(NO, "wildtype")}
CODELETION = {**UNKNOWN, **dict.fromkeys(YES, "codeleted"), **dict.fromkeys(NO, "intact")}

WHERE = {
    "idh": ("Genetic_and_Histological_labels", "IDH"),
    "codeletion": ("Genetic_and_Histological_labels", "1p19q"),
    "grade": ("Genetic_and_Histological_labels", "Grade"),
    "age": ("Clinical_data", "Age"),
    "sex": ("Clinical_data", "Sex"),
    "manufacturer": ("Scan_characteristics", "Manufacturer"),
    "system": ("Scan_characteristics", "System"),
    "field": ("Scan_characteristics", "Field"),
}
"""By field: its place in metadata.json."""


def _identify(text: str) -> Identity | None:
    match = _ID.fullmatch(text)
    if match is None:
        return None
    patient = f"EGD-{int(match[1]):04d}"
    return Identity(patient, patient)


def _read_metadata(source: Path, found: Sequence[FoundScan]) -> Records:
    """Read metadata.json of every patient."""
    return records_of(f"metadata.json of {source}", _metadata_rows(source, found), _identify)


def _metadata_rows(
    source: Path, found: Sequence[FoundScan]
) -> Iterator[tuple[str, Mapping[str, str], str]]:
    for one in found:
        first = next(iter(one.files.values()))[0]
        folder = next(parent for parent in (source / first).parents if _ID.fullmatch(parent.name))
        path = folder / "metadata.json"
        if path.is_file():
            yield one.identity.patient_id, _fields_of(path), str(path)


def _fields_of(path: Path) -> dict[str, str]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        cells = {name: content[section].get(key, "") for name, (section, key) in WHERE.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CohortError(
            f"{path} is no metadata.json of EGD ({error!r:.80}); download it again or remove it."
        ) from error
    return {name: "" if cell is None else str(cell) for name, cell in cells.items()}


def _number(text: str) -> str:
    """Return a number's text, or "" for -1, which stands for unknown."""
    return "" if text in UNKNOWN else text


def _translate(record: Mapping[str, str]) -> dict[str, str]:
    idh = codes.code_of("idh", record["idh"], IDH)
    codeletion = codes.code_of("codeletion_1p19q", record["codeletion"], CODELETION)
    grade = codes.grade_of(_number(record["grade"]))
    names = (codes.without_unknown(record[name]) for name in ("manufacturer", "system"))
    return {
        "idh": idh,
        "codeletion_1p19q": codeletion,
        "grade": grade,
        "tumour_type": codes.tumour_type_of(idh, codeletion, grade),
        "age": codes.number_of("age", _number(record["age"])),
        "sex": codes.code_of("sex", record["sex"], codes.SEX),
        "scanner": " ".join(name for name in names if name),
        "field_strength_t": codes.field_strength_of(record["field"]),
    }


_FOLDER = r"(?P<id>(?:MR_)?EGD-\d+)/(?:\d_[A-Z0-9]+/NIFTI/)?"

LAYOUT = Layout(
    name="egd",
    site="EGD",
    looks_like="SUBJECTS/EGD-0001/T1.nii.gz",
    rules=rules_of(
        _FOLDER,
        {
            "t1": [r"T1\.nii\.gz"],
            "t1c": [r"T1GD\.nii\.gz"],
            "t2": [r"T2\.nii\.gz"],
            "flair": [r"FLAIR\.nii\.gz"],
            "mask": [r"MASK\.nii\.gz"],
        },
    ),
    identify=_identify,
    key=("Subject",),
    fields={
        "idh": ("IDH",),
        "codeletion": ("1p19q", "1p/19q"),
        "grade": ("Grade",),
        "age": ("Age",),
        "sex": ("Sex",),
        "manufacturer": ("Manufacturer",),
        "system": ("System",),
        "field": ("Field",),
    },
    optional=frozenset({"age", "sex", "manufacturer", "system", "field"}),
    translate=_translate,
    read_own=_read_metadata,
)
