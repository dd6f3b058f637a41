"""`sitesynth check` on four pictures at two sites."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from sitesynth.cli.main import main


# great-expectations takes seconds to import.
pytestmark = pytest.mark.slow

PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Write a study file and its table, four pictures of one channel; return their folder."""
    yaml = YAML(typ="safe", pure=True)
    study = yaml.load(PARAMS.read_text())
    study["cohort"] |= {
        "source": str(tmp_path),
        "table": "cohort.csv",
        "sequences": ["xray"],
        "has_mask": False,
        "labels": {"finding": ["no", "yes"]},
        "covariates": [],
    }
    study["sites"] = {"all": ["a", "b"], "training": ["a"], "external": ["b"]}
    study["task"] = {"label": "finding", "positive": "yes", "stages": None}
    study["strategies"] = ["centralized", "synthetic"]
    study["registry"] |= {"candidates": ["synthetic"]}
    study["phantom"] = None
    study["overrides"] = {"a": {}, "b": {}}
    study["check"] |= {"min_patients": 2, "min_patients_per_class": 1}
    with (tmp_path / "study.yaml").open("w") as file:
        yaml.dump(study, file)
    rng = np.random.default_rng(0)
    lines = ["patient_id,site,finding,xray"]
    for number, (site, finding) in enumerate([("a", "no"), ("a", "yes"), ("b", "no"), ("b", "")]):
        picture = rng.integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        lines.append(f"p{number},{site},{finding},{number}.png")
    (tmp_path / "cohort.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def check(cohort: Path, *more: str) -> int:
    table, params = str(cohort / "cohort.csv"), str(cohort / "study.yaml")
    with pytest.raises(SystemExit) as ended:
        main(["check", table, "--params", params, *more])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_sound_cohort_passes(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(cohort, "--pages", str(cohort / "pages")) == 0
    assert capsys.readouterr().out.startswith("ok     a (training): 2 patients, 2 scans")
    assert sorted(page.name for page in (cohort / "pages").iterdir()) == ["a.html", "b.html"]


def test_a_script_gets_every_rule(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(cohort, "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert {site: result["success"] for site, result in found.items()} == {"a": True, "b": True}


def test_a_constant_picture_is_named(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(cohort / "3.png")

    assert check(cohort) == 2
    shown = capsys.readouterr()
    assert "FAILED b (external)" in shown.out
    assert "3.png" in shown.err


def test_one_image_at_two_sites_is_a_leak(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cohort / "3.png").write_bytes((cohort / "0.png").read_bytes())

    assert check(cohort) == 2
    assert "the same image under two names" in capsys.readouterr().err
