r"""UCSF-PDGM (TCIA): one 3 T scanner, 495 patients, six follow-ups.

    UCSF-PDGM-v5/UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{T1,T1c,T2,FLAIR}.nii.gz
                                      UCSF-PDGM-0004_tumor_segmentation.nii.gz
    UCSF-PDGM-v5/UCSF-PDGM-0429_FU003d_nifti/...              a follow-up
    UCSF-PDGM-metadata_v5.csv

Traps: the table writes three digits (UCSF-PDGM-004) where folders have four; in some releases a
folder and its files differ in digits, so the folder's id counts; `_bias` files are the same images
before another correction; IDH is free text; the table's diagnosis is WHO 2021 and decides the type.
"""

import re
from collections.abc import Mapping

from sitesynth.importers import codes
from sitesynth.importers.codes import CodeError, ContradictionError
from sitesynth.importers.layouts import Layout, rules_of
from sitesynth.importers.trees import Identity


__all__ = ["LAYOUT"]

_ID = re.compile(r"UCSF-PDGM-(\d{3,4})(?:_(FU\w+?))?(?:_nifti)?", re.IGNORECASE)

_MUTATION = re.compile(r"mutated\b.*|idh[12]\b.*", re.IGNORECASE)

DIAGNOSES = {
    "glioblastoma, idh-wildtype": ("glioblastoma", "wildtype"),
    "astrocytoma, idh-mutant": ("astrocytoma", "mutant"),
    # No type of WHO 2021 among ours: it lacks what makes a wild type a glioblastoma.
    "astrocytoma, idh-wildtype": ("", "wildtype"),
    "oligodendroglioma, idh-mutant, 1p/19q-codeleted": ("oligodendroglioma", "mutant"),
}
"""By the table's diagnosis: our tumour type, and the IDH status that it implies."""


def _identify(text: str) -> Identity | None:
    match = _ID.fullmatch(text)
    if match is None:
        return None
    patient = f"UCSF-PDGM-{int(match[1]):04d}"
    visit = match[2]
    scan = f"{patient}_{visit}" if visit else patient
    return Identity(patient, scan, is_follow_up=visit is not None)


def _idh_of(text: str) -> str:
    """Return IDH from free text: every mutation that the table names begins with its gene."""
    known = codes.without_unknown(text)
    if _MUTATION.fullmatch(known):
        return "mutant"
    return codes.code_of("idh", known, codes.IDH)


def _translate(record: Mapping[str, str]) -> dict[str, str]:
    idh = _idh_of(record["idh"])
    tumour_type = ""
    diagnosis = codes.without_unknown(record["diagnosis"])
    if diagnosis:
        if diagnosis.lower() not in DIAGNOSES:
            raise CodeError(f"diagnosis {diagnosis!r} is none of {sorted(DIAGNOSES)}")
        tumour_type, implied = DIAGNOSES[diagnosis.lower()]
        if idh and idh != implied:
            raise ContradictionError(f"idh {record['idh']!r}, but the diagnosis {diagnosis!r}")
    return {
        "idh": idh,
        "codeletion_1p19q": codes.code_of(
            "codeletion_1p19q", record["codeletion"], codes.CODELETION
        ),
        "grade": codes.grade_of(record["grade"]),
        "tumour_type": tumour_type,
        "age": codes.number_of("age", record["age"]),
        "sex": codes.code_of("sex", record["sex"], codes.SEX),
        "scanner": "GE Discovery 750",
        "field_strength_t": "3",
    }


LAYOUT = Layout(
    name="ucsf-pdgm",
    site="UCSF",
    looks_like="UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1.nii.gz",
    rules=rules_of(
        r"(?P<id>UCSF-PDGM-\d+(?:_FU\w+?)?_nifti)/[^/]*",
        {
            "t1": [r"_T1\.nii\.gz"],
            "t1c": [r"_T1c\.nii\.gz"],
            "t2": [r"_T2\.nii\.gz"],
            "flair": [r"_FLAIR\.nii\.gz"],
            "mask": [r"_tumor_segmentation\.nii\.gz"],
        },
    ),
    identify=_identify,
    key=("ID",),
    fields={
        "idh": ("IDH",),
        "codeletion": ("1p/19q",),
        "grade": ("WHO CNS Grade",),
        "diagnosis": ("Final pathologic diagnosis (WHO 2021)",),
        "age": ("Age at MRI",),
        "sex": ("Sex",),
    },
    optional=frozenset(),
    translate=_translate,
)
