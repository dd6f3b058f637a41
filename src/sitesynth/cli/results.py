"""`sitesynth compare` and `sitesynth ui`: what the study found."""

import json
import os
import socket
import sys
from pathlib import Path
from urllib.parse import quote

import click

from sitesynth.errors import SitesynthError


__all__ = ["compare", "comparison_url", "ui"]

COMPARISON = Path("results/comparison.json")


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
@click.option("--port", type=int, default=5000, show_default=True)
def ui(*, port: int) -> None:
    """Serve MLflow's UI on this study, and print where it compares the strategies.

    \b
    Example:
      sitesynth ui --port 5001
    """  # noqa: D301
    from sitesynth.mlruns import Mlruns, artifacts_folder, database_uri  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415

    settings = load_settings(Path("params.yaml"))
    _check_free(port)
    mlruns = Mlruns()
    mlruns.copy_journals()
    experiment = mlruns.experiment_of(settings.study)
    found = [mlruns.current_run(settings.study, f"evaluate@{name}") for name in settings.strategies]
    runs = [run for run in found if run is not None]
    address = f"http://127.0.0.1:{port}"
    click.echo(f"study {settings.study}: {study_url(address, experiment)}")
    if runs:
        click.echo(f"strategies compared: {comparison_url(address, experiment, runs)}")
    click.echo("Ctrl-C ends it.")
    sys.stdout.flush()
    # One worker and no job server: 0.5 GiB and 6 s to start, not 3.4 GiB and 37 s.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
    store = ["--backend-store-uri", database_uri(), "--artifacts-destination"]
    os.execve(sys.executable, [*command, *store, str(artifacts_folder())], environment)  # noqa: S606


def study_url(address: str, experiment: str) -> str:
    """Return the page of a study's current runs."""
    only_current = quote('tags.current = "true"')
    return f"{address}/#/experiments/{experiment}/runs?searchFilter={only_current}"


def comparison_url(address: str, experiment: str, runs: list[str]) -> str:
    """Return the page that compares runs."""
    chosen, where = (quote(json.dumps(items)) for items in (runs, [experiment]))
    return f"{address}/#/compare-runs?runs={chosen}&experiments={where}"


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SitesynthError(f"port {port} is in use; pass another with --port.")
