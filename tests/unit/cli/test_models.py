"""`sitesynth predict` and `sitesynth sample`: what one does with a study's models."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sitesynth.classifiers.ensemble import write_ensemble
from sitesynth.cli.main import main
from sitesynth.mlruns import Column, Mlruns
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import Contents
from sitesynth.registry.versions import Submission, register
from sitesynth.storage import write_json
from tests.unit.tiny_models import (
    TINY_COVARIATES,
    tiny_ensemble,
    tiny_generator,
    write_tiny_bundle,
    write_tiny_scan,
)


PARAMS = Path(__file__).parents[3] / "params.yaml"


def run(*argv: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in argv])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Write a table of two scans."""
    rows = [write_tiny_scan(tmp_path, f"p{number}", tilt=9.0 * number) for number in range(2)]
    pd.DataFrame(rows).to_csv(tmp_path / "scans.csv", index=False)
    return tmp_path / "scans.csv"


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """Write an untrained classifier."""
    write_ensemble(tmp_path / "classifier", tiny_ensemble())
    return tmp_path / "classifier"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write the bundle of an untrained generator of pictures."""
    return write_tiny_bundle(tmp_path / "alder", tiny_generator((8, 8)))


def test_a_folder_predicts_a_table(
    table: Path, classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", classifier, table, "--out", tmp_path / "found/p.csv") == 0

    found = pd.read_csv(tmp_path / "found/p.csv")
    assert list(found.columns) == ["patient_id", "scan_id", "probability", "call", "warning"]
    assert found["probability"].between(0, 1).all()
    num_mutant = (found["call"] == "mutant").sum()
    assert f"p.csv: scans: 2, called mutant: {num_mutant}\n" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_a_registered_classifier_predicts_as_its_folder(
    table: Path,
    classifier: Path,
    tmp_path: Path,
    mlruns_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(mlruns_folder))
    gates = [Gate("luck", "good", passed=True)]
    column = Column("t1", "binary", required=False)
    contents = Contents([column], [column], {"t1": ""}, "# card", {}, "{}")
    submission = Submission(
        "classifier-idh", classifier, {}, gates, "s", 0.0, is_candidate=True, contents=contents
    )
    register(Mlruns(), "s", submission)

    assert run("predict", classifier, table, "--out", tmp_path / "a.csv") == 0
    assert run("predict", "classifier-idh/1", table, "--out", tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_scan_unlike_the_training_scans_is_warned_of(
    table: Path, classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody who looks at the probability alone would know."""
    looks = {name: {"mean": [0.9, 1.0], "sd": [0.0, 1.0]} for name in ("t1", "flair")}
    provenance = {"patients": {}, "max_missing": 0, "looks": looks}
    write_json(classifier / "provenance.json", provenance)

    assert run("predict", classifier, table, "--out", tmp_path / "p.csv") == 0
    warnings = pd.read_csv(tmp_path / "p.csv")["warning"]
    assert warnings.str.contains(r"mean of t1 0\.\d+ \(0\.900 to 1\.000 in training\)").all()
    assert "unlike training: p0: mean of t1" in capsys.readouterr().err


def test_a_model_that_is_nowhere_is_named(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", "models/classifier/gone", table, "--out", tmp_path / "p.csv") == 2
    assert "models/classifier/gone is neither a folder nor" in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()


def test_a_name_of_a_column_has_two_sides(
    table: Path, classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.csv"

    assert run("predict", classifier, table, "--out", out, "--column", "t1") == 2
    assert "'t1' must be OURS=THEIRS" in capsys.readouterr().err


def test_a_bundle_draws_pictures(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps that are not given are the study's."""
    out, draw = tmp_path / "drawn", ("--label", "mutant", "--count", 1, "--seed", 7)
    assert run("sample", bundle, *draw, "--out", out, "--guidance", 1.0, "--params", PARAMS) == 0

    said = json.loads((out / "alder-mutant-00000_t1.json").read_text())
    assert (said["seed"], said["guidance"], said["label"]) == (7, 1.0, "mutant")
    assert f"num_steps: {said['num_steps']}\n" in PARAMS.read_text()
    assert (out / "alder-mutant-00000_mask.png").is_file()
    assert "scans of mutant by the generator of alder: 1" in capsys.readouterr().out


def test_an_altered_bundle_draws_nothing(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "card.md").write_text("# anonymous\n")
    draw = ("--label", "mutant", "--count", 1, "--seed", 7, "--num-steps", 1, "--guidance", 1.0)

    assert run("sample", bundle, *draw, "--out", tmp_path / "drawn") == 2
    assert "not the file that was signed" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()


def test_a_study_is_not_needed_where_nothing_is_left_to_it(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = ("--label", "mutant", "--count", 1, "--seed", 7, "--num-steps", 1)
    more = ("--sampler", "ddim", "--eta", 0.0, "--eta-interval", 0.0, 1.0, "--guidance", 2.0)
    always = ("--guidance-interval", 0.0, 1.0)

    assert run("sample", bundle, *draw, *more, "--out", tmp_path / "a", *always) == 0
    assert run("sample", bundle, *draw, *more, "--out", tmp_path / "b") == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["age"], "'age' must be NAME=VALUE, e.g. age=60"),
        (["=60"], "'=60' must be NAME=VALUE"),
        (["sex=F", "sex=M"], "sex is given twice"),
        (["age=60"], r"knows the covariates [], not 'age'"),
    ],
)
def test_a_covariate_that_cannot_be_had_is_one_error(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
    message: str,
) -> None:
    words = [word for pair in asked for word in ("--covariate", pair)]
    draw = ("--label", "mutant", "--count", 1, "--seed", 3, "--params", PARAMS)

    assert run("sample", bundle, *draw, *words, "--out", tmp_path / "drawn") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()


def test_a_covariate_that_is_asked_for_is_in_the_sidecar(tmp_path: Path) -> None:
    told = tiny_generator((8, 8), covariates=TINY_COVARIATES)
    bundle = write_tiny_bundle(tmp_path / "alder", told)
    draw = ("--label", "mutant", "--count", 1, "--seed", 3, "--params", PARAMS)
    asked = ("--covariate", "age=60", "--covariate", "sex=")

    assert run("sample", bundle, *draw, *asked, "--out", tmp_path / "drawn") == 0
    said = json.loads((tmp_path / "drawn/alder-mutant-00000_t1.json").read_text())
    assert said["covariates"] == {"age": "60", "sex": ""}


def test_a_table_draws_a_scan_per_row_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ages as asked; sexes, which no column asks for, as they occur at the site."""
    told = tiny_generator((8, 8), covariates=TINY_COVARIATES)
    bundle = write_tiny_bundle(tmp_path / "alder", told)
    (tmp_path / "wanted.csv").write_text("label,age\nmutant,60\nwildtype,70\nmutant,\n")
    draw = ("sample", bundle, "--table", tmp_path / "wanted.csv", "--seed", 3, "--params", PARAMS)

    assert run(*draw, "--out", tmp_path / "drawn") == 0
    assert "scans of mutant by the generator of alder: 2" in capsys.readouterr().out
    said = {
        path.name: json.loads(path.read_text())["covariates"]
        for path in sorted((tmp_path / "drawn").glob("*_t1.json"))
    }
    assert {name: words["age"] for name, words in said.items()} == {
        "alder-mutant-00000_t1.json": "60",
        "alder-mutant-00001_t1.json": "",
        "alder-wildtype-00000_t1.json": "70",
    }
    assert {words["sex"] for words in said.values()} <= {"F", "M"}

    before = {path: path.read_bytes() for path in (tmp_path / "drawn").iterdir()}
    (tmp_path / "drawn/alder-mutant-00001_t1.png").unlink()
    assert run(*draw, "--out", tmp_path / "drawn") == 0
    assert {path: path.read_bytes() for path in (tmp_path / "drawn").iterdir()} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--table", "wanted.csv", "--label", "mutant"], "leave --label, --count and --covariate"),
        (["--label", "mutant"], "say which scans are wanted: --label and --count, or --table"),
        (["--table", "wanted.csv"], "wanted.csv asks for what cannot be drawn, so nothing was"),
    ],
)
def test_what_is_wanted_is_said_once_and_can_be_drawn(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wanted.csv").write_text("label\nmutant\nmutated\n")

    assert run("sample", bundle, *options, "--seed", 3, "--out", "drawn", "--params", PARAMS) == 2
    assert message in capsys.readouterr().err
    assert not Path("drawn").exists()
