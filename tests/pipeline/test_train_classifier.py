"""The stage `train_classifier` on three tiny sites."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipelines import evaluate, train_classifier
from sitesynth.classifiers.baseline import read_baseline
from sitesynth.classifiers.ensemble import read_ensemble
from sitesynth.storage import read_json, write_json
from sitesynth.tracking import Run, Silent, journal_folders, record_run
from tests.unit.strategies import tiny_consortium as tiny


def fit(
    folder: Path, engine: str, strategy: str = "federated", *, tracked: Run | None = None
) -> Path:
    """Run the stage for one strategy, and return where it wrote."""
    study = tiny.settings(engine=engine)
    write_json(folder / "mixing.json", {"mixes": {}})
    train_classifier.run(
        strategy=strategy,
        images=tiny.write_sites(folder / "images"),
        synthetic=tiny.write_sites(folder / "synthetic"),
        mixes=folder / "mixing.json",
        model=folder / "model",
        traffic=folder / "traffic.json",
        **tiny.sections(study),
        scratch=folder / "scratch",
        tracked=tracked or Silent(),
    )
    return folder


def test_without_an_engine_nothing_is_sent(tmp_path: Path) -> None:
    """The classifier, its history of two rounds a member, and a ledger that says null."""
    written = fit(tmp_path, "in_process")

    assert read_ensemble(written / "model").config.strategy == "federated"
    lines = (written / "model/history.csv").read_text().splitlines()
    assert lines[0] == "member,step,loss,validation_loss"
    assert [line.rsplit(",", 2)[0] for line in lines[1:]] == ["0,2", "0,4", "1,2", "1,4"]
    assert read_json(written / "traffic.json") is None
    counted = read_json(written / "model/provenance.json")["scans"]
    assert counted == {"real": dict.fromkeys(tiny.SITES, 8), "synthetic": {}}


def test_a_baseline_goes_the_way_of_all_strategies(tmp_path: Path) -> None:
    """No history and no seed; predictions of the patients that the others are tested on."""
    written = fit(tmp_path, "in_process", "baseline-intensity")
    table = tmp_path / "images/alder/table.csv"
    table.write_text(table.read_text().replace(",train,", ",test,"))
    write_json(tmp_path / "splits/frozen.json", {"test_sha256": "abc"})
    evaluate.run(
        strategy="baseline-intensity",
        model=written / "model",
        images=tmp_path / "images",
        splits=tmp_path / "splits",
        predictions=tmp_path / "evaluation",
        label_unit="patient",
        external=("alder",),
        tracked=Silent(),
    )
    found = pd.read_csv(tmp_path / "evaluation/predictions.csv")

    assert sorted(path.name for path in (written / "model").iterdir()) == [
        "baseline.json",
        "provenance.json",
    ]
    assert not [name for name in found if str(name).startswith("seed_")]
    chances = found.groupby("label")["probability"]
    assert chances.max()[0] < read_baseline(written / "model").threshold <= chances.min()[1]


@pytest.mark.parametrize("engine", ["in_process", pytest.param("nvflare", marks=pytest.mark.slow)])
def test_mlflow_is_told_of_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Both losses of both members, at the step that each of two rounds ended with."""
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path / "mlruns"))
    monkeypatch.setenv("SITESYNTH_RECORDER", "off")
    with record_run("train", "federated", study="s", params={}, inputs={}, tags={}) as run:
        fit(tmp_path, engine, tracked=run)
    (journal,) = journal_folders()
    events = [json.loads(line) for line in (journal / "events.jsonl").read_text().splitlines()]
    told = sorted(
        (name, event["step"])
        for event in events
        if event["event"] == "metrics"
        for name in event["values"]
        if "_seed_" in name
    )

    assert told == [
        (f"{loss}_seed_{member}", step)
        for loss in ("loss", "validation_loss")
        for member in (0, 1)
        for step in (2, 4)
    ]
    sent = {name for event in events for name in event.get("values", {}) if "sent" in name}
    assert sent == ({"bytes_sent", "messages_sent"} if engine == "nvflare" else set())


@pytest.mark.slow
def test_an_engine_changes_the_ledger_and_no_byte_of_the_model(tmp_path: Path) -> None:
    """What DVC hashes is the same; what it does not hash says what was sent."""
    here, there = fit(tmp_path / "a", "in_process"), fit(tmp_path / "b", "nvflare")

    for file in sorted((here / "model").iterdir()):
        assert (there / "model" / file.name).read_bytes() == file.read_bytes(), file.name
    traffic = read_json(there / "traffic.json")
    assert traffic["engine"] == "nvflare"
    assert set(traffic["sites"]) == set(tiny.SITES)
