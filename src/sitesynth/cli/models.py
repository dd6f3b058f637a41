"""`sitesynth promote`, `rollback`, `retire`, `predict`: who is champion, and what it says."""

import getpass
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sitesynth.errors import MissingInputError, ReleaseRefusedError
from sitesynth.progress import show_progress
from sitesynth.storage import read_json, write_text


if TYPE_CHECKING:
    from sitesynth.registry.gates import Gate
    from sitesynth.registry.standing import Standards

__all__ = ["audit", "predict", "promote", "retire", "rollback"]

MAX_SHOWN = 5
"""Scans unlike the training scans that are listed; the table has all."""

WHY = click.option("--why", required=True, help="The reason, for whoever reads it in a year.")
WHO = click.option("--by", "who", default=getpass.getuser, help="Who decides; default: you.")


@click.command()
@click.argument("model")
@click.argument("version")
@WHY
@WHO
@click.option("--dry-run", is_flag=True, help="Print the verdict and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def promote(model: str, version: str, *, why: str, who: str, dry_run: bool, as_json: bool) -> None:
    """Make VERSION (a number or an alias) of MODEL its champion, if its gates let it.

    \b
    Example:
      sitesynth promote classifier-idh challenger --why "reviewed with radiology"
    """  # noqa: D301
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415
    from sitesynth.registry import promotion, versions  # noqa: PLC0415
    from sitesynth.registry.gates import refusals  # noqa: PLC0415

    standards = _standards()
    mlruns = Mlruns()
    seen = promotion.champion_of(mlruns, model)
    found = versions.find_version(mlruns, model, version)
    gates = promotion.judge(mlruns, found, standards)
    _print_verdict(gates, as_json=as_json)
    if dry_run:
        if refusals(gates):
            raise ReleaseRefusedError(f"{model} version {found.number} would be refused.")
        return
    promotion.promote(
        mlruns,
        model,
        str(found.number),
        who=who,
        why=why,
        instead_of=seen,
        standards=standards,
    )
    click.echo(f"{model}: champion is version {found.number}", err=as_json)


@click.command()
@click.argument("model")
@WHY
@WHO
def rollback(model: str, *, why: str, who: str) -> None:
    """Make the champion of MODEL before the present one champion again.

    \b
    Example:
      sitesynth rollback classifier-idh --why "drift at the second external site"
    """  # noqa: D301
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415
    from sitesynth.registry import promotion  # noqa: PLC0415

    mlruns = Mlruns()
    seen = promotion.champion_of(mlruns, model)
    back = promotion.rollback(mlruns, model, who=who, why=why, instead_of=seen)
    click.echo(f"{model}: champion is version {back.number}")


@click.command()
@click.argument("model")
@WHY
@WHO
def retire(model: str, *, why: str, who: str) -> None:
    """Leave MODEL without a champion.

    For a champion with which no other can be compared: judged on other patients, or of another
    study. `sitesynth rollback` brings it back.

    \b
    Example:
      sitesynth retire classifier-idh --why "a third external site has joined"
    """  # noqa: D301
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415
    from sitesynth.registry import promotion  # noqa: PLC0415

    mlruns = Mlruns()
    seen = promotion.champion_of(mlruns, model)
    promotion.retire(mlruns, model, who=who, why=why, instead_of=seen)
    click.echo(f"{model}: no champion")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_context
def audit(context: click.Context, *, as_json: bool) -> None:
    """Compare the registry and the runs with dvc.lock, and that with the files.

    Names every registered version whose data, code or params are no longer what they were, and
    every stale run; the exit code is 1 if there is one. Data is read whole: minutes, where there
    is much of it.

    \b
    Example:
      sitesynth audit
    """  # noqa: D301
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415
    from sitesynth.registry import audit as audits  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415

    study = load_settings(Path("params.yaml")).study
    mlruns = Mlruns()
    mlruns.copy_journals()
    findings = audits.audit(mlruns, study, Path())
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(str(finding))
        click.echo(f"study {study}: {len(findings)} that no longer agree", err=True)
    if findings:
        context.exit(1)


@click.command()
@click.argument("model")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV file to write.")
@click.option(
    "--column",
    "renamed",
    multiple=True,
    metavar="OURS=THEIRS",
    help="Where the table calls a column otherwise, e.g. t1=T1_path; may be repeated.",
)
def predict(model: str, table: Path, *, out: Path, renamed: tuple[str, ...]) -> None:
    """Predict the scans of TABLE with MODEL, a classifier's folder or a registered classifier.

    TABLE has a row per scan: patient_id, scan_id (where a patient has several), and a column of
    paths per sequence, relative to the table and empty where the sequence is missing. The column
    `warning` says in what a scan is unlike those that the classifier learned from.

    \b
    Example:
      sitesynth predict classifier-idh@champion ~/new/scans.csv --out predictions.csv
      sitesynth predict models/classifier/synthetic ~/new/scans.csv --out predictions.csv
    """  # noqa: D301
    columns = _columns_of(renamed)
    from sitesynth.classifiers.ensemble import read_ensemble  # noqa: PLC0415
    from sitesynth.classifiers.provenance import read_provenance  # noqa: PLC0415
    from sitesynth.inference import predict_table, read_table  # noqa: PLC0415
    from sitesynth.patterns import of_class  # noqa: PLC0415

    folder = _folder_of(model)
    ensemble, provenance = read_ensemble(folder), read_provenance(folder)
    if provenance is None:
        click.echo(f"{folder} does not say what it learned from: no scan is warned of.", err=True)
    scans = read_table(table, ensemble.config, columns=columns)
    with show_progress(len(scans.table), "predict") as show:
        predictions = predict_table(ensemble, provenance, scans, on_scan=show)
    write_text(out, predictions.to_csv(index=False, lineterminator="\n"))
    label = ensemble.config.label
    called = ", ".join(
        f"called {name}: {int(of_class(predictions['call'], label, name).sum())}"
        for name in ensemble.predicted_classes
    )
    unlike = predictions[predictions["warning"] != ""]
    for row in unlike.head(MAX_SHOWN).to_dict("records"):
        click.echo(f"unlike training: {row['scan_id']}: {row['warning']}", err=True)
    if len(unlike) > MAX_SHOWN:
        click.echo(f"and {len(unlike) - MAX_SHOWN} more; see the column `warning`", err=True)
    click.echo(f"{out}: scans: {len(predictions)}, {called}")


def _columns_of(renamed: Sequence[str]) -> dict[str, str]:
    for pair in renamed:
        if not re.fullmatch(r"[^=]+=.+", pair):
            raise click.BadParameter(f"{pair!r} must be OURS=THEIRS.", param_hint="--column")
    return dict(pair.split("=", 1) for pair in renamed)


def _folder_of(model: str) -> Path:
    """Return where a classifier's files are."""
    if Path(model).is_dir():
        return Path(model)
    if not re.fullmatch(r"(models:/)?[^/@]+(@[^/@]+|/\d+)", model):
        raise MissingInputError(
            f"{model} is neither a folder nor a registered model; name e.g. "
            "models/classifier/synthetic or classifier-idh@champion."
        )
    from sitesynth.mlruns import Mlruns  # noqa: PLC0415
    from sitesynth.registry.versions import locate_model  # noqa: PLC0415

    return locate_model(Mlruns(), model)


def _standards() -> "Standards":
    """Return what the study in use holds a version to."""
    from sitesynth.registry.standing import Standards  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415

    settings = load_settings(Path("params.yaml"))
    return Standards(
        test_sha256=read_json(Path("data/splits/frozen.json"))["test_sha256"],
        margin=settings.evaluation.margin,
        num_resamples=settings.evaluation.num_resamples,
        seed=settings.seed,
    )


def _print_verdict(gates: Sequence["Gate"], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(gate) for gate in gates], indent=2))
    else:
        for gate in gates:
            click.echo(str(gate))
