"""The stage `evaluate`: what it tells MLflow, by which strategies are compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import evaluate
from sitesynth import seeds
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble, write_ensemble
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.provenance import PROVENANCE
from sitesynth.images import write_index, write_voxels
from sitesynth.storage import write_json
from sitesynth.tracking import record_run
from tests.unit.strategies import tiny_consortium as tiny


EXTERNAL = ("elm", "oak")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an untrained classifier that says what it learned from, and two external sites."""
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path / "mlruns"))
    settings = tiny.settings(num_seeds=1)
    config = ClassifierConfig(
        strategy="augmented",
        label="idh",
        classes=settings.classes,
        positive=settings.task.positive,
        threshold=0.5,
        stages=None,
        sequences=("t1",),
        grid=settings.grid,
        mask_labels=None,
        intensity=settings.intensity,
        classifier=settings.classifier,
    )
    network = build_classifier(
        settings.classifier,
        num_sequences=1,
        num_classes=2,
        dims=2,
        rng=seeds.generator(0, "untrained"),
    )
    write_ensemble(tmp_path / "model", Ensemble(config, [network.eval()]))
    for site in EXTERNAL:
        rng, rows = seeds.numpy_generator(0, site), []
        for number in range(6):
            scan = f"{site}-{number}"
            write_voxels(tmp_path / "images" / site, scan, rng.random((1, 8, 8), np.float32))
            row = {"scan_id": scan, "patient_id": scan, "site": site, "split": "test"}
            rows.append(row | {"has_t1": "true", "idh": settings.classes[number % 2]})
        write_index(tmp_path / "images" / site, channels=["t1"], grid=[8, 8], rows=rows, about={})
    write_json(tmp_path / "splits" / "frozen.json", {"test_sha256": "f" * 64})
    return tmp_path


def told(folder: Path) -> dict[str, Any]:
    """Run the stage, and return the last of each kind of event; artifacts by name."""
    with record_run("evaluate", "augmented", study="s", params={}, inputs={}, tags={}) as tracked:
        evaluate.run(
            strategy="augmented",
            model=folder / "model",
            images=folder / "images",
            splits=folder / "splits",
            predictions=folder / "predictions",
            label_unit="patient",
            external=EXTERNAL,
            tracked=tracked,
        )
    (journal,) = (folder / "mlruns" / "journals").iterdir()
    events = [json.loads(line) for line in (journal / "events.jsonl").read_text().splitlines()]
    artifacts = sorted(path.name for path in (journal / "artifacts").iterdir())
    return {event["event"]: event for event in events} | {"artifacts": artifacts}


def test_a_run_says_what_its_classifier_learned_from(study: Path) -> None:
    """Real and synthetic scans of two sites, one of which gave synthetic ones only."""
    scans = {"real": {"alder": 7}, "synthetic": {"alder": 5, "birch": 4}}
    write_json(study / "model" / PROVENANCE, {"scans": scans})

    assert told(study)["params"]["params"] == {
        "strategy": "augmented",
        "sites": 2,
        "real_scans": 7,
        "synthetic_scans": 9,
    }


def test_a_classifier_without_provenance_is_named_and_no_more(study: Path) -> None:
    found = told(study)

    assert found["params"]["params"] == {"strategy": "augmented"}
    assert found["artifacts"] == ["reliability.png", "roc.png"]
    assert {"auc", "auc.elm", "auc.oak", "brier.oak"} <= set(found["metrics"]["values"])
    assert (found["dataset"]["name"], found["dataset"]["num_scans"]) == ("external/test", 12)
