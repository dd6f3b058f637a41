"""A stage's journal, and the runs that record nothing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sitesynth import tracking
from sitesynth.tracking import Silent, is_locked, journal_folders, locked, record_run


@pytest.fixture(autouse=True)
def mlruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path))
    monkeypatch.setenv("SITESYNTH_RECORDER", "off")
    return tmp_path


def events() -> list[dict[str, Any]]:
    (folder,) = journal_folders()
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def record(stage: str = "train") -> Any:
    return record_run(stage, "alder", study="s", params={"a": 1}, inputs={}, tags={"site": "alder"})


def test_a_journal_holds_what_was_told_in_order() -> None:
    with record() as run:
        run.log_metrics({"auc": 0.5}, step=3)
        run.set_tags({"colour": "red"})
        run.log_dataset("alder/train", digest="d", num_scans=7, context="training")

    assert [event["event"] for event in events()] == ["start", "metrics", "tags", "dataset", "end"]
    assert events()[0]["name"] == "train@alder"
    assert events()[1]["values"] == {"auc": 0.5}
    assert events()[-1]["status"] == "FINISHED"


def test_a_nested_run_is_one_event_with_all_that_it_measured() -> None:
    with record() as run:
        run.log_nested(
            "trial-3", params={"alder/mutant": 7}, metrics=[(20, {"loss": 1})], tags={"a": "b"}
        )

    (nested,) = (event for event in events() if event["event"] == "nested")
    assert nested["name"] == "trial-3"
    assert nested["params"] == {"alder/mutant": 7}
    assert nested["metrics"] == [[20, {"loss": 1.0}]]
    assert nested["tags"] == {"a": "b"}


def test_an_exception_is_recorded_and_raised_on() -> None:
    with pytest.raises(ZeroDivisionError), record():
        raise ZeroDivisionError

    assert events()[-1]["status"] == "FAILED"


def test_an_interrupted_stage_was_killed() -> None:
    with pytest.raises(KeyboardInterrupt), record():
        raise KeyboardInterrupt

    assert events()[-1]["status"] == "KILLED"


def test_progress_records_every_step() -> None:
    with record() as run, run.progress(2, "training") as on_step:
        on_step(1, {"loss": 4.0})
        on_step(2, {"loss": 2.0})

    told = [(event["step"], event["values"]) for event in events() if event["event"] == "metrics"]
    assert told == [(1, {"loss": 4.0}), (2, {"loss": 2.0})]


def test_a_loss_that_is_no_number_is_recorded() -> None:
    with record() as run:
        run.log_metrics({"loss": float("nan")})

    assert str(events()[1]["values"]["loss"]) == "nan"


def test_files_texts_and_figures_become_artifacts(tmp_path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415

    (tmp_path / "a.csv").write_text("a")
    with record() as run:
        run.log_file(tmp_path / "a.csv", folder="tables")
        run.log_text("notes/b.md", "# b")
        run.log_figure("figures/c", Figure())

    folder = journal_folders()[0] / "artifacts"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"tables/a.csv", "notes/b.md", "figures/c.png"}
    assert (folder / "figures/c.png").read_bytes().startswith(b"\x89PNG")


def test_a_journal_is_locked_while_its_stage_lives() -> None:
    """From the first moment that it can be seen."""
    with record():
        assert is_locked(journal_folders()[0] / "alive")

    assert not is_locked(journal_folders()[0] / "alive")


def test_a_killed_process_lets_go_of_its_lock(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from sitesynth.tracking import locked\n"
        f"with locked(Path({str(tmp_path / 'lock')!r})): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = is_locked(tmp_path / "lock")
        process.kill()

    assert held
    assert not is_locked(tmp_path / "lock")


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        raise ZeroDivisionError

    assert not is_locked(tmp_path / "lock")


def test_the_commit_is_unknown_outside_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    assert tracking.git_commit() == "unknown"


def test_journals_are_listed_oldest_first() -> None:
    for stage in ("z", "a"):
        with record(stage):
            pass

    assert [folder.name.split("-")[2] for folder in journal_folders()] == ["z@alder", "a@alder"]


def test_recording_costs_little() -> None:
    """A run with a hundred steps takes less than a tenth of what importing MLflow does."""
    start = time.perf_counter()
    with record() as run, run.progress(100, "training") as on_step:
        for step in range(100):
            on_step(step + 1, {"loss": 1.0})

    assert time.perf_counter() - start < 0.3


def test_recording_does_not_import_mlflow() -> None:
    code = "import sys; import sitesynth.tracking; print('mlflow' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    assert done.stdout.strip() == "False"


def test_silence_leaves_nothing(mlruns: Path) -> None:
    run = Silent()
    run.log_metrics({"auc": 1.0})
    with run.progress(1, "training") as on_step:
        on_step(1, {"loss": 1.0})

    assert list(mlruns.iterdir()) == []
