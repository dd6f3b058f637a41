"""`sitesynth study`: which study the working folder holds."""

import json
from pathlib import Path

import click


__all__ = ["study"]


@click.group()
def study() -> None:
    """List studies, and choose which one this folder holds."""


@study.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Leave a params.yaml that was edited by hand.")
def use(name: str, *, force: bool) -> None:
    """Make a study the one in params.yaml.

    NAME is a study of `sitesynth study list`, or a params file. What the present study has
    computed is put aside and comes back with it, so that no two studies' results are mixed.

    \b
    Example:
      sitesynth study use lgg-idh && dvc repro
    """  # noqa: D301 (click's mark for lines to keep as they are)
    from sitesynth.cli.switching import use_study  # noqa: PLC0415

    for line in use_study(name, Path(), force=force):
        click.echo(line)


@study.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """List the studies that are ready to use.

    \b
    Example:
      sitesynth study list
    """  # noqa: D301
    from sitesynth.cli.switching import list_studies  # noqa: PLC0415

    found = list_studies(Path())
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for entry in found:
        click.echo(f"{'*' if entry['current'] else ' '} {entry['name']:16} {entry['about']}")
