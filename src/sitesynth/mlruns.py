"""What is in `mlruns/`: MLflow's database `mlflow.db`, its `artifacts/`, and journals to copy.

One experiment per study. In it one parent run, the study itself, and below that one run per stage
instance, named as DVC names it (`train_autoencoder@alder`); below a stage's, the runs that it
reports as parts of itself, such as trials. A stage's newest finished run carries
the tag `current = true`, so that the filter `tags.current = "true"` shows what was run last. A
finished run says by the tag `made` what it wrote, as a digest that dvc.lock gives too; of those
that wrote the same, the newest carries `made_last = true`: it is the one whose files lie there.

The only module that imports mlflow.
"""

import json
import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from sitesynth.storage import replacing, sweep
from sitesynth.tracking import (
    ALIVE,
    ARTIFACTS,
    EVENTS,
    is_locked,
    journal_folders,
    locked,
    mlruns_folder,
)


# Read when mlflow is imported: it tells nobody, and says nothing below a warning.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

from mlflow import Image
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient, set_tracking_uri
from mlflow.types import ColSpec, DataType, Schema


__all__ = ["Column", "Mlruns", "artifacts_folder", "database_uri", "write_model_file"]

T = TypeVar("T")

MAX_METRICS = 1000
"""That MLflow takes at once."""

MAX_PARAMS = 100

MAX_DIGEST = 36
"""Characters of a data set's digest that MLflow keeps."""

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Table and column of every path that MLflow stores; it makes them absolute."""


def artifacts_folder() -> Path:
    """Return the folder of every run's and model's files."""
    return mlruns_folder().resolve() / "artifacts"


def database_uri() -> str:
    """Return the address by which MLflow's own commands find the database."""
    return f"sqlite:///{mlruns_folder().resolve() / 'mlflow.db'}"


@final
@dataclass(frozen=True, slots=True)
class Column:
    """A column of a registered model's input or output."""

    name: str
    kind: str
    """Name of an MLflow type: `binary` travels as base64."""
    required: bool


def write_model_file(
    folder: Path,
    *,
    inputs: Sequence[Column],
    outputs: Sequence[Column],
    loader: str,
    files: str,
    environment: str,
    example: str,
) -> None:
    """Write `MLmodel`, by which MLflow loads and serves what is in a folder.

    Args:
        folder: Where.
        inputs: What the model is asked with.
        outputs: What it answers.
        loader: Name of the module that loads it.
        files: Subfolder that the module is given.
        environment: File that says with which versions.
        example: File that holds one row of the input, as JSON in pandas' orientation `split`.
    """
    model = Model(
        signature=ModelSignature(_schema(inputs), _schema(outputs)),
        saved_input_example_info={
            "artifact_path": example,
            "type": "dataframe",
            "pandas_orient": "split",
        },
    )
    model.add_flavor(
        "python_function",
        loader_module=loader,
        data=files,
        env={"virtualenv": environment},
        python_version=platform.python_version(),
    )
    model.save(str(folder / "MLmodel"))


def _schema(columns: Sequence[Column]) -> Schema:
    return Schema(
        [
            ColSpec(DataType[column.kind], column.name, required=column.required)
            for column in columns
        ]
    )


@final
class Mlruns:
    """MLflow's database, open; made if there is none, repaired if its folder was moved."""

    def __init__(self) -> None:
        # One at a time: of several processes that create or migrate a database, one survives.
        with self._locked():
            database = mlruns_folder() / "mlflow.db"
            if not database.exists():
                # A database whose creation was killed halfway would never open again.
                with replacing(database) as fresh:
                    MlflowClient(f"sqlite:///{fresh.resolve()}").search_experiments()
            _relocate(database, artifacts_folder())
            # The registry's store asks for logged models at the process's own address.
            set_tracking_uri(database_uri())
            self.client = MlflowClient(database_uri())
            self.client.search_experiments(max_results=1)
        self._inode = database.stat().st_ino
        self._copies: dict[Path, _Copy] = {}

    def is_there(self) -> bool:
        """Tell whether the database is still the one that was opened: `mlruns/` may be deleted."""
        database = mlruns_folder() / "mlflow.db"
        return database.exists() and database.stat().st_ino == self._inode

    def copy_journals(self) -> None:
        """Copy into MLflow what stages wrote since; delete the journals of stages that ended."""
        with self._locked():
            folders = journal_folders()
            self._copies = {
                folder: self._copies.get(folder) or _Copy(self.client, folder) for folder in folders
            }
            for copy in self._copies.values():
                copy.advance()

    def experiment_of(self, study: str) -> str:
        """Return the id of a study's experiment, which is made or restored if need be."""
        return _experiment_of(self.client, study)

    def current_run(self, study: str, stage: str) -> str | None:
        """Return the id of a stage's newest finished run, e.g. of `evaluate@synthetic`."""
        found = _search(self.client, self.experiment_of(study), dvc_stage=stage, current="true")
        return found[0].info.run_id if found else None

    def current_runs(self, study: str) -> list[tuple[str, dict[str, str]]]:
        """Return stage and params of every stage's newest finished run, by stage."""
        runs = _search(self.client, self.experiment_of(study), current="true")
        return sorted((run.data.tags["dvc_stage"], dict(run.data.params)) for run in runs)

    def run_that_made(self, study: str, stage: str, made: str) -> tuple[str, str] | None:
        """Return id and git commit of the run whose files lie there; None if it is not here.

        Args:
            study: The study.
            stage: As DVC names it: `evaluate@synthetic`.
            made: What it wrote; see `lockfile.LockedStage.made`.
        """
        wanted = {"dvc_stage": stage, "made": made, "made_last": "true"}
        found = _search(self.client, self.experiment_of(study), **wanted)
        return (found[0].info.run_id, found[0].data.tags["commit"]) if found else None

    @staticmethod
    def _locked() -> AbstractContextManager[None]:
        return locked(mlruns_folder() / "mlflow.lock")


@final
class _Copy:
    """How far one journal has been copied.

    Copying a journal twice equals copying it once: its run is found by the journal's name, and
    MLflow keeps one of several equal metrics.
    """

    def __init__(self, client: MlflowClient, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.num_bytes = 0
        self.run = ""
        self.experiment = ""
        self.stage = ""

    def advance(self) -> None:
        """Copy the events since the last call; end the run when its stage has ended."""
        # Asked before reading: what a stage wrote before it died is then all there is to read.
        is_alive = is_locked(self.folder / ALIVE)
        metrics: list[Metric] = []
        last: dict[str, Any] = {}
        for last in self._new_events():
            match last["event"]:
                case "start":
                    self._start(last)
                case "metrics":
                    metrics += [
                        Metric(name, value, last["time_ms"], last["step"])
                        for name, value in last["values"].items()
                    ]
                case "tags":
                    tags = [RunTag(name, value) for name, value in last["tags"].items()]
                    self.client.log_batch(self.run, tags=tags)
                case "params":
                    self._log_params(last["params"])
                case "dataset":
                    profile = json.dumps({"num_scans": last["num_scans"]})
                    self._log_dataset(last["name"], last["digest"], last["context"], profile)
                case "nested":
                    self._log_nested(last)
        for few in _chunks(metrics, MAX_METRICS):
            self.client.log_batch(self.run, metrics=few)
        if last.get("event") == "end" or not is_alive:
            self._end(last.get("status", "KILLED"), last.get("time_ms"))

    def _new_events(self) -> Iterator[dict[str, Any]]:
        with (self.folder / EVENTS).open("rb") as file:
            file.seek(self.num_bytes)
            lines = file.readlines()
        for line in lines:
            # The last line may be half written.
            if line.endswith(b"\n"):
                self.num_bytes += len(line)
                yield json.loads(line)

    def _start(self, start: Mapping[str, Any]) -> None:
        self.experiment = _experiment_of(self.client, start["study"])
        self.stage = start["name"]
        found = _search(self.client, self.experiment, journal=self.folder.name)
        if found:
            self.run = found[0].info.run_id
        else:
            self.run = self._create(start)
        self._log_params(start["params"])
        for name, digest in start["inputs"].items():
            self._log_dataset(name, digest, "input", None)

    def _create(self, start: Mapping[str, Any]) -> str:
        tags = {
            **start["tags"],
            "journal": self.folder.name,
            "stage": start["stage"],
            "dvc_stage": start["name"],
            "commit": start["commit"],
            "mlflow.source.git.commit": start["commit"],
            "mlflow.source.name": f"pipelines/{start['stage']}.py",
            "mlflow.parentRunId": _study_run(self.client, self.experiment, start),
        }
        run = self.client.create_run(
            self.experiment, start_time=start["time_ms"], tags=tags, run_name=start["name"]
        )
        return str(run.info.run_id)

    def _log_params(self, told: Mapping[str, Any]) -> None:
        params = [Param(name, value) for name, value in _flattened(told)]
        for few in _chunks(params, MAX_PARAMS):
            self.client.log_batch(self.run, params=few)

    def _log_images(self) -> None:
        """Let each figure be an image of the run too: the UI lays those of several runs in a grid.

        MLflow adds a random name to the figure's, so that what an earlier copy has logged is asked.
        """
        figures = sorted((self.folder / ARTIFACTS).rglob("*.png"))
        listed = self.client.list_artifacts(self.run, "images") if figures else []
        known = {Path(found.path).name.partition("+")[0] for found in listed}
        for figure in figures:
            key = "-".join(figure.relative_to(self.folder / ARTIFACTS).with_suffix("").parts)
            if key not in known:
                self.client.log_image(self.run, Image(str(figure)), key=key)

    def _log_dataset(self, name: str, digest: str, context: str, profile: str | None) -> None:
        dataset = Dataset(name, digest[:MAX_DIGEST], "local", "{}", profile=profile)
        tag = InputTag("mlflow.data.context", context)
        self.client.log_inputs(self.run, [DatasetInput(dataset, [tag])])

    def _log_nested(self, told: Mapping[str, Any]) -> None:
        """Make a run below the stage's, whole, unless an earlier copy has made it."""
        journal = f"{self.folder.name}/{told['name']}"
        found = _search(self.client, self.experiment, journal=journal)
        if found:
            run = found[0].info.run_id
        else:
            tags = {**told["tags"], "journal": journal, "stage": f"{self.stage}/nested"}
            tags["mlflow.parentRunId"] = self.run
            created = self.client.create_run(
                self.experiment, told["time_ms"], tags, run_name=told["name"]
            )
            run = created.info.run_id
        metrics = [
            Metric(name, value, told["time_ms"], step)
            for step, values in told["metrics"]
            for name, value in values.items()
        ]
        params = [Param(name, str(value)) for name, value in told["params"].items()]
        for few in _chunks(metrics, MAX_METRICS):
            self.client.log_batch(run, metrics=few)
        for few_params in _chunks(params, MAX_PARAMS):
            self.client.log_batch(run, params=few_params)
        self.client.set_terminated(run, end_time=told["time_ms"])

    def _end(self, status: str, time_ms: int | None) -> None:
        if self.run:
            if (self.folder / ARTIFACTS).exists():
                # A stage that was killed may have left half a figure.
                sweep(self.folder / ARTIFACTS)
                self.client.log_artifacts(self.run, str(self.folder / ARTIFACTS))
                self._log_images()
            self.client.set_terminated(self.run, status, time_ms)
            if status == "FINISHED":
                self._become_current()
        shutil.rmtree(self.folder)

    def _become_current(self) -> None:
        made = self.client.get_run(self.run).data.tags.get("made")
        self._become_only("current", dvc_stage=self.stage)
        if made is not None:
            self._become_only("made_last", dvc_stage=self.stage, made=made)

    def _become_only(self, tag: str, **among: str) -> None:
        """Let this run alone bear a tag among those that bear some others."""
        for older in _search(self.client, self.experiment, **among, **{tag: "true"}):
            self.client.set_tag(older.info.run_id, tag, "false")
        self.client.set_tag(self.run, tag, "true")


def _experiment_of(client: MlflowClient, study: str) -> str:
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return str(client.create_experiment(study, artifact_location=str(artifacts_folder())))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _study_run(client: MlflowClient, experiment: str, start: Mapping[str, Any]) -> str:
    """Return the run that is the study itself: the parent of every stage's."""
    found = _search(client, experiment, stage="study")
    if found:
        return str(found[0].info.run_id)
    tags = {"stage": "study"}
    run = client.create_run(experiment, start["time_ms"], tags, run_name=start["study"])
    client.set_terminated(run.info.run_id, end_time=start["time_ms"])
    return str(run.info.run_id)


def _search(client: MlflowClient, experiment: str, **tags: str) -> list[Run]:
    """Find the runs that bear some tags, newest first."""
    wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
    return list(client.search_runs([experiment], wanted, ViewType.ACTIVE_ONLY))


def _flattened(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name each setting by its path: `{"diffusion": {"width": 8}}` gives `diffusion.width`."""
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _relocate(database: Path, artifacts: Path) -> None:
    """Point every path in a database at its artifacts, where the folder was moved."""
    with closing(sqlite3.connect(database)) as connection, connection:
        known = "select distinct artifact_location from experiments where experiment_id > 0"
        for (old,) in connection.execute(known).fetchall():
            if old == str(artifacts):
                continue
            for table, column in LOCATIONS:
                connection.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"where {column} = ? or substr({column}, 1, ?) = ?",
                    (str(artifacts), len(old) + 1, old, len(old) + 1, f"{old}/"),
                )
