"""`sitesynth promote` and `sitesynth rollback`: which registered model is champion."""

import getpass
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from sitesynth.errors import ReleaseRefusedError


if TYPE_CHECKING:
    from sitesynth.registry.gates import Gate

__all__ = ["promote", "rollback"]

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

    mlruns = Mlruns()
    found = versions.find_version(mlruns, model, version)
    gates = versions.gates_at_registration(found)
    _print_verdict(gates, as_json=as_json)
    if dry_run:
        if refusals(gates):
            raise ReleaseRefusedError(f"{model} version {found.number} would be refused.")
        return
    seen = promotion.champion_of(mlruns, model)
    promotion.promote(mlruns, model, str(found.number), who=who, why=why, instead_of=seen)
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


def _print_verdict(gates: Sequence["Gate"], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(gate) for gate in gates], indent=2))
    else:
        for gate in gates:
            click.echo(str(gate))
