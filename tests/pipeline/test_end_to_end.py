"""The whole study, tiny: from nothing to a report, twice, and after a kill.

Slow: some sixty processes. `make test-all` runs it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from ruamel.yaml import YAML

from sitesynth.mlruns import Mlruns
from sitesynth.reports.run_links import EXPERIMENT
from tests.pipeline.tiny_study import shrink


ROOT = Path(__file__).parents[2]
COPIED = ("pipelines", "src", "dvc.yaml", ".dvcignore", ".gitignore", "params.yaml")
METRICS = ("auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier", "ece")

pytestmark = pytest.mark.slow


def tiny(params: dict[str, Any]) -> dict[str, Any]:
    """Shrink the default study."""
    shrink(params, patients=14, phantom_sites={})
    params["mixing"]["max_total"] = 20
    params["supplementation"] |= {"percentages": [0, 50], "num_seeds": 1}
    return params


def environment() -> dict[str, str]:
    """Return the environment of `dvc repro`: this Python first, one thread, no network."""
    here = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "src",
        "OMP_NUM_THREADS": "2",
        "SITESYNTH_RECORDER": "off",
        "SITESYNTH_WARM": "on",
        "SITESYNTH_MLRUNS": "mlruns",
    }


def dvc(study: Path, *arguments: str) -> str:
    """Run dvc in a study and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=study,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def new_study(folder: Path) -> Path:
    """Copy the repository's code into a folder, with tiny params."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    yaml = YAML(typ="safe", pure=True)
    params = tiny(yaml.load((folder / "params.yaml").read_text(encoding="utf-8")))
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    dvc(folder, "init", "--no-scm", "-q")
    dvc(folder, "config", "core.analytics", "false")
    return folder


def outputs(study: Path) -> Mapping[str, list[tuple[str, str]]]:
    """Return the digests of every stage's outputs, as dvc.lock has them."""
    lock = YAML(typ="safe").load((study / "dvc.lock").read_text(encoding="utf-8"))
    return {
        name: [(out["path"], out["md5"]) for out in stage.get("outs", ())]
        for name, stage in lock["stages"].items()
    }


def ran(printed: str) -> list[str]:
    """Return the stages that a `dvc repro` really ran."""
    marks = [line for line in printed.splitlines() if line.startswith("Running stage")]
    return [line.split("'")[1] for line in marks]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study that was run once."""
    folder = new_study(tmp_path_factory.mktemp("first") / "study")
    dvc(folder, "repro")
    return folder


def test_the_comparison_keeps_its_contract(study: Path) -> None:
    """Other people's scripts read these keys."""
    found = json.loads((study / "results/comparison.json").read_text())

    assert set(found["strategies"]) == {
        "local-alder", "centralized", "federated", "synthetic", "augmented"
    }  # fmt: skip
    for told in found["strategies"].values():
        for group in (told["overall"], told["sites"]["elm"]):
            assert group["n"] == 14
            for metric in METRICS:
                assert group[metric]["low"] <= group[metric]["value"] <= group[metric]["high"]
    pairs = {(pair["a"], pair["b"]) for pair in found["comparisons"]}
    assert {("synthetic", "centralized"), ("federated", "centralized")} <= pairs


def test_the_report_opens_without_a_network(study: Path) -> None:
    """One page that loads nothing."""
    page = (study / "results/report/index.html").read_text()

    assert "centralized" in page
    assert 'src="http' not in page


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_every_link_of_the_report_finds_one_run(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what DVC wrote into dvc.lock, and what the stages said to MLflow."""
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(study / "mlruns"))
    mlruns = Mlruns()
    mlruns.copy_journals()
    page = (study / "results/report/index.html").read_text()
    links = {unescape(link) for link in re.findall(r'<a class="run" href="([^"]+)"', page)}
    asked = [dict(parse_qsl(urlsplit(urlsplit(link).fragment).query)) for link in links]

    assert len(asked) > 20
    assert page.count("<figure>") <= page.count('<a class="run"')
    for query in asked:
        assert len(mlruns.client.search_runs([EXPERIMENT], query["searchFilter"])) == 1


def test_a_second_run_does_nothing(study: Path) -> None:
    """`dvc repro` twice: nothing runs the second time."""
    assert ran(dvc(study, "repro")) == []


def test_a_sites_knob_reruns_that_sites_stages_only(study: Path, tmp_path: Path) -> None:
    """One more sampling step at birch leaves alder's generator and samples alone."""
    copy = shutil.copytree(study, tmp_path / "study", symlinks=True)
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((copy / "params.yaml").read_text(encoding="utf-8"))
    params["overrides"]["birch"] = {"sampling": {"num_steps": 3}}
    with (copy / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    stages = ran(dvc(copy, "repro", "sample"))

    assert "sample@birch" in stages
    assert not [stage for stage in stages if stage.endswith(("@alder", "@elm"))]


def test_a_new_site_reruns_its_own_stages_and_the_hubs(study: Path, tmp_path: Path) -> None:
    """Who was there before reads the table again, finds the same, and does nothing else."""
    copy = shutil.copytree(study, tmp_path / "study", symlinks=True)
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((copy / "params.yaml").read_text(encoding="utf-8"))
    params["sites"] = {
        "all": ["alder", "birch", "cedar", "elm"],
        "training": ["alder", "birch", "cedar"],
        "external": ["elm"],
    }
    params["phantom"]["sites"]["cedar"] = params["phantom"]["sites"]["birch"]
    params["overrides"]["cedar"] = {}
    with (copy / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    stages = ran(dvc(copy, "repro", "sample"))

    assert {"check@cedar", "preprocess@cedar", "train_diffusion@cedar", "sample@cedar"} <= {*stages}
    before = [stage for stage in stages if stage.endswith(("@alder", "@birch", "@elm"))]
    assert {stage.split("@")[0] for stage in before} <= {"acquire"}


def test_a_killed_study_ends_as_an_undisturbed_one(study: Path, tmp_path: Path) -> None:
    """Kill it in the middle of several stages, then `dvc repro`: the same digests everywhere.

    So it is also the test that two clones agree.
    """
    other = new_study(tmp_path / "study")
    for patience in (20.0, 35.0, 50.0):
        running = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=other,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(patience)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    dvc(other, "repro")

    assert outputs(other) == outputs(study)
