"""`sitesynth bundle` and `sitesynth sample`: what is in a generator bundle, and what it draws."""

import base64
import binascii
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sitesynth.errors import BundleError, SitesynthError
from sitesynth.progress import show_progress


__all__ = ["bundle", "sample"]

FOLDER = click.Path(path_type=Path)
KEY = click.option("--public-key", help="The site's public key in base64, as the site gave it.")
KEY_BYTES = 32


@click.group()
def bundle() -> None:
    """Look into a generator bundle from another site."""


@bundle.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print config and card as JSON.")
def show(folder: Path, *, as_json: bool) -> None:
    """Print the card of the bundle in FOLDER, once the bundle has been verified.

    \b
    Example:
      sitesynth bundle show bundles/alder
    """  # noqa: D301
    from sitesynth.generators.bundle import verify_bundle  # noqa: PLC0415
    from sitesynth.storage import read_json  # noqa: PLC0415

    config = verify_bundle(folder)
    if as_json:
        card = read_json(folder / "card.json")
        content = {"config": config.model_dump(mode="json"), "card": card}
        click.echo(json.dumps(content, indent=2, sort_keys=True))
    else:
        click.echo((folder / "card.md").read_text(encoding="utf-8"))


@bundle.command()
@click.argument("folder", type=FOLDER)
@KEY
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(folder: Path, *, public_key: str | None, as_json: bool) -> None:
    """Check files, signature, digests, config and weights of the bundle in FOLDER.

    Without --public-key, the key in the bundle is believed: that proves that the bundle is whole,
    but not whose it is.

    \b
    Example:
      sitesynth bundle verify bundles/alder --public-key "$ALDER_KEY"
    """  # noqa: D301
    key = _key_of(public_key)
    from sitesynth.generators.bundle import bundle_digest, read_bundle  # noqa: PLC0415
    from sitesynth.storage import read_json  # noqa: PLC0415

    generator = read_bundle(folder, public_key=key)
    found: dict[str, Any] = {
        "site": generator.config.site,
        "sha256": bundle_digest(folder),
        "signed_by": read_json(folder / "SIGNATURE.json")["public_key"],
        "key_was_given": public_key is not None,
    }
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{folder} is whole: generator of site {found['site']}, {found['sha256']}")
    whose = "the key you gave" if public_key else "a key you did not give: anyone could have signed"
    click.echo(f"signed by {found['signed_by']}, {whose}")


@click.command()
@click.argument("folder", metavar="BUNDLE", type=FOLDER)
@click.option("--label", help="The class to draw, e.g. mutant.")
@click.option("--count", type=click.IntRange(min=1), help="How many scans.")
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="Instead of --label and --count: a CSV or TSV with a row for each wanted scan. Columns: "
    "label, covariates (an empty cell is unknown), has_<channel> (true or false).",
)
@click.option("--seed", required=True, type=int, help="With a study's seed: the study's scans.")
@click.option(
    "--out", required=True, type=FOLDER, help="A new folder; after an interruption, the same."
)
@click.option(
    "--covariate",
    "covariates",
    multiple=True,
    metavar="NAME=VALUE",
    help="What all scans shall have, e.g. age=60; NAME= is unknown. May be repeated; the others "
    "are drawn as they occur at the site.",
)
@click.option(
    "--sampler",
    type=click.Choice(["euler", "heun", "multistep", "ddim", "sde"]),
    help="How to follow the flow. Default: as in --params.",
)
@click.option("--num-steps", type=click.IntRange(min=1), help="Default: as in --params.")
@click.option(
    "--eta",
    type=click.FloatRange(min=0),
    help="How much noise the sampler sde draws anew. Default: as in --params.",
)
@click.option(
    "--eta-interval",
    type=(click.FloatRange(0, 1), click.FloatRange(0, 1)),
    metavar="LOW HIGH",
    help="Times between which eta holds, 0 = data; at others it is 1. Default: as in --params.",
)
@click.option("--guidance", type=click.FloatRange(min=0), help="Default: as in --params.")
@click.option(
    "--guidance-interval",
    type=(click.FloatRange(0, 1), click.FloatRange(0, 1)),
    metavar="LOW HIGH",
    help="Times between which guidance is applied, 0 = data. Default: as in --params.",
)
@click.option(
    "--params",
    type=click.Path(path_type=Path),
    default=Path("params.yaml"),
    show_default=True,
    help="The study whose sampling knobs to use; not read where all six are given.",
)
@KEY
def sample(
    folder: Path,
    *,
    label: str | None,
    count: int | None,
    table: Path | None,
    seed: int,
    out: Path,
    covariates: tuple[str, ...],
    sampler: str | None,
    num_steps: int | None,
    eta: float | None,
    eta_interval: tuple[float, float] | None,
    guidance: float | None,
    guidance_interval: tuple[float, float] | None,
    params: Path,
    public_key: str | None,
) -> None:
    """Draw synthetic scans from the generator in BUNDLE, once the bundle has been verified.

    One NIfTI file per channel (PNG in two dimensions), each with a JSON file that says what it was
    drawn from.

    \b
    Example:
      sitesynth sample bundles/alder --label mutant --count 4 --seed 1 --out drawn
      sitesynth sample bundles/alder --label mutant --count 4 --seed 1 --out old --covariate age=70
      sitesynth sample bundles/alder --table wanted.csv --seed 1 --out wanted
    """  # noqa: D301
    key, asked = _key_of(public_key), _asked_by(covariates)
    from sitesynth.exports import export_scans  # noqa: PLC0415
    from sitesynth.generators.bundle import bundle_digest, read_bundle  # noqa: PLC0415
    from sitesynth.sampling import Solver  # noqa: PLC0415
    from sitesynth.wanted import Wanted, read_wanted  # noqa: PLC0415

    if table is not None and (label is not None or count is not None or asked):
        raise SitesynthError(
            f"--table {table} says class, number and covariates of every scan; leave --label, "
            "--count and --covariate out, or the table."
        )
    generator = read_bundle(folder, public_key=key)
    if table is not None:
        wanted = read_wanted(table, generator.config)
    elif label is not None and count is not None:
        wanted = [Wanted(label, asked)] * count
    else:
        raise SitesynthError(
            "say which scans are wanted: --label and --count, or --table with a row for each."
        )
    knobs: dict[str, Any] = {
        "sampler": sampler,
        "num_steps": num_steps,
        "eta": eta,
        "eta_interval": eta_interval,
        "guidance": guidance,
        "guidance_interval": guidance_interval,
    }
    given = {name: value for name, value in knobs.items() if value is not None}
    if len(given) < len(knobs):
        from sitesynth.settings import load_settings  # noqa: PLC0415

        study = Solver.of(load_settings(params, site=generator.config.site).sampling)
        solver = replace(study, **given)
    else:
        solver = Solver(**given)
    with show_progress(len(wanted), f"draw {label or table}") as show:
        export_scans(
            out,
            generator,
            wanted,
            seed=seed,
            solver=solver,
            bundle_digest=bundle_digest(folder),
            on_scan=lambda number: show(number, {}),
        )
    for name, number in Counter(one.label for one in wanted).items():
        click.echo(f"{out}: scans of {name} by the generator of {generator.config.site}: {number}")


def _asked_by(pairs: tuple[str, ...]) -> dict[str, str]:
    asked: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise SitesynthError(f"--covariate {pair!r} must be NAME=VALUE, e.g. age=60.")
        if name in asked:
            raise SitesynthError(f"--covariate {name} is given twice; give it once.")
        asked[name] = value
    return asked


def _key_of(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BundleError(f"--public-key {text!r} is not base64: {error}.") from error
    if len(key) != KEY_BYTES:
        raise BundleError(f"--public-key has {len(key)} bytes; an Ed25519 key has {KEY_BYTES}.")
    return key
