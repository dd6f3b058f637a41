"""The stage `compare` on predictions written by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pipelines import compare
from sitesynth.errors import CohortError
from sitesynth.settings import SiteSettings, load_settings
from sitesynth.storage import write_json
from sitesynth.tracking import Silent


ROOT = Path(__file__).parents[2]

STRATEGIES = ("local-alder", "centralized", "synthetic")


@pytest.fixture
def study(tmp_path: Path) -> SimpleNamespace:
    """Write what the stages before leave: 3 strategies, 2 external sites, 1 training site."""
    rng = np.random.default_rng(1)
    for separation, name in enumerate(STRATEGIES):
        lines = ["patient_id,scan_id,site,label,probability,seed_0,age,sex,has_t1,has_flair"]
        for number in range(40):
            p = 1 / (1 + np.exp(-(2 * separation * (number % 2 - 0.5) + rng.normal())))
            site = "elm" if number < 20 else "oak"
            lines.append(
                f"p{number},s{number},{site},{number % 2},{p},{p},{30 + number},F,true,true"
            )
        (tmp_path / "evaluation" / name).mkdir(parents=True)
        (tmp_path / "evaluation" / name / "predictions.csv").write_text("\n".join(lines) + "\n")
        write_json(
            tmp_path / "evaluation" / name / "metrics.json",
            {"threshold": 0.5, "test_sha256": "abc"},
        )
    write_json(tmp_path / "splits/frozen.json", {"test_sha256": "abc"})
    (tmp_path / "bundles/alder").mkdir(parents=True)
    (tmp_path / "bundles/alder/weights.safetensors").write_bytes(b"x" * 500)
    (tmp_path / "classifier/centralized").mkdir(parents=True)
    (tmp_path / "classifier/centralized/seed_0.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "classifier/centralized/seed_1.safetensors").write_bytes(b"x" * 100)
    write_json(tmp_path / "mixing.json", {"validations": 7})
    return SimpleNamespace(folder=tmp_path, run=lambda: run_stage(tmp_path))


def run_stage(folder: Path) -> None:
    settings = load_settings(ROOT / "params.yaml")
    compare.run(
        predictions=folder / "evaluation",
        splits=folder / "splits",
        bundles=folder / "bundles",
        classifiers=folder / "classifier",
        mixes=folder / "mixing.json",
        comparison=folder / "comparison.json",
        exchange=folder / "exchange.json",
        timings=folder / "timings",
        cohort=settings.cohort.model_copy(
            update={"covariates": ("age", "sex"), "sequences": ("t1", "flair")}
        ),
        task=settings.task,
        strategies=STRATEGIES,
        sites=SiteSettings(
            all=("alder", "elm", "oak"), training=("alder",), external=("elm", "oak")
        ),
        federated=settings.federated.model_copy(update={"num_rounds": 2}),
        evaluation=settings.evaluation.model_copy(update={"num_resamples": 200}),
        seed=1,
        tracked=Silent(),
    )


def content(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(path.read_text()))


def test_writes_both_files_and_prints_the_table(
    study: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    study.run()
    comparison = content(study.folder / "comparison.json")
    exchange = content(study.folder / "exchange.json")
    printed = capsys.readouterr().out

    assert comparison["order"]["strategies"] == list(STRATEGIES)
    assert comparison["strategies"]["synthetic"]["sites"]["elm"]["n"] == 20
    groups = comparison["subgroups"]["groups"]
    assert [(group["covariate"], group["n"], group["positives"]) for group in groups] == [
        ("age", 13, 6),
        ("age", 13, 7),
        ("age", 14, 7),
    ]
    assert exchange["federated"]["bytes"] == 2 * 2 * 1 * 100
    assert exchange["one_shot"]["bytes"] == 500
    assert exchange["as_run"]["federated_bytes"] == 2 * 400
    assert exchange["as_run"]["one_shot_bytes"] == 500 + 7 * 1 * 100
    assert [line.split()[0] for line in printed.splitlines() if "[0." in line][:3] == [*STRATEGIES]


def test_twice_gives_the_same_bytes(study: SimpleNamespace) -> None:
    study.run()
    first = (study.folder / "comparison.json").read_bytes()
    study.run()

    assert (study.folder / "comparison.json").read_bytes() == first


def test_predictions_on_another_list_of_patients_are_refused(study: SimpleNamespace) -> None:
    write_json(study.folder / "splits/frozen.json", {"test_sha256": "xyz"})

    with pytest.raises(CohortError, match="the frozen one is xyz"):
        study.run()
