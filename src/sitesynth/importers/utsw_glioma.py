"""UTSW-Glioma (TCIA, 2026): 625 patients.

    UTSW-Glioma/BT0001/brain_{t1,t1ce,t2,flair}.nii.gz
    UTSW-Glioma/BT0001/rtumorseg_manual_correction.nii.gz   preferred, 362
    UTSW-Glioma/BT0001/tumorseg_FeTS.nii.gz                 the others
    UTSW_Glioma_Metadata-2-1.tsv                            tabs, CRLF

Traps: `brain_*_ants` are the same images in another space; tumorseg_manual_correction lies on a
cropped grid and is never taken; corrected masks hold undocumented labels 3 and 5, which count as
tumour like every label; IDH is `NA` and the field strength `Not Reported` where unknown.
"""

import re
from collections.abc import Mapping

from sitesynth.importers import codes
from sitesynth.importers.layouts import Layout, rules_of
from sitesynth.importers.trees import Identity


__all__ = ["LAYOUT"]

_ID = re.compile(r"BT(\d{1,4})")


def _identify(text: str) -> Identity | None:
    match = _ID.fullmatch(text)
    if match is None:
        return None
    patient = f"BT{int(match[1]):04d}"
    return Identity(patient, patient)


def _translate(record: Mapping[str, str]) -> dict[str, str]:
    idh = codes.code_of("idh", record["idh"], codes.IDH)
    codeletion = codes.code_of("codeletion_1p19q", record["codeletion"], codes.CODELETION)
    grade = codes.grade_of(record["grade"])
    names = (codes.without_unknown(record[name]) for name in ("manufacturer", "model"))
    return {
        "idh": idh,
        "codeletion_1p19q": codeletion,
        "grade": grade,
        "tumour_type": codes.tumour_type_of(idh, codeletion, grade),
        "age": codes.number_of("age", record["age"]),
        "sex": codes.code_of("sex", record["sex"], codes.SEX),
        "scanner": " ".join(name for name in names if name),
        "field_strength_t": codes.field_strength_of(record["field_strength"]),
    }


LAYOUT = Layout(
    name="utsw-glioma",
    site="UTSW",
    looks_like="BT0001/brain_t1.nii.gz",
    rules=rules_of(
        r"(?P<id>BT\d+)/",
        {
            "t1": [r"brain_t1\.nii\.gz"],
            "t1c": [r"brain_t1ce\.nii\.gz"],
            "t2": [r"brain_t2\.nii\.gz"],
            "flair": [r"brain_flair\.nii\.gz"],
            "mask": [r"rtumorseg_manual_correction\.nii\.gz", r"tumorseg_FeTS\.nii\.gz"],
        },
    ),
    identify=_identify,
    key=("Subject ID",),
    fields={
        "idh": ("IDH",),
        "codeletion": ("1p19Q CODEL",),
        "grade": ("Tumor Grade",),
        "age": ("Age at Imaging",),
        "sex": ("Sex at birth",),
        "manufacturer": ("Scanner Make",),
        "model": ("Scanner Model",),
        "field_strength": ("Scanner Strength",),
    },
    optional=frozenset(),
    translate=_translate,
)
