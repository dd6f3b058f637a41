"""The Erasmus Glioma Database in miniature, with its traps."""

from pathlib import Path

import pytest

from sitesynth.errors import CohortError
from sitesynth.importers.drafts import Draft
from sitesynth.volumes import read_header
from tests.unit.importers.archives import EGD_SHAPE, egd
from tests.unit.importers.drafted import by_patient, imported, reasons, values


@pytest.fixture(scope="module", params=["downloader", "xnat"])
def archive(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    return egd(tmp_path_factory.mktemp("egd"), is_xnat=request.param == "xnat")


@pytest.fixture(scope="module")
def draft(archive: tuple[Path, Path]) -> Draft:
    source, table = archive
    return imported("egd", source, [table])


def test_codes_1_0_and_minus_1_become_types(draft: Draft) -> None:
    """A mutant of grade 4 is an astrocytoma although its 1p/19q is unknown."""
    assert values(draft, "idh", "codeletion_1p19q", "grade", "tumour_type") == {
        "EGD-0001": ("wildtype", "intact", "4", "glioblastoma"),
        "EGD-0002": ("mutant", "intact", "3", "astrocytoma"),
        "EGD-0003": ("mutant", "codeleted", "2", "oligodendroglioma"),
        "EGD-0004": ("mutant", "", "4", "astrocytoma"),
    }


def test_a_code_of_no_meaning_leaves_the_patient_out(draft: Draft) -> None:
    assert reasons(draft) == {"EGD-0005": "value not understood"}


def test_what_the_table_does_not_say_is_in_metadata_json(draft: Draft) -> None:
    """A field strength of -1 is unknown."""
    assert values(draft, "age", "sex", "scanner", "field_strength_t") == {
        "EGD-0001": ("51", "F", "GE Signa", "3"),
        "EGD-0002": ("51", "F", "GE Signa", "1.5"),
        "EGD-0003": ("51", "F", "GE Signa", ""),
        "EGD-0004": ("51", "F", "GE Signa", "3"),
    }


def test_without_a_table_metadata_json_gives_the_labels(archive: tuple[Path, Path]) -> None:
    """Patient 5 is all -1 there: unknown, and kept for generation."""
    found = imported("egd", archive[0], [])

    assert values(found, "idh", "grade", "tumour_type")["EGD-0005"] == ("", "", "")
    assert values(found, "idh")["EGD-0001"] == ("wildtype",)
    assert reasons(found) == {}


def test_the_atlas_masks_are_nobodys_and_the_grid_is_as_it_is(draft: Draft) -> None:
    masks = {patient: scan.files["mask"] for patient, scan in by_patient(draft).items()}
    assert {mask.name for mask in masks.values()} == {"MASK.nii.gz"}
    assert read_header(masks["EGD-0001"]).shape == EGD_SHAPE


def test_both_layouts_at_once_are_ambiguous(tmp_path: Path) -> None:
    egd(tmp_path, is_xnat=False)
    source, table = egd(tmp_path, is_xnat=True)

    with pytest.raises(CohortError, match="several files for one sequence"):
        imported("egd", source, [table])


def test_a_broken_metadata_json_is_named(tmp_path: Path) -> None:
    source, table = egd(tmp_path, is_xnat=False)
    (source / "SUBJECTS" / "EGD-0002" / "metadata.json").write_text("{")

    with pytest.raises(CohortError, match=r"EGD-0002/metadata\.json is no metadata\.json"):
        imported("egd", source, [table])
