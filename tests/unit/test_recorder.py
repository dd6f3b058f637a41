"""The life of the recorder."""

import shutil
from pathlib import Path

import pytest

from sitesynth import recorder
from sitesynth.tracking import is_locked, journal_folders, locked, record_run, recorder_lock


pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@pytest.fixture(autouse=True)
def mlruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path))
    monkeypatch.setenv("SITESYNTH_RECORDER", "off")
    monkeypatch.setattr(recorder, "LINGER_S", 0.01)
    monkeypatch.setattr("os.nice", lambda increment: increment)
    return tmp_path


def record() -> None:
    with record_run("train", None, study="s", params={}, inputs={}, tags={}):
        pass


def test_a_recorder_ends_when_nothing_is_left(mlruns: Path, database: Path) -> None:
    shutil.copyfile(database, mlruns / "mlflow.db")
    record()
    recorder.main()

    assert journal_folders() == []
    assert not is_locked(recorder_lock())


def test_a_second_recorder_leaves_the_work_to_the_first(mlruns: Path) -> None:
    record()
    with locked(recorder_lock()):
        recorder.main()

    assert len(journal_folders()) == 1
    assert not (mlruns / "mlflow.db").exists()
