"""A stage that is forked from a warm process is, to whoever started it, the stage itself."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines import _warm


ROOT = Path(__file__).parents[2]

PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stages start warm on Linux only")

STAGE = """
import os, sys, signal, time
was_warm = "torch" in sys.modules
print("warm" if was_warm else "cold", sys.argv[1:], os.environ.get("DVC_STAGE"), flush=True)
match sys.argv[1]:
    case "end":
        print("on stderr", file=sys.stderr)
        sys.exit(int(sys.argv[2]))
    case "raise":
        raise ValueError("of the stage")
    case "leave":
        import atexit, threading
        atexit.register(print, "last")
        threading.Timer(0.3, print, ["a thread"]).start()
        sys.exit("said at the end" if sys.argv[2:] else None)
    case "die":
        os.kill(os.getpid(), signal.SIGKILL)
    case "wait":
        try:
            print("waiting", flush=True)
            for _ in range(6000):
                time.sleep(0.1)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            sys.exit(5)
print(__name__, __file__, sys.stdin.read())
"""


def wait_for(happened: Callable[[], object]) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Return whether a process is there, and is no corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent_of(pid: int) -> int:
    """Return the process that has started another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == folder and is_alive(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


class Study:
    """A folder with one stage, `pipelines/act.py`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=ignored)
        self.stage.write_text(STAGE)

    @property
    def stage(self) -> Path:
        """Return the stage's file."""
        return self.folder / "pipelines/act.py"

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Start the stage as DVC does."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.act", *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """Return what the stage's process inherits: the same in every test."""
        changing = {_warm.SWITCH, "PYTEST_CURRENT_TEST"}
        own = {name: value for name, value in os.environ.items() if name not in changing}
        return own | {"PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT / "src")])}

    def run(self, *arguments: str, given: str = "", **variables: str) -> tuple[int, str, str]:
        """Run the stage: its exit code, and what it wrote to its two streams."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(given, timeout=PATIENCE_S)
        return process.returncode, out, err

    def end(self) -> None:
        """Kill whatever is left."""
        for pid in processes_in(self.folder):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Return a study whose first stage was run, and has left a warm process behind."""
    study = Study(tmp_path_factory.mktemp("study"))
    # Who runs the tests in the background may have told them, and so all they start, to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, out, _ = study.run("end", "0")
        assert (code, out.split()[0]) == (0, "cold")
        wait_for(lambda: study.run("end", "0")[1].startswith("warm"))
        yield study
    finally:
        study.end()
        signal.signal(signal.SIGINT, before)


def test_it_is_told_what_its_asker_was_told(study: Study) -> None:
    """Arguments, environment, streams and exit code are the asker's."""
    assert study.run("end", "3", DVC_STAGE="act@alder") == (
        3,
        "warm ['end', '3'] act@alder\n",
        "on stderr\n",
    )
    _, out, _ = study.run("read", given="what it is given")
    assert out.splitlines()[1] == f"__main__ {study.stage} what it is given"


def test_an_error_comes_out_as_of_a_cold_stage(study: Study) -> None:
    """With the stage's lines, and exit code 1."""
    code, _, err = study.run("raise")

    assert code == 1
    assert "Traceback" in err
    assert err.endswith("ValueError: of the stage\n")


def test_it_ends_as_python_does(study: Study) -> None:
    """Threads are waited for and what was registered is run, though objects are left lying."""
    code, out, err = study.run("leave")
    assert (code, out.splitlines()[1:], err) == (0, ["a thread", "last"], "")

    code, out, err = study.run("leave", "told")
    assert (code, out.splitlines()[1:], err) == (1, ["a thread", "last"], "said at the end\n")


def test_it_runs_the_code_that_lies_there(tmp_path: Path) -> None:
    """An edit, of the stage or of what it imports, is met by no older self."""
    study = Study(tmp_path)
    helper = tmp_path / "pipelines/evaluate.py"

    def says(line: str) -> bool:
        return study.run()[1] == line

    study.stage.write_text(
        "import sys\nwas_warm = 'torch' in sys.modules\nfrom pipelines.evaluate import SAID\n"
        "print(SAID, was_warm)\n"
    )
    try:
        for said in ("one", "two"):
            helper.write_text(f"SAID = {said!r}\n")
            assert study.run()[1] == f"{said} False\n"
            wait_for(partial(says, f"{said} True\n"))
        study.stage.write_text("import sys; print('edited', 'torch' in sys.modules)")
        assert study.run()[1] == "edited False\n"
    finally:
        study.end()


@contextmanager
def waiting(study: Study) -> Iterator["subprocess.Popen[str]"]:
    """Start a stage that waits, warm; it is over after the block, whatever happens there."""
    with study.start("wait") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("warm")
            assert process.stdout.readline() == "waiting\n"
            yield process
        finally:
            process.kill()


def test_whoever_kills_the_asker_kills_the_stage(study: Study) -> None:
    """DVC, a scheduler or a user knows one process only, and starts the next when it is gone."""
    before = set(processes_in(study.folder))
    with waiting(study) as process:
        assert len(set(processes_in(study.folder)) - before) == 3  # asker, keeper, stage

        process.kill()

    wait_for(lambda: set(processes_in(study.folder)) <= before)


def test_signals_reach_the_stage(study: Study) -> None:
    """An interrupted stage tidies up; one that was ended by a signal says so."""
    with waiting(study) as process:
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S)[0] == "interrupted\n"
    assert process.returncode == 5

    with waiting(study) as process:
        process.terminate()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM

    assert study.run("die")[0] == -signal.SIGKILL


def test_a_stage_without_its_keeper_has_failed_and_is_over(study: Study) -> None:
    """Nobody may start it again while it still writes."""
    before = set(processes_in(study.folder))
    with waiting(study) as process:
        family = set(processes_in(study.folder)) - before - {process.pid}
        stage = next(pid for pid in family if parent_of(pid) in family)

        os.kill(parent_of(stage), signal.SIGKILL)
        time.sleep(0.3)
        assert process.poll() is None
        os.kill(stage, signal.SIGTERM)

        assert "Run it again" in process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 1


@pytest.mark.parametrize(
    "variables", [{"OMP_NUM_THREADS": "7"}, {_warm.SWITCH: "off"}, {"WORLD_SIZE": "2"}]
)
def test_who_inherits_something_else_starts_cold(study: Study, variables: dict[str, Any]) -> None:
    """The number of threads is read once; processes of one training find each other."""
    assert study.run("end", "0", **variables)[1].startswith("cold")


def test_a_server_ends_when_nobody_asks(study: Study, tmp_path: Path) -> None:
    """Of two that are started, one at once."""
    linger_s = 4.0
    code = f"from pipelines import _warm; _warm.PACKAGES = (); _warm.LINGER_S = {linger_s}; "
    command = [sys.executable, "-c", code + "_warm.main()"]
    began = time.monotonic()
    both = [subprocess.Popen(command, cwd=tmp_path, env=study.environment) for _ in range(2)]

    wait_for(lambda: any(server.poll() is not None for server in both))
    assert time.monotonic() - began < linger_s
    assert [server.wait(PATIENCE_S) for server in both] == [0, 0]
    assert time.monotonic() - began > linger_s


def test_what_is_warm_of_ours_is_known_by_its_date() -> None:
    """A module whose edit an asker does not see would be an older self; nothing reports home."""
    code = """
import sys
from pipelines import _warm
known = {path for path, _ in _warm._our_files()}
_warm._warm_up()
print(*sys.modules)
ours = [module for name, module in sys.modules.items() if name.split(".")[0] in _warm.OURS]
print(*[module.__file__ for module in ours if module.__file__ not in known])
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    warm, unknown = done.stdout.splitlines()
    assert {"torch", "monai", "pandas", "pipelines._stage", "sitesynth.images"} <= set(warm.split())
    assert not unknown
    assert "mlflow" not in warm.split()


def test_stages_of_every_site_and_strategy_are_warm() -> None:
    """Those that DVC starts several times."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    several = {f"pipelines.{name}" for name, entry in stages.items() if "matrix" in entry}

    assert {name for name in _warm.PACKAGES if name.startswith("pipelines.")} == several
