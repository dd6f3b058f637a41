"""`sitesynth import` from the command line, on archives in miniature."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sitesynth.cli.imports import PUBLIC
from sitesynth.cli.main import main
from sitesynth.cli.switching import use_study
from sitesynth.importers.catalogue import LAYOUTS
from sitesynth.settings import load_settings
from tests.unit.importers.archives import (
    brats_tcga,
    egd,
    ucsf_pdgm,
    upenn_gbm,
    utsw_glioma,
    write_scan,
    write_table,
)


if TYPE_CHECKING:
    from collections.abc import Callable


PARAMS = str(Path(__file__).parents[3] / "params.yaml")


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["import", *map(str, args), "--params", PARAMS])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two hospitals of three patients each, and their table."""
    rows = []
    for number in range(6):
        write_scan(tmp_path / "scans" / f"P{number}" / "t1.nii.gz")
        rows.append(f"P{number}|{'north' if number < 3 else 'south'}|{number % 2}")
    write_table(tmp_path / "labels.csv", "patient_id|site|idh", rows)
    return tmp_path


OPTIONS = (
    *("--pattern", "{patient_id}/{sequence}.nii.gz", "--sequence", "t1"),
    *("--label", "idh=wildtype,mutant", "--code", "idh:0=wildtype", "--code", "idh:1=mutant"),
)


def test_every_public_layout_has_a_command() -> None:
    assert set(PUBLIC) == set(LAYOUTS)


def test_a_folder_goes_in_and_the_next_command_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    args = (folder / "scans", *OPTIONS, "--labels", folder / "labels.csv", "--out", out)

    assert run("folder", *args) == 0

    told = capsys.readouterr().out
    assert f"{out}: 6 scans; patients: north 3, south 3" in told
    assert "idh: wildtype 3, mutant 3, unknown 0" in told
    assert f"sitesynth study use {out}/study.yaml" in told


def test_a_script_gets_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = (folder / "scans", *OPTIONS, "--labels", folder / "labels.csv")

    assert run("folder", *args, "--out", folder / "out", "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((folder / "out" / "import.json").read_text())
    assert found["sites"] == {"north": 3, "south": 3}


def test_study_use_accepts_what_was_written(folder: Path) -> None:
    out = folder / "out"
    run("folder", folder / "scans", *OPTIONS, "--labels", folder / "labels.csv", "--out", out)
    (folder / "work").mkdir()

    use_study(str(out / "study.yaml"), folder / "work", force=False)

    assert load_settings(folder / "work" / "params.yaml").study == "out"


def test_one_hospital_is_told_to_join_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, table = ucsf_pdgm(tmp_path)

    assert run("ucsf-pdgm", source, "--labels", table, "--out", tmp_path / "out") == 0

    told = capsys.readouterr().out
    assert f"sitesynth import join {tmp_path / 'out'} OTHER" in told
    assert "left out: 5; left_out.csv names each" in told


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--sequence", "t1"), "--sequence 't1' must be OURS or OURS=THEIRS, each of ours once"),
        (("--sequence", "mask=seg"), "--sequence 'mask=seg' must be"),
        (("--code", "idh=1"), "--code 'idh=1' must be OURS:THEIRS=CODE"),
        (("--column", "idh"), "--column 'idh' must be two words with ="),
        (("--label", "grade"), "--label 'grade' must be two words with ="),
        (("--task", "idh="), "--task 'idh=' must be two words with ="),
    ],
)
def test_an_option_that_says_nothing_is_refused(
    args: tuple[str, str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (folder / "scans", *OPTIONS, "--labels", folder / "labels.csv")

    assert run("folder", *given, *args, "--out", folder / "out") == 2

    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_a_folder_in_use_is_refused_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("folder", folder / "absent", *OPTIONS, "--out", folder) == 2
    assert "must be a new or an empty folder" in capsys.readouterr().err


@pytest.mark.slow
def test_all_public_archives_join_to_a_cohort_that_passes_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way: five archives, one cohort, every rule of table and files."""
    archives: dict[str, Callable[[Path], tuple[Path, Path | tuple[Path, Path]]]] = {
        "ucsf-pdgm": ucsf_pdgm,
        "brats-tcga": brats_tcga,
        "utsw-glioma": utsw_glioma,
        "upenn-gbm": upenn_gbm,
        "egd": partial(egd, is_xnat=False),
    }
    for name, write in archives.items():
        source, tables = write(tmp_path / "archives" / name)
        named = tables if isinstance(tables, tuple) else (tables,)
        given = [part for table in named for part in ("--labels", table)]
        assert run(name, source, *given, "--out", tmp_path / name) == 0
    cohorts = [tmp_path / name for name in PUBLIC]
    external = ("--external", "UCSF", "--external", "UPenn")
    out = tmp_path / "gliomas"

    assert run("join", *cohorts, *external, "--out", out) == 0

    study = out / "study.yaml"
    loose = study.read_text().replace("min_patients: 8", "min_patients: 3")
    study.write_text(loose.replace("min_patients_per_class: 4", "min_patients_per_class: 1"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["check", str(out / "cohort.csv"), "--params", str(study)])
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    assert shown.out.count("ok ") == 5
