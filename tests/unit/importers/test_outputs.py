"""What an import leaves on disk, and cohorts that are joined."""

import csv
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sitesynth.errors import CohortError, LeakageError, MissingInputError
from sitesynth.importers.drafts import Draft, Scan
from sitesynth.importers.joining import join_drafts
from sitesynth.importers.outputs import read_draft, write_draft
from sitesynth.importers.studies import ABSENT, choose_task, draft_study
from sitesynth.settings import Settings, load_settings
from tests.unit.importers.archives import brats_tcga, ucsf_pdgm, write_scan
from tests.unit.importers.drafted import imported


ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def knobs() -> Settings:
    return load_settings(ROOT / "studies" / "phantom.yaml")


@pytest.fixture(scope="module")
def ucsf(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    source, table = ucsf_pdgm(tmp_path_factory.mktemp("ucsf"))
    return imported("ucsf-pdgm", source, [table], site="UCSF")


@pytest.fixture(scope="module")
def tcga(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    source, table = brats_tcga(tmp_path_factory.mktemp("tcga"))
    return imported("brats-tcga", source, [table], site="TCGA")


def study_of(draft: Draft, knobs: Settings, out: Path, external: tuple[str, ...] = ()) -> Settings:
    task = choose_task(draft, None)
    return draft_study(draft, knobs, name="s", source=out, task=task, external=external)


def table_of(out: Path, name: str = "cohort.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_points_at_the_files_through_links(
    ucsf: Draft, knobs: Settings, tmp_path: Path
) -> None:
    """A link per file: DVC does not look through links to folders."""
    out = tmp_path / "out"
    write_draft(ucsf, out, study_of(ucsf, knobs, out))

    first = table_of(out)[0]
    assert first["patient_id"] == "UCSF-PDGM-0004"
    assert first["t1"].endswith("UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1.nii.gz")
    assert (out / first["t1"]).is_symlink()
    assert (out / first["t1"]).resolve() == ucsf.scans[0].files["t1"]
    assert not any(path.is_symlink() and path.is_dir() for path in out.rglob("*"))
    assert table_of(out)[1]["t1"] == ""


def test_git_sees_nothing_of_an_import(ucsf: Draft, knobs: Settings, tmp_path: Path) -> None:
    """Its tables name patients."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # noqa: S607
    out = tmp_path / "out"
    write_draft(ucsf, out, study_of(ucsf, knobs, out))

    status = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
    seen = subprocess.run(status, check=True, capture_output=True)

    assert seen.stdout == b""


def test_who_is_left_out_is_a_table(ucsf: Draft, knobs: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = write_draft(ucsf, out, study_of(ucsf, knobs, out))

    left = table_of(out, "left_out.csv")
    assert [*left[0]] == ["patient_id", "scan_id", "reason", "detail"]
    assert {row["patient_id"]: row["reason"] for row in left}["UCSF-PDGM-0500"] == "no images"
    assert summary["left_out"]["follow-up"] == 1
    assert sum(summary["left_out"].values()) == len(left) == 5
    assert summary["patients"]["idh"] == {"wildtype": 2, "mutant": 3, "unknown": 1}
    assert summary["missing"]["t1"] == 1


def test_what_was_written_is_read_back(ucsf: Draft, knobs: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_draft(ucsf, out, study_of(ucsf, knobs, out))

    again = read_draft(out)

    def with_all(scan: Scan) -> Scan:
        names = (*ucsf.labels, *ucsf.covariates)
        return replace(scan, values={name: scan.values.get(name, "") for name in names})

    assert again == replace(ucsf, scans=tuple(with_all(scan) for scan in ucsf.scans))


def test_the_study_can_be_used_and_has_the_knobs_of_the_other(
    ucsf: Draft, tcga: Draft, knobs: Settings, tmp_path: Path
) -> None:
    """The smaller site that has both classes tests."""
    out = tmp_path / "out"
    both = join_drafts([ucsf, tcga])
    write_draft(both, out, study_of(both, knobs, out))

    study = load_settings(out / "study.yaml")

    assert study.sites.training == ("UCSF",)
    assert study.sites.external == ("TCGA",)
    assert (study.task.label, study.task.positive) == ("idh", "mutant")
    assert study.strategies[:2] == ("local-UCSF", "centralized")
    assert study.cohort.source == str(out)
    assert study.cohort.has_mask
    assert study.phantom is None
    assert study.autoencoder == knobs.autoencoder
    assert study.grid == knobs.grid


def test_one_hospital_leaves_a_place_for_another(
    ucsf: Draft, knobs: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_draft(ucsf, out, study_of(ucsf, knobs, out))

    assert load_settings(out / "study.yaml").sites.external == (ABSENT,)
    assert "sitesynth import" in (out / "study.yaml").read_text().partition("\n\n")[0]


def test_a_site_can_be_named_external(
    ucsf: Draft, tcga: Draft, knobs: Settings, tmp_path: Path
) -> None:
    both = join_drafts([ucsf, tcga])

    assert study_of(both, knobs, tmp_path, ("UCSF",)).sites.external == ("UCSF",)
    with pytest.raises(CohortError, match=r"\['MIT'\] are no sites of the cohort"):
        study_of(both, knobs, tmp_path, ("MIT",))
    with pytest.raises(CohortError, match="no site is left to train"):
        study_of(both, knobs, tmp_path, ("UCSF", "TCGA"))


def test_a_task_that_is_no_label_is_refused(ucsf: Draft) -> None:
    assert choose_task(ucsf, ("codeletion_1p19q", "intact")) == ("codeletion_1p19q", "intact")
    with pytest.raises(CohortError, match="--task idh=mutated is no label and class"):
        choose_task(ucsf, ("idh", "mutated"))


def test_a_task_without_a_positive_class_is_of_all_classes(
    ucsf: Draft, knobs: Settings, tmp_path: Path
) -> None:
    task = choose_task(ucsf, ("tumour_type", None))
    study = draft_study(ucsf, knobs, name="s", source=tmp_path, task=task, external=())

    assert study.task.positive is None
    assert study.classes == ("glioblastoma", "astrocytoma", "oligodendroglioma")
    with pytest.raises(CohortError, match="--task glioma is no label"):
        choose_task(ucsf, ("glioma", None))


def test_knobs_of_a_plane_do_not_fit_volumes(ucsf: Draft, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="images have 3 axes, but the grid of study 'cxr'"):
        study_of(ucsf, load_settings(ROOT / "studies" / "cxr.yaml"), tmp_path)


def test_nothing_is_overwritten(ucsf: Draft, knobs: Settings, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()

    with pytest.raises(CohortError, match="must be a new or an empty folder"):
        write_draft(ucsf, tmp_path, study_of(ucsf, knobs, tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def _fails(draft: Draft, knobs: Settings, folder: Path, message: str) -> None:
    out = folder / "deep" / "out"
    with pytest.raises(CohortError, match=message):
        write_draft(draft, out, study_of(draft, knobs, out))
    assert [*(folder / "deep").iterdir()] == []


def test_a_row_that_breaks_the_contract_leaves_nothing_behind(
    ucsf: Draft, knobs: Settings, tmp_path: Path
) -> None:
    scans = (replace(ucsf.scans[0], scan_id="a b"), *ucsf.scans[1:])
    _fails(replace(ucsf, scans=scans), knobs, tmp_path, "'a b' must be letters, digits")


def test_two_files_of_one_name_leave_nothing_behind(
    ucsf: Draft, knobs: Settings, tmp_path: Path
) -> None:
    twin = replace(ucsf.scans[0], patient_id="X", scan_id="X")
    _fails(replace(ucsf, scans=(*ucsf.scans, twin)), knobs, tmp_path, "under two names of --site")


def _small(folder: Path, site: str, patients: Sequence[str], sequence: str) -> Draft:
    scans = []
    for patient in patients:
        path = folder / site / f"{patient}.nii.gz"
        write_scan(path)
        values = {"idh": "mutant"}
        names = {sequence: f"{site}/{path.name}"}
        scans.append(Scan(patient, patient, site, values, {sequence: path}, names))
    labels = {"idh": ("wildtype", "mutant")}
    return Draft(site, (sequence,), labels, ("age",), tuple(scans), ())


def test_a_patient_of_two_cohorts_stays_in_the_first(tmp_path: Path) -> None:
    """BraTS handed the same patients out again."""
    first = _small(tmp_path, "a", ["P1", "P2"], "t1")
    second = _small(tmp_path, "b", ["P2", "P3"], "t2")

    joined = join_drafts([first, second])

    assert {scan.patient_id: scan.site for scan in joined.scans} == {
        "P1": "a",
        "P2": "a",
        "P3": "b",
    }
    assert [(one.patient_id, one.reason.value) for one in joined.left_out] == [
        ("P2", "in an earlier cohort")
    ]
    assert joined.sequences == ("t1", "t2")


def test_cohorts_of_other_classes_are_not_joined(tmp_path: Path) -> None:
    first = _small(tmp_path, "a", ["P1"], "t1")
    second = replace(first, labels={"idh": ("wt", "mut")})

    with pytest.raises(CohortError, match=r"'idh' has the classes \['wildtype', 'mutant'\] in one"):
        join_drafts([first, second])


def test_a_folder_without_an_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="holds no imported cohort"):
        read_draft(tmp_path)


def test_a_patient_at_two_sites_is_leakage(knobs: Settings, tmp_path: Path) -> None:
    first = _small(tmp_path, "a", ["P1"], "t1")
    second = _small(tmp_path, "b", ["P1"], "t1")
    scans = (first.scans[0], replace(second.scans[0], scan_id="P1b"))

    out = tmp_path / "out"
    draft = replace(first, scans=scans)
    with pytest.raises(LeakageError, match="a patient belongs to one site"):
        write_draft(draft, out, study_of(draft, knobs, out))
    assert not out.exists()
