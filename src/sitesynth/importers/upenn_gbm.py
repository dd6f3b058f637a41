"""UPENN-GBM (TCIA): glioblastomas by design, 611 patients, 60 of them with a follow-up.

    NIfTI-files/images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_{T1,T1GD,T2,FLAIR}.nii.gz
    NIfTI-files/images_segm/UPENN-GBM-00001_11_segm.nii.gz                      by experts, 147
    NIfTI-files/automated_segm/UPENN-GBM-00001_11_automated_approx_segm.nii.gz  the others
    UPENN-GBM_clinical_info_v2.1.csv

Traps: `_21` is a follow-up; the unstripped images lie beside the stripped ones; IDH1 is `NOS/NEC`
where it was not tested; the scanner is in UPENN-GBM_acquisition.csv, a second table. All are of
grade 4, so a mutant is an astrocytoma of grade 4 by WHO 2021.
"""

import re
from collections.abc import Mapping

from sitesynth.importers import codes
from sitesynth.importers.layouts import Layout, rules_of
from sitesynth.importers.trees import Identity


__all__ = ["LAYOUT"]

_ID = re.compile(r"(UPENN-GBM-\d{5})_(\d\d)")
BASELINE = "11"


def _identify(text: str) -> Identity | None:
    match = _ID.fullmatch(text)
    if match is None:
        return None
    return Identity(match[1], text, is_follow_up=match[2] != BASELINE)


def _translate(record: Mapping[str, str]) -> dict[str, str]:
    idh = codes.code_of("idh", record["idh"], codes.IDH)
    return {
        "idh": idh,
        "grade": "4",
        "tumour_type": codes.tumour_type_of(idh, "", "4"),
        "age": codes.number_of("age", record["age"]),
        "sex": codes.code_of("sex", record["sex"], codes.SEX),
        "scanner": codes.without_unknown(record["scanner"]),
        "field_strength_t": codes.field_strength_of(record["field_strength"]),
    }


_IMAGES = r"images_structural/(?P<id>UPENN-GBM-\d+_\d+)/[^/]*"
_MASK = r"(?P<id>UPENN-GBM-\d+_\d+)"

LAYOUT = Layout(
    name="upenn-gbm",
    site="UPenn",
    looks_like="images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1.nii.gz",
    rules=(
        *rules_of(
            _IMAGES,
            {
                "t1": [r"_T1\.nii\.gz"],
                "t1c": [r"_T1GD\.nii\.gz"],
                "t2": [r"_T2\.nii\.gz"],
                "flair": [r"_FLAIR\.nii\.gz"],
            },
        ),
        *rules_of(
            f"(?:images_segm|automated_segm)/(?:[^/]*/)?{_MASK}",
            {"mask": [r"_segm\.nii\.gz", r"_automated_approx_segm\.nii\.gz"]},
        ),
    ),
    identify=_identify,
    key=("ID",),
    fields={
        "idh": ("IDH1",),
        "age": ("Age_at_scan_years",),
        "sex": ("Gender", "Sex"),
        "scanner": ("Model", "Manufacturer's Model Name"),
        "field_strength": ("Magnetic Field Strength",),
    },
    # They are in UPENN-GBM_acquisition.csv, a second --labels.
    optional=frozenset({"scanner", "field_strength"}),
    translate=_translate,
)
