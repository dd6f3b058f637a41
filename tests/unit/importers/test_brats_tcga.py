"""BraTS-TCGA in miniature, with its traps."""

import pytest

from sitesynth.importers.drafts import Draft
from tests.unit.importers.archives import brats_tcga
from tests.unit.importers.drafted import by_patient, imported, reasons, values


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    source, table = brats_tcga(tmp_path_factory.mktemp("tcga"))
    return imported("brats-tcga", source, [table])


def test_both_packages_are_joined_with_the_table_by_case(draft: Draft) -> None:
    """4941 has two rows that agree, as in the GDC's tables."""
    assert values(draft, "idh", "codeletion_1p19q", "grade", "tumour_type") == {
        "TCGA-02-0006": ("wildtype", "intact", "4", "glioblastoma"),
        "TCGA-02-0009": ("wildtype", "", "4", "glioblastoma"),
        "TCGA-CS-4941": ("mutant", "codeleted", "2", "oligodendroglioma"),
    }


def test_a_corrected_mask_is_preferred_where_there_is_one(draft: Draft) -> None:
    masks = {patient: scan.files["mask"].name for patient, scan in by_patient(draft).items()}
    assert masks["TCGA-02-0006"].endswith("_GlistrBoost_ManuallyCorrected.nii.gz")
    assert masks["TCGA-02-0009"].endswith("_GlistrBoost.nii.gz")


def test_rows_that_disagree_and_two_dates_leave_a_patient_out(draft: Draft) -> None:
    """4942 is of grade 2 and 3; 4943 has a T2 of each of two days."""
    assert reasons(draft) == {
        "TCGA-CS-4942": "contradiction",
        "TCGA-CS-4943": "several files for one sequence",
        "TCGA-FG-0001": "no images",
    }
    told = {one.patient_id: one.detail for one in draft.left_out}
    assert "row 6 and row 7: grade" in told["TCGA-CS-4942"]
    assert "2000.09.02" in told["TCGA-CS-4943"]
    assert "2001.01.01" in told["TCGA-CS-4943"]
