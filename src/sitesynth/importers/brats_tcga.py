"""BraTS-TCGA-GBM and BraTS-TCGA-LGG (TCIA): 167 public patients of many hospitals.

    Pre-operative_TCGA_GBM_NIfTI_and_Segmentations/TCGA-02-0006/
        TCGA-02-0006_1996.08.23_{flair,t1,t1Gd,t2}.nii.gz
        TCGA-02-0006_1996.08.23_GlistrBoost_ManuallyCorrected.nii.gz   preferred, may be missing
        TCGA-02-0006_1996.08.23_GlistrBoost.nii.gz

No molecular label comes with the images. They are in the table of Ceccarelli et al. (2016), joined
by the first twelve characters of the barcode; a GDC table has several rows per case.
"""

import re
from collections.abc import Mapping

from sitesynth.importers import codes
from sitesynth.importers.layouts import Layout, rules_of
from sitesynth.importers.trees import Identity


__all__ = ["LAYOUT"]

_ID = re.compile(r"(TCGA-[0-9A-Z]{2}-[0-9A-Z]{4})(?:-.*)?")


def _identify(text: str) -> Identity | None:
    match = _ID.fullmatch(text)
    return None if match is None else Identity(match[1], match[1])


def _translate(record: Mapping[str, str]) -> dict[str, str]:
    idh = codes.code_of("idh", record["idh"], codes.IDH)
    codeletion = codes.code_of("codeletion_1p19q", record["codeletion"], codes.CODELETION)
    grade = codes.grade_of(record["grade"])
    return {
        "idh": idh,
        "codeletion_1p19q": codeletion,
        "grade": grade,
        "tumour_type": codes.tumour_type_of(idh, codeletion, grade),
        "age": codes.number_of("age", record["age"]),
        "sex": codes.code_of("sex", record["sex"], codes.SEX),
    }


LAYOUT = Layout(
    name="brats-tcga",
    site="TCGA",
    looks_like="TCGA-02-0006/TCGA-02-0006_1996.08.23_t1.nii.gz",
    rules=rules_of(
        r"(?P<id>TCGA-\w\w-\w{4})/TCGA-\w\w-\w{4}_[\d.]+",
        {
            "t1": [r"_t1\.nii\.gz"],
            "t1c": [r"_t1Gd\.nii\.gz"],
            "t2": [r"_t2\.nii\.gz"],
            "flair": [r"_flair\.nii\.gz"],
            "mask": [
                r"_GlistrBoost_ManuallyCorrected\.nii\.gz",
                r"_GlistrBoost\.nii\.gz",
            ],
        },
    ),
    identify=_identify,
    key=("Case", "patient", "case_submitter_id", "Patient ID", "bcr_patient_barcode"),
    fields={
        "idh": ("IDH status", "paper_IDH.status", "IDH.status", "idh_status"),
        "codeletion": (
            "1p/19q codeletion",
            "paper_X1p.19q.codeletion",
            "X1p.19q.codeletion",
            "1p_19q_codeletion",
        ),
        "grade": ("Grade", "paper_Grade"),
        "age": ("Age (years at diagnosis)", "paper_Age..years.at.diagnosis.", "Age"),
        "sex": ("Gender", "paper_Gender", "Sex"),
    },
    optional=frozenset({"grade", "age", "sex"}),
    translate=_translate,
)
