"""Journals in MLflow. All tests share a database, and each has a study of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from mlflow.entities import Run

from sitesynth.mlruns import Mlruns
from sitesynth.tracking import journal_folders, record_run


# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@pytest.fixture(scope="module")
def mlruns(mlruns_folder: Path) -> Iterator[Mlruns]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITESYNTH_MLRUNS", str(mlruns_folder))
        patch.setenv("SITESYNTH_RECORDER", "off")
        yield Mlruns()


def record(study: str, item: str = "alder", loss: float = 1.0) -> None:
    with record_run(
        "train",
        item,
        study=study,
        params={"diffusion": {"channels": [8, 16], "rate": 0.1}, "seed": 3},
        inputs={"images": "f" * 64},
        tags={"site": item},
    ) as run:
        run.log_metrics({"loss": loss}, step=2)
        run.log_text("notes/a.txt", "hello")
        run.log_dataset("alder/train", digest="d" * 64, num_scans=7, context="training")


def runs(mlruns: Mlruns, study: str) -> list[Run]:
    return list(mlruns.client.search_runs([mlruns.experiment_of(study)]))


def stage_runs(mlruns: Mlruns, study: str) -> list[Run]:
    return [run for run in runs(mlruns, study) if run.data.tags["stage"] != "study"]


def datasets(run: Run) -> list[str]:
    assert run.inputs is not None
    return [found.dataset.name for found in run.inputs.dataset_inputs]


def run_apart(code: str) -> None:
    """Run code that ends its process in one of its own, with the modules that are tested here."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=False, env=environment)


def test_a_journal_becomes_a_run_and_is_gone(mlruns: Mlruns) -> None:
    record("whole")
    mlruns.copy_journals()

    (run,) = stage_runs(mlruns, "whole")
    assert run.info.run_name == run.data.tags["dvc_stage"] == "train@alder"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "diffusion.channels": "[8, 16]",
        "diffusion.rate": "0.1",
        "seed": "3",
    }
    assert run.data.metrics == {"loss": 1.0}
    assert datasets(run) == ["images", "alder/train"]
    assert [found.path for found in mlruns.client.list_artifacts(run.info.run_id)] == ["notes"]
    assert journal_folders() == []


def test_a_trial_is_a_run_below_its_stage(mlruns: Mlruns) -> None:
    with record_run("tune", None, study="trials", params={}, inputs={}, tags={}) as run:
        for number in range(2):
            run.log_nested(
                f"trial-{number}",
                params={"alder/mutant": 10 * number},
                metrics=[(20, {"loss": 0.7}), (40, {"loss": 0.6})],
                tags={"state": "complete"},
            )
    mlruns.copy_journals()

    (stage,) = (r for r in stage_runs(mlruns, "trials") if r.data.tags["stage"] == "tune")
    trials = [r for r in runs(mlruns, "trials") if r.data.tags["stage"] == "tune/nested"]
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {stage.info.run_id}
    assert {trial.info.run_name: trial.data.params for trial in trials} == {
        "trial-0": {"alder/mutant": "0"},
        "trial-1": {"alder/mutant": "10"},
    }
    assert {trial.info.status for trial in trials} == {"FINISHED"}
    history = mlruns.client.get_metric_history(trials[0].info.run_id, "loss")
    assert [(found.step, found.value) for found in history] == [(20, 0.7), (40, 0.6)]


def test_a_trial_that_was_copied_before_is_not_made_twice(
    mlruns: Mlruns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with record_run("tune", None, study="trial-twice", params={}, inputs={}, tags={}) as run:
        run.log_nested("trial-0", params={"a": 1}, metrics=[(1, {"loss": 0.5})], tags={})
    (journal,) = journal_folders()
    shutil.copytree(journal, tmp_path / journal.name)
    mlruns.copy_journals()
    shutil.copytree(tmp_path / journal.name, journal)
    mlruns.copy_journals()

    trials = [r for r in runs(mlruns, "trial-twice") if r.data.tags["stage"] == "tune/nested"]
    assert len(trials) == 1


def test_what_a_run_was_made_of_is_among_its_params(mlruns: Mlruns) -> None:
    with record_run(
        "evaluate", None, study="made-of", params={"seed": 3}, inputs={}, tags={}
    ) as run:
        run.log_params({"strategy": "synthetic", "real_scans": 0})
    mlruns.copy_journals()

    (found,) = stage_runs(mlruns, "made-of")
    assert found.data.params == {"seed": "3", "strategy": "synthetic", "real_scans": "0"}


def test_a_figure_is_an_image_of_its_run_once(mlruns: Mlruns, tmp_path: Path) -> None:
    """MLflow's charts lay images of several runs side by side; a second copy adds none."""
    with record_run("evaluate", None, study="pictured", params={}, inputs={}, tags={}) as run:
        run.log_figure("mixing/roc", Figure(figsize=(1, 1)))
    (journal,) = journal_folders()
    shutil.copytree(journal, tmp_path / journal.name)
    mlruns.copy_journals()
    shutil.copytree(tmp_path / journal.name, journal)
    mlruns.copy_journals()

    (found,) = stage_runs(mlruns, "pictured")
    assert found.data.tags["mlflow.loggedImages"] == "True"
    listed = mlruns.client.list_artifacts(found.info.run_id, "images")
    assert [Path(image.path).name.partition("+")[0] for image in listed] == ["mixing-roc"] * 2
    assert sorted(Path(image.path).suffix for image in listed) == [".png", ".webp"]


def test_stages_are_nested_below_one_run_of_their_study(mlruns: Mlruns) -> None:
    record("nested", "alder")
    record("nested", "birch")
    mlruns.copy_journals()

    (study,) = (run for run in runs(mlruns, "nested") if run.data.tags["stage"] == "study")
    parents = {run.data.tags["mlflow.parentRunId"] for run in stage_runs(mlruns, "nested")}
    assert parents == {study.info.run_id}
    assert study.info.run_name == "nested"


def test_the_newest_finished_run_of_a_stage_is_current(mlruns: Mlruns) -> None:
    record("current", loss=1.0)
    record("current", loss=2.0)
    with (
        pytest.raises(ZeroDivisionError),
        record_run("train", "alder", study="current", params={}, inputs={}, tags={}),
    ):
        raise ZeroDivisionError
    mlruns.copy_journals()

    found = mlruns.client.search_runs([mlruns.experiment_of("current")], "tags.current = 'true'")
    assert [run.data.metrics["loss"] for run in found] == [2.0]
    assert mlruns.current_run("current", "train@alder") == found[0].info.run_id
    assert mlruns.current_run("current", "train@birch") is None
    statuses = sorted(run.info.status for run in stage_runs(mlruns, "current"))
    assert statuses == ["FAILED", "FINISHED", "FINISHED"]


def test_a_run_can_be_followed_while_its_stage_runs(mlruns: Mlruns) -> None:
    with record_run("train", None, study="live", params={}, inputs={}, tags={}) as run:
        for step in (1, 2):
            run.log_metrics({"loss": 1.0 / step}, step=step)
            mlruns.copy_journals()
            (found,) = stage_runs(mlruns, "live")

            assert found.info.status == "RUNNING"
            assert found.data.metrics == {"loss": 1.0 / step}


def test_copying_twice_equals_copying_once(mlruns: Mlruns, tmp_path: Path) -> None:
    """A recorder that was killed begins a journal anew."""
    record("twice")
    folder = journal_folders()[-1]
    shutil.copytree(folder, tmp_path / folder.name)
    mlruns.copy_journals()
    shutil.copytree(tmp_path / folder.name, folder)
    mlruns.copy_journals()

    (run,) = stage_runs(mlruns, "twice")
    assert len(mlruns.client.get_metric_history(run.info.run_id, "loss")) == 1
    assert datasets(run) == ["images", "alder/train"]
    assert run.data.tags["current"] == "true"


def test_a_stage_that_was_killed_leaves_a_killed_run(mlruns: Mlruns) -> None:
    code = (
        "import os, signal\n"
        "from sitesynth.tracking import record_run\n"
        "with record_run('train', None, study='killed', params={}, inputs={}, tags={}) as run:\n"
        "    run.log_metrics({'loss': 1.0})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run_apart(code)
    mlruns.copy_journals()

    (run,) = stage_runs(mlruns, "killed")
    assert run.info.status == "KILLED"
    assert run.data.metrics == {"loss": 1.0}
    assert journal_folders() == []


def test_half_a_figure_is_none(mlruns: Mlruns) -> None:
    """A stage is killed while it draws: what there is of the file is neither shown nor kept."""
    code = (
        "import os, signal; from sitesynth.tracking import record_run\n"
        "class Half:\n"
        "    def savefig(self, path, **options):\n"
        "        path.write_bytes(b'half a picture')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "with record_run('train', None, study='half', params={}, inputs={}, tags={}) as run:\n"
        "    run.log_text('note.txt', 'whole')\n"
        "    run.log_figure('roc', Half())\n"
    )
    run_apart(code)
    mlruns.copy_journals()

    (run,) = stage_runs(mlruns, "half")
    assert run.info.status == "KILLED"
    listed = mlruns.client.list_artifacts(run.info.run_id)
    assert [found.path for found in listed] == ["note.txt"]


def test_half_a_line_waits_for_its_other_half(mlruns: Mlruns) -> None:
    with record_run("train", None, study="half", params={}, inputs={}, tags={}):
        events = journal_folders()[-1] / "events.jsonl"
        line = '{"event": "metrics", "time_ms": 1, "step": 0, "values": {"loss": 1.0}}\n'
        with events.open("a") as file:
            file.write(line[:30])
        mlruns.copy_journals()
        before = stage_runs(mlruns, "half")[0].data.metrics
        with events.open("a") as file:
            file.write(line[30:])
        mlruns.copy_journals()

        assert before == {}
        assert stage_runs(mlruns, "half")[0].data.metrics == {"loss": 1.0}


def test_artifacts_are_found_after_the_folder_was_moved(
    mlruns: Mlruns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("moved")
    mlruns.copy_journals()
    shutil.copytree(Path(os.environ["SITESYNTH_MLRUNS"]), tmp_path / "elsewhere")
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path / "elsewhere"))
    moved = Mlruns()

    (run,) = stage_runs(moved, "moved")
    assert run.info.artifact_uri.startswith(str(tmp_path / "elsewhere"))
    assert [found.path for found in moved.client.list_artifacts(run.info.run_id)] == ["notes"]


def test_a_database_that_was_deleted_is_noticed(
    mlruns: Mlruns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mlruns.is_there()
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path))

    assert not mlruns.is_there()


def test_one_run_made_what_lies_there(mlruns: Mlruns) -> None:
    """The newest of those that made the same; another one, if what lies there is another again."""
    for made in ("one", "two", "one", "one"):
        with record_run(
            "train", "elm", study="made", params={}, inputs={}, tags={"site": "elm"}
        ) as run:
            run.set_tags({"made": made})
    with record_run(
        "train", "fir", study="made", params={}, inputs={}, tags={"site": "fir"}
    ) as run:
        run.set_tags({"made": "one"})
    mlruns.copy_journals()
    newest_first = [run for run in stage_runs(mlruns, "made") if run.data.tags["site"] == "elm"]
    ids = [run.info.run_id for run in newest_first]

    assert mlruns.run_that_made("made", "train@elm", "one") == (
        ids[0],
        newest_first[0].data.tags["commit"],
    )
    assert mlruns.run_that_made("made", "train@elm", "two") == (
        ids[2],
        newest_first[2].data.tags["commit"],
    )
    assert mlruns.run_that_made("made", "train@elm", "three") is None
