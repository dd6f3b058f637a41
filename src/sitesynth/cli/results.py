"""`sitesynth compare`, `sitesynth runs` and `sitesynth ui`: what the study found."""

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import click

from sitesynth.errors import SitesynthError
from sitesynth.tracking import mlruns_folder


__all__ = [
    "charts_url",
    "choose_strategies",
    "compare",
    "comparison_url",
    "runs",
    "study_url",
    "ui",
]

COMPARISON = Path("results/comparison.json")

TRAINING = "workflowType=machine_learning"
"""Which of its two faces MLflow shows; the other is about language models."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the file itself.")
def compare(*, as_json: bool) -> None:
    """Print the table of strategies, as results/comparison.json has it.

    \b
    Example:
      sitesynth compare
    """  # noqa: D301
    from sitesynth.evaluation.tables import render_comparison  # noqa: PLC0415
    from sitesynth.storage import read_json  # noqa: PLC0415

    comparison = read_json(COMPARISON)
    click.echo(json.dumps(comparison, indent=2) if as_json else render_comparison(comparison))


@click.command()
@click.argument("stage")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(stage: str, *, as_json: bool) -> None:
    """Print the MLflow run that made what dvc.lock says of a stage, as figures of the report do.

    STAGE is named as DVC does; without an item, all its items' runs are printed.

    \b
    Example:
      sitesynth runs evaluate@synthetic
    """  # noqa: D301
    from sitesynth.lockfile import items_of, read_lock  # noqa: PLC0415
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415
    from sitesynth.reports.run_links import ADDRESS  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415

    study = load_settings(Path("params.yaml")).study
    lock = read_lock(Path("dvc.lock"))
    names = items_of(lock, stage)
    if not names:
        raise SitesynthError(
            f"dvc.lock has no finished stage '{stage}'. `dvc stage list` names the stages; "
            f"`dvc repro {stage}` runs one."
        )
    mlruns = Mlruns()
    mlruns.copy_journals()
    experiment = mlruns.experiment_of(study)
    makers = {name: mlruns.run_that_made(study, name, lock[name].made) for name in names}
    absent = [name for name, maker in makers.items() if maker is None]
    if absent:
        raise SitesynthError(
            f"no run in {mlruns_folder()} made what dvc.lock says of {', '.join(absent)}: it was "
            "made elsewhere, or before runs said what they made. `dvc repro -f -s STAGE` makes it "
            "here."
        )
    found = [
        {
            "stage": name,
            "run": run,
            "commit": commit,
            "url": f"{ADDRESS}/#/experiments/{experiment}/runs/{run}",
        }
        for name, maker in makers.items()
        if maker is not None
        for run, commit in [maker]
    ]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for told in found:
        click.echo(f"{told['stage']}  run {told['run']}  commit {told['commit'][:12]}")
        click.echo(f"  {told['url']}")


@click.command()
@click.option("--port", type=int, default=5000, show_default=True)
@click.option(
    "--compare",
    "chosen",
    metavar="NAMES",
    help="Strategies to compare, separated by commas; all that have been evaluated by default.",
)
def ui(*, port: int, chosen: str | None) -> None:
    """Serve MLflow's UI on this study, and print where it compares the strategies.

    \b
    Example:
      sitesynth ui --compare centralized,federated,synthetic
    """  # noqa: D301
    from sitesynth.mlruns import Mlruns, artifacts_folder, database_uri  # noqa: PLC0415
    from sitesynth.reports.run_links import ADDRESS, EXPERIMENT  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415

    settings = load_settings(Path("params.yaml"))
    strategies = choose_strategies(chosen, settings.strategies)
    _check_free(port)
    mlruns = Mlruns()
    mlruns.copy_journals()
    experiment = mlruns.experiment_of(settings.study)
    found = {name: mlruns.current_run(settings.study, f"evaluate@{name}") for name in strategies}
    evaluated = [run for run in found.values() if run is not None]
    if chosen is not None and len(evaluated) < len(found):
        absent = ", ".join(f"evaluate@{name}" for name, run in found.items() if run is None)
        raise SitesynthError(
            f"--compare {chosen}: {absent} has not finished in {artifacts_folder().parent}; "
            "`dvc repro evaluate` runs what is missing."
        )
    address = f"http://127.0.0.1:{port}"
    click.echo(f"study {settings.study}: {study_url(address, experiment)}")
    if evaluated:
        click.echo(f"strategies compared: {comparison_url(address, experiment, evaluated)}")
        click.echo(f"strategies in charts: {charts_url(address, experiment)}")
    if (address, experiment) != (ADDRESS, EXPERIMENT):
        click.echo(
            f"The report's links lead to {ADDRESS} and experiment {EXPERIMENT}, and so not here; "
            "`sitesynth runs STAGE` names the run behind a figure."
        )
    click.echo("Ctrl-C ends it.")
    sys.stdout.flush()
    # One worker and no job server: 0.5 GiB and 6 s to start, not 3.4 GiB and 37 s.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
    store = ["--backend-store-uri", database_uri(), "--artifacts-destination"]
    os.execve(sys.executable, [*command, *store, str(artifacts_folder())], environment)  # noqa: S606


def choose_strategies(chosen: str | None, known: Sequence[str]) -> list[str]:
    """Return the strategies that `--compare` names, or else all that are known.

    Raises:
        SitesynthError: If one is not of the study, or named twice.
    """
    if chosen is None:
        return list(known)
    names = [name.strip() for name in chosen.split(",")]
    unknown = sorted(set(names) - set(known))
    if unknown or len(set(names)) < len(names):
        raise SitesynthError(
            f"--compare {chosen}: name strategies of params.yaml, each once: {', '.join(known)}."
        )
    return names


def study_url(address: str, experiment: str) -> str:
    """Return the page of a study's current runs."""
    return _runs_page(address, experiment, 'tags.current = "true"')


def charts_url(address: str, experiment: str) -> str:
    """Return the page that draws every metric and figure of all strategies, best AUC first.

    Sorted by a metric, MLflow lists runs flat; sorted by time, it folds them below the study's.
    """
    evaluated = 'tags.stage = "evaluate" and tags.current = "true"'
    order = f"orderByKey={quote('metrics.`auc`')}&orderByAsc=false"
    return f"{_runs_page(address, experiment, evaluated)}&compareRunsMode=CHART&{order}"


def comparison_url(address: str, experiment: str, runs: list[str]) -> str:
    """Return the page that compares runs."""
    chosen, where = (quote(json.dumps(items)) for items in (runs, [experiment]))
    return f"{address}/#/compare-runs?runs={chosen}&experiments={where}&{TRAINING}"


def _runs_page(address: str, experiment: str, condition: str) -> str:
    searched = f"searchFilter={quote(condition)}"
    return f"{address}/#/experiments/{experiment}/runs?{searched}&{TRAINING}"


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SitesynthError(f"port {port} is in use; pass another with --port.")
