"""UPENN-GBM in miniature, with its traps."""

import pytest

from sitesynth.importers.drafts import Draft
from tests.unit.importers.archives import upenn_gbm
from tests.unit.importers.drafted import by_patient, imported, reasons, values


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    source, tables = upenn_gbm(tmp_path_factory.mktemp("upenn"))
    return imported("upenn-gbm", source, tables)


def test_a_mutant_of_grade_4_is_an_astrocytoma(draft: Draft) -> None:
    """All are of grade 4 by design, and oligodendrogliomas are not; NOS/NEC is unknown."""
    assert values(draft, "idh", "grade", "tumour_type", "age", "sex") == {
        "UPENN-GBM-00001": ("wildtype", "4", "glioblastoma", "63.5", "F"),
        "UPENN-GBM-00002": ("mutant", "4", "astrocytoma", "44", "M"),
        "UPENN-GBM-00003": ("", "4", "", "", "M"),
    }


def test_the_scanner_comes_from_the_second_table(draft: Draft) -> None:
    assert values(draft, "scanner", "field_strength_t") == {
        "UPENN-GBM-00001": ("TrioTim", "3"),
        "UPENN-GBM-00002": ("Signa", "1.5"),
        "UPENN-GBM-00003": ("", ""),
    }


def test_an_experts_mask_is_preferred(draft: Draft) -> None:
    masks = {patient: scan.files["mask"].name for patient, scan in by_patient(draft).items()}
    assert masks == {
        "UPENN-GBM-00001": "UPENN-GBM-00001_11_automated_approx_segm.nii.gz",
        "UPENN-GBM-00002": "UPENN-GBM-00002_11_segm.nii.gz",
        "UPENN-GBM-00003": "UPENN-GBM-00003_11_automated_approx_segm.nii.gz",
    }


def test_the_stripped_images_are_taken(draft: Draft) -> None:
    parents = {path.parts[-3] for scan in draft.scans for path in scan.files.values()}
    assert "images_structural_unstripped" not in parents


def test_the_second_visit_is_a_follow_up(draft: Draft) -> None:
    assert reasons(draft) == {"UPENN-GBM-00001_21": "follow-up"}


def test_without_the_second_table_the_scanner_is_unknown(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    source, tables = upenn_gbm(tmp_path_factory.mktemp("upenn"))

    found = imported("upenn-gbm", source, tables[:1])

    assert set(values(found, "scanner", "field_strength_t").values()) == {("", "")}
