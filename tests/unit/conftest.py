"""MLflow's database, made once per test session: that takes seconds."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh `mlflow.db` to copy from."""
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("fresh")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITESYNTH_MLRUNS", str(folder))
        Mlruns()
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def mlruns_folder(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a module's own folder with an empty database."""
    folder = tmp_path_factory.mktemp("mlruns")
    shutil.copyfile(database, folder / "mlflow.db")
    return folder
