"""UTSW-Glioma in miniature, with its traps."""

import pytest

from sitesynth.importers.drafts import Draft
from tests.unit.importers.archives import utsw_glioma
from tests.unit.importers.drafted import by_patient, imported, reasons, values


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    source, table = utsw_glioma(tmp_path_factory.mktemp("utsw"))
    return imported("utsw-glioma", source, [table])


def test_labels_and_scanners_are_in_our_words(draft: Draft) -> None:
    """The table has tabs, CRLF, Roman grades, and `NA` or `Not Reported` for unknown."""
    wanted = ("idh", "codeletion_1p19q", "grade", "tumour_type", "sex")
    assert values(draft, *wanted, "scanner", "field_strength_t") == {
        "BT0001": ("wildtype", "", "4", "glioblastoma", "M", "Philips Ingenia", "3"),
        "BT0002": ("mutant", "intact", "2", "astrocytoma", "F", "GE Signa", "1.5"),
        "BT0003": ("mutant", "codeleted", "3", "oligodendroglioma", "F", "", ""),
    }


def test_the_mask_on_the_cropped_grid_is_never_taken(draft: Draft) -> None:
    masks = {patient: scan.files["mask"].name for patient, scan in by_patient(draft).items()}
    assert masks == {
        "BT0001": "rtumorseg_manual_correction.nii.gz",
        "BT0002": "tumorseg_FeTS.nii.gz",
        "BT0003": "tumorseg_FeTS.nii.gz",
    }


def test_images_of_another_space_are_not_taken(draft: Draft) -> None:
    names = {path.name for scan in draft.scans for path in scan.files.values()}
    assert not any(name.endswith("_ants.nii.gz") for name in names)


def test_an_impossible_age_and_a_stray_grid_leave_a_patient_out(draft: Draft) -> None:
    assert reasons(draft) == {"BT0004": "value not understood", "BT0005": "grids differ"}
    told = {one.patient_id: one.detail for one in draft.left_out}
    assert "age '200'" in told["BT0004"]
    assert "brain_t2.nii.gz [6, 6, 5]" in told["BT0005"]
