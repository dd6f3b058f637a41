"""BIDS in miniature: sessions, contrast, runs, derivatives."""

from dataclasses import replace
from pathlib import Path

import pytest

from sitesynth.errors import CohortError, MissingInputError
from sitesynth.importers.bids import import_bids
from sitesynth.importers.drafts import Draft
from sitesynth.importers.general import Meaning
from sitesynth.progress import show_progress
from tests.unit.importers.archives import write_scan, write_table
from tests.unit.importers.drafted import by_patient, reasons, values


MEANING = Meaning({"idh": ("wildtype", "mutant")}, ("age", "sex"), {}, {}, "north")


def ours(source: Path, *, session: str | None = None, only: dict[str, str] | None = None) -> Draft:
    return import_bids(
        source, [], MEANING, session=session, only=only or {}, progress=show_progress
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a patient with two sessions, one without any, and one with two runs."""
    for stem in (
        *(f"sub-01/ses-post/anat/sub-01_ses-post_{kind}" for kind in ("T1w", "FLAIR")),
        *(
            f"sub-01/ses-first/anat/sub-01_ses-first_{kind}"
            for kind in ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR", "acq-x_angio")
        ),
        "sub-01/ses-first/dwi/sub-01_ses-first_dwi",
        "sub-02/anat/sub-02_T1w",
        "sub-03/anat/sub-03_run-1_T1w",
        "sub-03/anat/sub-03_run-2_T1w",
        "sub-03/anat/sub-03_T2w",
        "derivatives/bet/sub-02/anat/sub-02_desc-brain_mask",
        "derivatives/experts/sub-01/ses-first/anat/sub-01_ses-first_dseg",
        "derivatives/experts/sub-02/anat/sub-02_label-tumor_mask",
    ):
        write_scan(tmp_path / f"{stem}.nii.gz", labels=(1,) * ("seg" in stem or "mask" in stem))
    write_table(
        tmp_path / "participants.tsv",
        "participant_id|age|sex|idh",
        ["sub-01|50|M|wildtype", "sub-02|n/a|F|mutant", "sub-03|40|F|n/a", "sub-04|40|F|n/a"],
        delimiter="\t",
    )
    return tmp_path


def test_suffixes_and_contrast_make_the_sequences(source: Path) -> None:
    scans = by_patient(ours(source))
    assert {name: path.name for name, path in scans["01"].files.items()} == {
        "t1": "sub-01_ses-first_T1w.nii.gz",
        "t1c": "sub-01_ses-first_ce-gadolinium_T1w.nii.gz",
        "t2": "sub-01_ses-first_T2w.nii.gz",
        "flair": "sub-01_ses-first_FLAIR.nii.gz",
        "mask": "sub-01_ses-first_dseg.nii.gz",
    }


def test_a_brain_mask_is_no_tumour_mask(source: Path) -> None:
    assert by_patient(ours(source))["02"].files["mask"].name == "sub-02_label-tumor_mask.nii.gz"


def test_participants_are_the_labels(source: Path) -> None:
    assert values(ours(source), "idh", "age", "sex") == {
        "01": ("wildtype", "50", "M"),
        "02": ("mutant", "", "F"),
    }


def test_follow_ups_runs_and_the_absent_are_left_out(source: Path) -> None:
    """`first` comes before `post`; sub-03 has two T1w."""
    assert reasons(ours(source)) == {
        "01_ses-post": "follow-up",
        "03": "several files for one sequence",
        "04": "no images",
    }


def test_an_entity_decides_between_runs(source: Path) -> None:
    files = by_patient(ours(source, only={"run": "2"}))["03"].files

    assert {name: path.name for name, path in files.items()} == {
        "t1": "sub-03_run-2_T1w.nii.gz",
        "t2": "sub-03_T2w.nii.gz",
    }


def test_a_session_can_be_asked_for(source: Path) -> None:
    draft = ours(source, session="post")

    assert by_patient(draft)["01"].scan_id == "01_ses-post"
    assert reasons(draft)["01_ses-first"] == "follow-up"


def test_a_session_that_nobody_has_is_refused(source: Path) -> None:
    with pytest.raises(CohortError, match="nobody has a session 'pre'; correct --session"):
        ours(source, session="pre")


def test_no_participants_and_no_bids_are_refused(source: Path) -> None:
    (source / "participants.tsv").unlink()
    with pytest.raises(MissingInputError, match=r"participants\.tsv does not exist"):
        ours(source)
    with pytest.raises(CohortError, match="does not look like BIDS"):
        ours(source / "sub-02")


def test_a_mapped_column_of_ids_counts(source: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "other.csv", "who|idh", ["01|mutant", "sub-02|wildtype"])
    meaning = replace(MEANING, covariates=(), columns={"patient_id": "who"})

    draft = import_bids(source, [table], meaning, session=None, only={}, progress=show_progress)

    assert values(draft, "idh") == {"01": ("mutant",), "02": ("wildtype",)}
