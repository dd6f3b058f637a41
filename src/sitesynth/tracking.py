"""What a stage tells about itself while it runs.

A stage writes a *journal*, `mlruns/journals/<time>-<stage@item>/`: one line of JSON per event, and
the figures and files it wants kept. A *recorder* (`sitesynth.recorder`), one process for all
stages of a `dvc repro`, copies journals into MLflow while they grow (`sitesynth.mlruns`).

Why not call MLflow from the stage: importing it and opening its database takes 3 s, sixty times
per study, and a fresh database does not survive two first users. A line in a file takes
microseconds, and the journal of a stage that was killed is still there.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

from sitesynth.progress import show_progress
from sitesynth.storage import replacing, write_text


if TYPE_CHECKING:
    import matplotlib.figure


__all__ = [
    "ALIVE",
    "ARTIFACTS",
    "EVENTS",
    "OnStep",
    "Progress",
    "Run",
    "Silent",
    "git_commit",
    "is_locked",
    "journal_folders",
    "keeps_to_the_study",
    "locked",
    "mlruns_folder",
    "record_run",
    "recorder_lock",
]

OnStep = Callable[[int, Mapping[str, float]], None]
"""Told after each step: its number, counted from 1, and what was measured in it."""

Progress = Callable[[int, str], AbstractContextManager[OnStep]]
"""Given the number of steps and a title, shows how far a loop is; see `Run.progress`."""

MLRUNS = "SITESYNTH_MLRUNS"
"""Environment variable: another folder than `mlruns`."""

RECORDER = "SITESYNTH_RECORDER"
"""Environment variable: `off` leaves the journals for whoever next opens MLflow's database."""

JOURNALS = "journals"
EVENTS = "events.jsonl"
ARTIFACTS = "artifacts"
ALIVE = "alive"
"""File in a journal that its writer holds a lock on: a kernel drops a dead process's locks."""


@runtime_checkable
class Run(Protocol):
    """What a stage may tell about itself while it runs."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Record numbers, as of an optimizer step or round; None for a stage's one result."""
        ...

    def log_figure(self, name: str, figure: "matplotlib.figure.Figure") -> None:
        """Keep a figure as the PNG artifact `<name>.png`; `name` may contain folders."""
        ...

    def log_file(self, path: Path, *, folder: str) -> None:
        """Keep a copy of a file as an artifact in `folder`; "" is the top."""
        ...

    def log_text(self, name: str, text: str) -> None:
        """Keep a text as the artifact `name`, whose suffix tells MLflow how to show it."""
        ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run, by which runs are searched."""
        ...

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record what the run was made of besides its settings: MLflow compares runs by it."""
        ...

    def log_nested(
        self,
        name: str,
        *,
        params: Mapping[str, object],
        metrics: Sequence[tuple[int, Mapping[str, float]]],
        tags: Mapping[str, str],
    ) -> None:
        """Record a run of its own below this one that has ended, e.g. a trial.

        Args:
            name: Its name; unique below this run.
            params: What it was asked to do.
            metrics: What was measured, by step.
            tags: By which it can be searched.
        """
        ...

    def log_dataset(self, name: str, *, digest: str, num_scans: int, context: str) -> None:
        """Record that the stage used a set of scans.

        Args:
            name: What the set is, e.g. `alder/train`.
            digest: Of its content; the first 32 characters are kept.
            num_scans: Its size.
            context: What it was used for, e.g. `training`.
        """
        ...

    def progress(self, total: int, title: str) -> AbstractContextManager[OnStep]:
        """Show how far a loop of `total` steps is, and record what is measured in each.

        The context is a function to call after each step. Measured values become metrics over
        steps, named as given.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class Silent:
    """A run that records nothing and shows nothing."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Do nothing."""

    def log_figure(self, name: str, figure: "matplotlib.figure.Figure") -> None:
        """Do nothing."""

    def log_file(self, path: Path, *, folder: str) -> None:
        """Do nothing."""

    def log_text(self, name: str, text: str) -> None:
        """Do nothing."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Do nothing."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Do nothing."""

    def log_nested(
        self,
        name: str,
        *,
        params: Mapping[str, object],
        metrics: Sequence[tuple[int, Mapping[str, float]]],
        tags: Mapping[str, str],
    ) -> None:
        """Do nothing."""

    def log_dataset(self, name: str, *, digest: str, num_scans: int, context: str) -> None:
        """Do nothing."""

    def progress(self, total: int, title: str) -> AbstractContextManager[OnStep]:  # noqa: ARG002
        """Return a function that does nothing."""
        return nullcontext(_ignore)


def _ignore(step: int, values: Mapping[str, float]) -> None:
    """Do nothing."""


def mlruns_folder() -> Path:
    """Return the folder of MLflow's database and artifacts: `mlruns`, if not told otherwise."""
    return Path(os.environ.get(MLRUNS, "mlruns"))


def keeps_to_the_study() -> bool:
    """Return whether what runs tell stays in the study's own folder, where its scans are."""
    return mlruns_folder().resolve().is_relative_to(Path.cwd())


def journal_folders() -> list[Path]:
    """Return the journals that MLflow does not have yet, oldest first."""
    return sorted((mlruns_folder() / JOURNALS).glob("[0-9]*"))


def recorder_lock() -> Path:
    """Return the lock file that a recorder holds while it lives."""
    return mlruns_folder() / "recorder.lock"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for it as long as another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds a lock file."""
    if not path.exists():
        return False
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def record_run(
    stage: str,
    item: str | None,
    *,
    study: str,
    params: Mapping[str, object],
    inputs: Mapping[str, str],
    tags: Mapping[str, str],
) -> Iterator[Run]:
    """Record what happens in the block as one MLflow run.

    Args:
        stage: Name of the DVC stage.
        item: Which instance of it, as DVC names it after `@`; None where there is one only.
        study: Name of the study; MLflow's experiment bears it.
        params: The settings the stage obeys, by section.
        inputs: Digest of each input, by name.
        tags: Tags from the start, e.g. `site`.

    Yields:
        The run. An exception marks it as failed and is raised on; a stage that is killed leaves a
        run that is marked as killed.
    """
    name = stage if item is None else f"{stage}@{item}"
    folder = mlruns_folder() / JOURNALS / f"{time.time_ns()}-{os.getpid()}-{name}"
    # Begun under a name that the recorder overlooks: a journal appears with its lock held.
    begun = folder.with_name(f".{folder.name}")
    begun.mkdir(parents=True)
    status = "FAILED"
    with locked(begun / ALIVE), (begun / EVENTS).open("a", encoding="utf-8", buffering=1) as file:
        begun.rename(folder)
        run = _JournalRun(folder, file.write)
        start = {"study": study, "stage": stage, "item": item, "name": name, "commit": git_commit()}
        run.write("start", **start, params=params, inputs=dict(inputs), tags=dict(tags))
        _start_recorder()
        try:
            yield run
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            run.write("end", status=status)


@final
@dataclass(frozen=True, slots=True)
class _JournalRun:
    """Writes events into a journal."""

    folder: Path
    write_line: Callable[[str], object]

    def write(self, event: str, **content: Any) -> None:
        moment = time.time_ns() // 1_000_000
        # Not `allow_nan=False`: that a loss became NaN is what one looks for in a journal.
        line = json.dumps({"event": event, "time_ms": moment, **content}, default=str)
        self.write_line(line + "\n")

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        self.write("metrics", step=step or 0, values={k: float(v) for k, v in metrics.items()})

    def log_figure(self, name: str, figure: "matplotlib.figure.Figure") -> None:
        with replacing(self._artifact(f"{name}.png")) as temporary:
            figure.savefig(temporary, dpi=150, bbox_inches="tight")

    def log_file(self, path: Path, *, folder: str) -> None:
        copy = self._artifact(f"{folder}/{path.name}" if folder else path.name)
        with replacing(copy) as temporary:
            shutil.copyfile(path, temporary)

    def log_text(self, name: str, text: str) -> None:
        write_text(self._artifact(name), text)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.write("tags", tags=dict(tags))

    def log_params(self, params: Mapping[str, object]) -> None:
        self.write("params", params=dict(params))

    def log_nested(
        self,
        name: str,
        *,
        params: Mapping[str, object],
        metrics: Sequence[tuple[int, Mapping[str, float]]],
        tags: Mapping[str, str],
    ) -> None:
        told = [[step, {k: float(v) for k, v in values.items()}] for step, values in metrics]
        self.write("nested", name=name, params=dict(params), metrics=told, tags=dict(tags))

    def log_dataset(self, name: str, *, digest: str, num_scans: int, context: str) -> None:
        self.write("dataset", name=name, digest=digest, num_scans=num_scans, context=context)

    @contextmanager
    def progress(self, total: int, title: str) -> Iterator[OnStep]:
        with show_progress(total, title) as show:

            def on_step(step: int, values: Mapping[str, float]) -> None:
                show(step, values)
                self.log_metrics(values, step=step)

            yield on_step

    def _artifact(self, name: str) -> Path:
        return self.folder / ARTIFACTS / name


def git_commit() -> str:
    """Return the git commit of the working folder, `unknown` outside git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _start_recorder() -> None:
    """Start the process that copies journals into MLflow, unless there is one."""
    # The journal exists before this look, and a recorder looks once more after it let go of its
    # lock: one of the two sees the other.
    if os.environ.get(RECORDER) == "off" or is_locked(recorder_lock()):
        return
    with (mlruns_folder() / "recorder.log").open("ab") as log:
        # In its own session, because Ctrl-C is meant for the stage.
        subprocess.Popen(
            [sys.executable, "-m", "sitesynth.recorder"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
