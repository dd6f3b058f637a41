"""The command `sitesynth`.

A command parses, calls and prints; what it calls is imported in its body, so that
`sitesynth --help` answers at once. An error of ours, or of the file system, is one message on
stderr and exit code 2.
"""

import sys
from collections.abc import Sequence

import click

from sitesynth.cli import bundles, cohorts, federation, imports, landmarks, models, results, studies
from sitesynth.errors import SitesynthError
from sitesynth.storage import told


__all__ = ["commands", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Measure whether sharing generators can replace sharing data."""


for command in (
    studies.study,
    imports.import_,
    cohorts.check,
    landmarks.landmarks,
    bundles.bundle,
    bundles.sample,
    federation.federate,
    models.predict,
    models.promote,
    models.rollback,
    models.retire,
    models.audit,
    results.compare,
    results.runs,
    results.ui,
):
    commands.add_command(command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line; None means that of the process."""
    try:
        commands(args=argv, prog_name="sitesynth")
    except SitesynthError as error:
        click.echo(f"sitesynth: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"sitesynth: {told(error)}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
