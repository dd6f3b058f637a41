"""`sitesynth landmarks`: intensities made alike between sites, before a study."""

from pathlib import Path

import click

from sitesynth.progress import show_progress


__all__ = ["landmarks"]

PARAMS = click.Path(path_type=Path)


@click.group()
def landmarks() -> None:
    """Measure the intensities of training scans, for intensity.landmarks of params.yaml.

    Each training site measures its own scans; the hub joins what they send: nine means a sequence.
    """


@landmarks.command()
@click.argument("site")
@click.option("--params", type=PARAMS, default="params.yaml", show_default=True)
@click.option("--data", type=PARAMS, default="data", show_default=True, help="The study's data.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new JSON file.")
def measure(site: str, *, params: Path, data: Path, out: Path) -> None:
    """Measure the training scans of a training SITE; `dvc repro split` comes first.

    \b
    Example:
      sitesynth landmarks measure alder --out alder.json
    """  # noqa: D301
    from sitesynth.cohorts.acquired import read_acquired  # noqa: PLC0415
    from sitesynth.landmarks import measure_landmarks  # noqa: PLC0415
    from sitesynth.preprocessing.scans import read_splits  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415
    from sitesynth.storage import write_json  # noqa: PLC0415

    study = load_settings(params, site=site)
    found = read_acquired(data / "acquired" / site)
    splits = read_splits(data / "splits" / f"{site}.csv")
    with show_progress(len(found.table), f"measure {site}") as on_scan:
        measured = measure_landmarks(
            found,
            splits=splits,
            cohort=study.cohort,
            grid=study.grid,
            intensity=study.intensity,
            on_scan=on_scan,
        )
    write_json(out, measured)
    click.echo(f"{out}: send it to the hub; it holds means over scans, and no scan")


@landmarks.command()
@click.argument("measures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--params", type=PARAMS, default="params.yaml", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new study file.")
def join(measures: tuple[Path, ...], *, params: Path, out: Path) -> None:
    """Join the MEASURES of all training sites, and write the study with its landmarks.

    \b
    Example:
      sitesynth landmarks join alder.json birch.json cedar.json --out harmonized.yaml
      sitesynth study use harmonized.yaml
    """  # noqa: D301
    from sitesynth.landmarks import join_landmarks  # noqa: PLC0415
    from sitesynth.settings import check_settings, load_settings, settings_text  # noqa: PLC0415
    from sitesynth.storage import read_json, write_text  # noqa: PLC0415

    study = load_settings(params)
    found = join_landmarks(
        [read_json(path) for path in measures],
        training=study.sites.training,
        cohort=study.cohort,
        grid=study.grid,
        intensity=study.intensity,
    )
    raw = study.model_dump(mode="json")
    raw["intensity"]["landmarks"] = {name: list(values) for name, values in found.items()}
    about = f"The study {study.study}, with the landmarks of {', '.join(study.sites.training)}."
    write_text(out, settings_text(check_settings(raw, named=str(out)), about=about))
    click.echo(f"{out}: `sitesynth study use {out}` makes it the study")
