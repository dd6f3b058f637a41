"""Links of figures, followed: by MLflow's own search, and by its page in a browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

import pytest

from pipelines._stage import digest_of_outputs
from sitesynth.lockfile import LockedStage
from sitesynth.mlruns import Mlruns, artifacts_folder, database_uri
from sitesynth.reports.run_links import EXPERIMENT, search_url
from sitesynth.storage import dvc_digest_of_file
from sitesynth.tracking import record_run


STUDY = "linked"
OUTPUT = Path("results/privacy/alder.json")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
START_S = 60.0

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def make(content: str, item: str = "alder") -> LockedStage:
    """Run a stage that writes a file, and return what dvc.lock would say of it."""
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with record_run("audit", item, study=STUDY, params={}, inputs={}, tags={}) as run:
        OUTPUT.write_text(content)
        run.set_tags({"made": digest_of_outputs([OUTPUT])})
    return LockedStage({}, {}, {OUTPUT.as_posix(): dvc_digest_of_file(OUTPUT)})


@pytest.fixture(scope="module")
def mlruns(mlruns_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlruns]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITESYNTH_MLRUNS", str(mlruns_folder))
        patch.setenv("SITESYNTH_RECORDER", "off")
        patch.chdir(tmp_path_factory.mktemp("study"))
        yield Mlruns()


@pytest.fixture(scope="module")
def locked(mlruns: Mlruns) -> dict[str, LockedStage]:
    """Make A, then B, then A twice more, and the same at another site; return what each is."""
    made = {content: make(content) for content in ("A", "B")}
    for _ in range(2):
        make("A")
    make("A", "birch")
    mlruns.copy_journals()
    return made


def runs_of(mlruns: Mlruns, stage: str) -> list[str]:
    """Return the ids of a stage's runs, the newest first."""
    found = mlruns.client.search_runs([EXPERIMENT], f"tags.dvc_stage = '{stage}'")
    return [run.info.run_id for run in found]


PLACES = {"A": 0, "B": 2}
"""Which of the four runs at alder, the newest first, made each last."""


@pytest.mark.parametrize("content", PLACES)
def test_the_search_of_a_link_finds_the_run_that_made_the_files(
    mlruns: Mlruns, locked: dict[str, LockedStage], content: str
) -> None:
    """Of those that made the same the last one, whether or not it is the newest of the stage."""
    assert mlruns.experiment_of(STUDY) == EXPERIMENT
    link = search_url("http://127.0.0.1:5000", EXPERIMENT, "audit@alder", locked[content].made)
    asked = dict(parse_qsl(urlsplit(urlsplit(link).fragment).query))
    found = mlruns.client.search_runs([EXPERIMENT], asked["searchFilter"])

    ids = runs_of(mlruns, "audit@alder")
    assert len(ids) == 4
    assert [run.info.run_id for run in found] == [ids[PLACES[content]]]


@pytest.fixture
def server(mlruns: Mlruns) -> Iterator[str]:
    """Serve MLflow as `sitesynth ui` does; the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
    store = ["--backend-store-uri", database_uri()]
    kept = ["--artifacts-destination", str(artifacts_folder())]
    process = subprocess.Popen(
        [*command, *store, *kept],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while not _answers(address):
            assert process.poll() is None, "MLflow ended"
            assert time.monotonic() < deadline, "MLflow does not answer"
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=5) as reply:  # noqa: S310 (this machine's)
            return bool(reply.status == 200)
    except (URLError, TimeoutError):
        return False


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_the_page_of_a_link_shows_that_run_alone(
    mlruns: Mlruns, locked: dict[str, LockedStage], server: str, tmp_path: Path
) -> None:
    """In a real browser: that run in the list, and no other run of either site."""
    ids = runs_of(mlruns, "audit@alder")
    everyone = {*ids, *runs_of(mlruns, "audit@birch")}
    for content, place in PLACES.items():
        link = search_url(server, EXPERIMENT, "audit@alder", locked[content].made)
        shown = _page_of(link, tmp_path / content)

        assert {run for run in everyone if run in shown} == {ids[place]}


def _page_of(link: str, profile: Path) -> str:
    """Return what a page holds once its scripts have run."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            f"--user-data-dir={profile}",
            "--window-size=1600,1200",
            "--virtual-time-budget=60000",
            link,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout
