"""UCSF-PDGM in miniature, with its traps."""

from pathlib import Path

import pytest

from sitesynth.importers.drafts import Draft
from tests.unit.importers.archives import ucsf_pdgm
from tests.unit.importers.drafted import by_patient, imported, reasons, values


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    source, table = ucsf_pdgm(tmp_path_factory.mktemp("ucsf"))
    return imported("ucsf-pdgm", source, [table])


def test_three_digits_of_the_table_are_the_four_of_the_folders(draft: Draft) -> None:
    """Patient 004 of the table is folder 0004; 0009's files have three digits themselves."""
    assert [*by_patient(draft)] == [
        f"UCSF-PDGM-{number}" for number in ("0004", "0007", "0009", "0010", "0011", "0429")
    ]


def test_labels_are_those_of_the_diagnosis(draft: Draft) -> None:
    """IDH is free text; an IDH-wildtype astrocytoma is none of the three types of WHO 2021."""
    assert values(draft, "idh", "codeletion_1p19q", "grade", "tumour_type", "age", "sex") == {
        "UCSF-PDGM-0004": ("wildtype", "", "4", "glioblastoma", "66", "M"),
        "UCSF-PDGM-0007": ("mutant", "codeleted", "3", "oligodendroglioma", "41", "F"),
        "UCSF-PDGM-0009": ("mutant", "intact", "2", "astrocytoma", "35", "F"),
        "UCSF-PDGM-0010": ("wildtype", "intact", "3", "", "50", "M"),
        "UCSF-PDGM-0011": ("", "", "4", "", "", "M"),
        "UCSF-PDGM-0429": ("mutant", "intact", "4", "astrocytoma", "29", "F"),
    }


def test_the_uncorrected_images_and_the_tumour_mask_are_taken(draft: Draft) -> None:
    """`_bias` files, other maps and the brain mask are not; 0007 lacks its T1."""
    scans = by_patient(draft)
    assert {name: path.name for name, path in scans["UCSF-PDGM-0004"].files.items()} == {
        "t1": "UCSF-PDGM-0004_T1.nii.gz",
        "t1c": "UCSF-PDGM-0004_T1c.nii.gz",
        "t2": "UCSF-PDGM-0004_T2.nii.gz",
        "flair": "UCSF-PDGM-0004_FLAIR.nii.gz",
        "mask": "UCSF-PDGM-0004_tumor_segmentation.nii.gz",
    }
    assert "t1" not in scans["UCSF-PDGM-0007"].files


def test_everyone_else_is_left_out_with_a_reason(draft: Draft) -> None:
    assert reasons(draft) == {
        "UCSF-PDGM-0012": "not in the label table",
        "UCSF-PDGM-0013": "contradiction",
        "UCSF-PDGM-0014": "value not understood",
        "UCSF-PDGM-0429_FU003d": "follow-up",
        "UCSF-PDGM-0500": "no images",
    }
    told = {one.patient_id: one.detail for one in draft.left_out}
    assert "IDH2 p.R172K" in told["UCSF-PDGM-0013"]
    assert "pending" in told["UCSF-PDGM-0014"]


def test_the_single_scanner_is_known_without_a_column(draft: Draft) -> None:
    assert set(values(draft, "scanner", "field_strength_t").values()) == {("GE Discovery 750", "3")}


def test_any_folder_above_will_do(draft: Draft, tmp_path: Path) -> None:
    source, table = ucsf_pdgm(tmp_path)

    deeper = imported("ucsf-pdgm", source / "UCSF-PDGM-v5", [table])

    assert [*by_patient(deeper)] == [*by_patient(draft)]
