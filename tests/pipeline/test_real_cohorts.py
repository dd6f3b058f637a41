"""Real scans go in through `sitesynth import` alone, and their voxels pass the check.

SITESYNTH_REAL_DATA names a folder with lgg_idh_dev (72 patients of three hospitals) and
mri4seq_3d_dev (six cases of two). Neither may be shipped, so without it there is nothing to test.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sitesynth.cli.main import main


DATA = Path(os.environ.get("SITESYNTH_REAL_DATA", ""))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "SITESYNTH_REAL_DATA" not in os.environ, reason="SITESYNTH_REAL_DATA names no folder"
    ),
]

PARAMS = str(Path(__file__).parents[2] / "params.yaml")
IDH = ("--label", "idh=wildtype,mutant", "--column", "patient_id=subject_id")


def told(*argv: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command that prints JSON, and return it."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    shown = capsys.readouterr()
    assert ended.value.code in {0, 2}, shown.err
    return json.loads(shown.out)


def broken(table: Path, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Check an imported cohort; return what the broken rules are about."""
    params = str(table.parent / "study.yaml")
    found = told("check", str(table), "--params", params, "--json", capsys=capsys)
    return {
        rule["subject"] for site in found.values() for rule in site["rules"] if rule["failures"]
    }


def test_lgg_idh_goes_in_through_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As its README counts it: 72 patients, three hospitals, some without a sequence."""
    source, out = DATA / "lgg_idh_dev", tmp_path / "lgg"
    argv = ["import", "folder", str(source), "--pattern", "volumes/{patient_id}_{sequence}.nii.gz"]
    argv += ["--sequence", "t1=pre", "--sequence", "t1c=post", "--sequence", "flair"]
    argv += ["--mask", "mask", "--labels", str(source / "subjects.csv"), *IDH]
    argv += ["--column", "idh=label", "--covariate", "age", "--covariate", "sex"]
    argv += ["--external", "CS", "--params", PARAMS, "--out", str(out), "--json"]

    summary = told(*argv, capsys=capsys)

    assert summary["num_scans"] == 72
    assert summary["sites"] == {"DU": 34, "HT": 26, "CS": 12}
    assert summary["patients"]["idh"] == {"wildtype": 15, "mutant": 57, "unknown": 0}
    assert summary["left_out"] == {}
    assert broken(out / "cohort.csv", capsys) == set()


def test_four_sequences_go_in_through_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six cases are too few for a study: patients per class is all that is wrong with them."""
    source, out = DATA / "mri4seq_3d_dev", tmp_path / "four"
    argv = ["import", "folder", str(source)]
    argv += ["--pattern", "{patient_id}/{sequence}.nii.gz"]
    argv += ["--pattern", "{patient_id}/{sequence}_auto.nii.gz", "--mask", "seg"]
    argv += ["--sequence", "t1=t1n", "--sequence", "t1c", "--sequence", "t2=t2w"]
    argv += ["--sequence", "flair=t2f", "--labels", str(source / "manifest.csv"), *IDH]
    argv += ["--code", "site:*UCSF*=UCSF", "--code", "site:Henry Ford*=HenryFord"]
    argv += ["--external", "HenryFord", "--params", PARAMS, "--out", str(out), "--json"]

    summary = told(*argv, capsys=capsys)

    assert summary["sites"] == {"UCSF": 5, "HenryFord": 1}
    assert summary["patients"]["idh"] == {"wildtype": 5, "mutant": 1, "unknown": 0}
    assert {name: summary["missing"][name] for name in summary["sequences"]} == dict.fromkeys(
        ("t1", "t1c", "t2", "flair"), 0
    )
    assert broken(out / "cohort.csv", capsys) == {"groups"}
