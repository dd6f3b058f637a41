"""Run a stage whose signature is its entry in dvc.yaml.

A stage's keyword arguments say, by their types and names, everything the stage touches:

    In                        a path it reads           listed under `deps`
    Out                       a path it writes          listed under `outs` or `metrics`
    Measured                  a path it writes that     not hashed: it holds wall-clock times or
                              differs from run to run   run ids (ADR 10)
    Scratch                   a folder for checkpoints  nobody else's business: kept until the
                              that survives a kill      stage has succeeded, new for new inputs
    Kept                      a folder that outlives    nobody else's business: what it holds must
                              runs with other knobs     say itself what it is of
    a field of `Settings`     knobs it obeys            listed under `params`
    a `Knob`                  one knob of a section     listed there by its dotted name
    another str               which instance it is      filled in from `matrix`
    a `Run`                   where it reports          recorded in MLflow
    the `Processes`           who computes it together  `torchrun` may start several of them
"""

import argparse
import gc
import inspect
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from sitesynth.errors import MissingInputError, SitesynthError, TrainingError
from sitesynth.processes import Processes
from sitesynth.settings import Settings, load_settings
from sitesynth.storage import (
    digest_of,
    digest_of_file,
    dvc_digest,
    dvc_digest_of_file,
    told,
    write_json,
)
from sitesynth.tracking import Run, Silent, record_run


__all__ = ["In", "Kept", "Knob", "Measured", "Out", "Scratch", "StageSignature", "main"]

In = Annotated[Path, "dep"]
Out = Annotated[Path, "out"]
Measured = Annotated[Path, "measured"]
Scratch = Annotated[Path, "scratch"]
Kept = Annotated[Path, "kept"]

PARAMS_FILE = Path("params.yaml")

CHECKPOINTS = Path("checkpoints")
KEPT = CHECKPOINTS / "kept"
TIMINGS = Path("timings")
"""Seconds of each stage instance's last run, of the clock and of processors; never hashed."""

MARKED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Knob:
    """Where params.yaml has what an argument is given: `Annotated[int, Knob("split.fraction")]`.

    For a stage with many instances that obeys one knob of a large section: dvc.lock has all of what
    a stage obeys for every instance, and DVC writes it anew after each.
    """

    key: str
    """The section's name, a dot, and the knob's."""


@dataclass(frozen=True, slots=True)
class StageSignature:
    """What one stage reads, writes and obeys, by the names of its arguments."""

    inputs: frozenset[str]
    outputs: frozenset[str]
    measured: frozenset[str]
    items: frozenset[str]
    params: Mapping[str, str]
    """By argument: the key of params.yaml that it is given."""
    runs: frozenset[str]
    scratch: frozenset[str]
    kept: frozenset[str]
    processes: frozenset[str]

    @classmethod
    def of(cls, run: Callable[..., None]) -> "StageSignature":
        """Read the signature of a stage's `run` function."""
        hints = get_type_hints(run, include_extras=True)
        names = inspect.signature(run).parameters
        params = {name: key for name in names if (key := _key_of(name, hints[name])) is not None}
        return cls(
            inputs=frozenset(name for name in names if hints[name] == In),
            outputs=frozenset(name for name in names if hints[name] == Out),
            measured=frozenset(name for name in names if hints[name] == Measured),
            items=frozenset(name for name in names if hints[name] is str) - set(params),
            params=params,
            runs=frozenset(name for name in names if hints[name] is Run),
            scratch=frozenset(name for name in names if hints[name] == Scratch),
            kept=frozenset(name for name in names if hints[name] == Kept),
            processes=frozenset(name for name in names if hints[name] is Processes),
        )

    def parse(self, argv: Sequence[str] | None) -> dict[str, Any]:
        """Parse the stage's command line; every flag is required."""
        parser = argparse.ArgumentParser(allow_abbrev=False)
        for name in sorted(self.inputs | self.outputs | self.measured):
            parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True)
        for name in sorted(self.items):
            parser.add_argument(f"--{name.replace('_', '-')}", required=True)
        return vars(parser.parse_args(argv))


def _key_of(name: str, hint: Any) -> str | None:
    """Return which key of params.yaml an argument is given; None if it is no knob."""
    knobs = [mark.key for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Knob)]
    return knobs[0] if knobs else name if name in Settings.model_fields else None


def obeyed_by(stage: StageSignature, settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a stage's arguments are given of the settings, and the same as params.yaml says.

    The second is in sections, of which it holds what the stage obeys.
    """
    given: dict[str, Any] = {}
    include: dict[str, Any] = {}
    for name, key in sorted(stage.params.items()):
        section, _, knob = key.partition(".")
        value = getattr(settings, section)
        if knob:
            include.setdefault(section, set()).add(knob)
            value = getattr(value, knob)
        else:
            include[section] = True
        given[name] = value
    return given, settings.model_dump(mode="json", include=include)


def name_of(run: Callable[..., None]) -> str:
    """Return a stage's name; its `__module__` is `__main__` while it runs."""
    return Path(inspect.getfile(run)).stem


def digest_of_input(path: Path) -> str:
    """Return a digest of a file, or of a folder's names and contents.

    It marks in MLflow which inputs a run saw. A file over `MARKED_BYTES` counts by its size, so
    that a run on large volumes does not read them twice; DVC has their digests.
    """
    if path.is_file():
        return digest_of_file(path)
    marks = []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        size = file.stat().st_size
        content = digest_of_file(file) if size <= MARKED_BYTES else size
        marks.append([file.relative_to(path).as_posix(), content])
    return digest_of(marks)


def digest_of_outputs(paths: Iterable[Path]) -> str:
    """Return a digest of what a stage wrote: `LockedStage.made` of what DVC will say of it.

    By it the report finds the run that made a figure. Large volumes are read once more, as DVC
    does; that is little beside having made them.
    """
    return digest_of(
        {
            path.as_posix(): dvc_digest(path) if path.is_dir() else dvc_digest_of_file(path)
            for path in paths
        }
    )


def main(run: Callable[..., None], argv: Sequence[str] | None = None) -> None:
    """Run a stage from the command line; an error of ours, or of a file, has exit code 2."""
    if not gc.isenabled():
        # What is imported stays to the end, and is not looked at again.
        gc.freeze()
        gc.enable()
    try:
        _run_stage(run, argv)
    except SitesynthError as error:
        sys.stderr.write(f"\n{name_of(run)}: {type(error).__name__}: {error}\n\n")
        sys.exit(2)
    except OSError as error:
        sys.stderr.write(f"\n{name_of(run)}: {type(error).__name__}: {told(error)}\n\n")
        sys.exit(2)


def _run_stage(run: Callable[..., None], argv: Sequence[str] | None) -> None:
    """Check the inputs, load the settings, open the MLflow run and call the stage.

    Raises:
        MissingInputError: If a path the stage reads does not exist.
        SettingsError: If params.yaml is not a valid study.
        TrainingError: If several processes were started for what one does.
    """
    stage = StageSignature.of(run)
    processes = Processes.from_environment()
    if processes.count > 1 and not stage.processes:
        raise TrainingError(
            f"{name_of(run)} is the work of one process, and {processes.count} were started; start "
            "it with python, without torchrun."
        )
    arguments = stage.parse(argv)
    items = {name: arguments[name] for name in sorted(stage.items)}
    settings = load_settings(PARAMS_FILE, site=items.get("site"))
    for name in sorted(stage.inputs):
        if not arguments[name].exists():
            raise MissingInputError(
                f"{name_of(run)} reads {arguments[name]}, which does not exist; "
                "`dvc repro` runs the stage that writes it."
            )
    for name in sorted(stage.outputs | stage.measured):
        arguments[name].parent.mkdir(parents=True, exist_ok=True)
    obeyed, params = obeyed_by(stage, settings)
    inputs = {name: digest_of_input(arguments[name]) for name in sorted(stage.inputs)}
    item = "-".join(items.values()) or None
    started, spent = time.monotonic(), processor_seconds()
    scratches, key = CHECKPOINTS / f"{name_of(run)}@{item}", digest_of([params, inputs])[:16]
    given: dict[str, Any]
    kept = dict.fromkeys(stage.kept, KEPT / f"{name_of(run)}@{item}")
    if not processes.is_first:
        given = dict.fromkeys(stage.runs, Silent()) | dict.fromkeys(stage.scratch, scratches / key)
        run(**arguments, **obeyed, **given, **kept, **dict.fromkeys(stage.processes, processes))
        return
    with (
        record_run(
            name_of(run), item, study=settings.study, params=params, inputs=inputs, tags=items
        ) as tracked,
        scratch_folder(scratches, key) as scratch,
    ):
        given = dict.fromkeys(stage.runs, tracked) | dict.fromkeys(stage.scratch, scratch)
        run(**arguments, **obeyed, **given, **kept, **dict.fromkeys(stage.processes, processes))
        seconds = time.monotonic() - started
        tracked.log_metrics({"stage_seconds": seconds})
        processor = processor_seconds() - spent
        tracked.set_tags({"made": digest_of_outputs([arguments[n] for n in stage.outputs])})
    timing = {"seconds": seconds, "processor": processor, "accelerator": has_accelerator()}
    write_json(TIMINGS / f"{name_of(run)}@{item}.json", timing)


def processor_seconds() -> float:
    """Return the processor time of this process, and of those that it has started and awaited."""
    told = os.times()
    return told.user + told.system + told.children_user + told.children_system


def has_accelerator() -> bool:
    """Return whether a stage that uses torch found an accelerator to use it on."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


@contextmanager
def scratch_folder(folder: Path, key: str) -> Iterator[Path]:
    """Give a stage instance the folder that its last, killed run left, if its inputs are the same.

    The folder of other inputs is deleted at the start, and the stage's own when it has succeeded.
    """
    mine = folder / key
    for other in folder.glob("*"):
        if other != mine:
            shutil.rmtree(other)
    yield mine
    shutil.rmtree(folder, ignore_errors=True)
