"""`sitesynth federate`: the federated strategy on provisioned machines."""

import json
import tempfile
from pathlib import Path

import click


__all__ = ["federate"]

EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def federate() -> None:
    """Run the federated strategy on machines of their own; see docs/how-to-federate.md."""


@federate.command()
@click.argument("kit", type=EXISTING)
@click.option("--images", type=EXISTING, help="The site's own image set; leave out at the hub.")
@click.option("--key", type=FILE, help="The sites' key, for federated.encryption; not at the hub.")
def prepare(*, kit: Path, images: Path | None, key: Path | None) -> None:
    """Make a startup KIT of `nvflare provision` ready for our jobs, and for no others.

    \b
    Example:
      sitesynth federate prepare kits/sitesynth/prod_00/alder --images data/images/alder
    """  # noqa: D301
    from sitesynth.strategies.nvflare_engine import prepare_kit  # noqa: PLC0415

    prepare_kit(kit, images, key)
    click.echo(f"{kit} is ready; start it with {kit}/startup/start.sh")


@federate.command()
@click.argument("file", type=click.Path(path_type=Path))
def key(file: Path) -> None:
    """Draw the key that the sites share and the hub never has, into a new FILE.

    Once, at one site, which hands it to the others by a safe way. Who has it can read what sites
    send to the hub.

    \b
    Example:
      sitesynth federate key sites.key
    """  # noqa: D301
    from sitesynth.errors import SettingsError  # noqa: PLC0415
    from sitesynth.strategies.sealing import SiteKey  # noqa: PLC0415

    if file.exists():
        raise SettingsError(
            f"{file} exists, and what was sealed with a key needs that key; name a new file."
        )
    drawn = SiteKey.draw()
    drawn.write(file)
    click.echo(f"{file} holds the key {drawn.name}; give it to every site, and not to the hub")


@federate.command()
@click.option("--kit", type=EXISTING, required=True, help="Startup kit of who may submit jobs.")
@click.option("--params", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--resume", is_flag=True, help="Go on after an interrupted job's last whole round.")
def run(*, kit: Path, params: Path, out: Path, resume: bool) -> None:
    """Train the study's federated classifier at the sites, and write it to a folder.

    \b
    Example:
      sitesynth federate run --kit kits/sitesynth/prod_00/hub@sitesynth.org --out federated
    """  # noqa: D301
    from sitesynth.classifiers.ensemble import write_ensemble  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415
    from sitesynth.storage import write_json  # noqa: PLC0415
    from sitesynth.strategies.federation import announce, conclude  # noqa: PLC0415
    from sitesynth.strategies.nvflare_engine import run_deployed, write_job  # noqa: PLC0415
    from sitesynth.strategies.traffic import summarize_traffic  # noqa: PLC0415

    study = load_settings(params)
    plan, initial = announce(
        cohort=study.cohort,
        sites=study.sites,
        task=study.task,
        grid=study.grid,
        classifier=study.classifier,
        federated=study.federated,
        seed=study.seed,
    )
    with tempfile.TemporaryDirectory(prefix="sitesynth-federation-") as name:
        job = Path(name) / "federated"
        write_job(job, plan, initial, resume=resume)
        best, events = run_deployed(plan, job, kit, Path(name) / "result")
    ensemble = conclude(
        plan,
        best,
        events,
        grid=study.grid,
        mask_labels=study.cohort.mask_labels,
        intensity=study.intensity,
    )
    write_ensemble(out, ensemble)
    traffic = summarize_traffic(plan, events)
    write_json(out / "traffic.json", traffic)
    summary = {"out": str(out), "bytes": traffic["bytes"], "absences": traffic["absences"]}
    click.echo(json.dumps(summary))
