"""`sitesynth import`: a cohort's table from the folders that hospitals and archives have."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sitesynth.errors import SettingsError
from sitesynth.progress import show_progress


if TYPE_CHECKING:
    from sitesynth.importers.drafts import Draft
    from sitesynth.importers.general import Meaning

__all__ = ["import_"]

PATH = click.Path(path_type=Path)

PUBLIC = {
    "ucsf-pdgm": "UCSF-PDGM (TCIA)",
    "upenn-gbm": "UPENN-GBM (TCIA)",
    "brats-tcga": "BraTS-TCGA-GBM and -LGG (TCIA)",
    "egd": "the Erasmus Glioma Database (Health-RI)",
    "utsw-glioma": "UTSW-Glioma (TCIA)",
}
"""The catalogue's layouts; named here so that --help need not import it."""

MAX_SHOWN = 8
"""Reasons that the summary on the screen lists."""

Command = Callable[..., None]


def _common(command: Command) -> Command:
    """Add the options that every import has."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
        click.option(
            "--params",
            type=PATH,
            default=Path("params.yaml"),
            show_default=True,
            help="The study whose other knobs study.yaml takes over.",
        ),
        click.option(
            "--task",
            metavar="LABEL[=CLASS]",
            help="Label to predict, and the positive class of two; else all.",
        ),
        click.option(
            "--external",
            multiple=True,
            metavar="SITE",
            help="Only tested on; may be repeated. Default: the smallest site with every class.",
        ),
        click.option("--study", "name", help="Name of the study. Default: that of --out."),
        click.option("--out", required=True, type=PATH, help="A new or empty folder."),
    ):
        command = option(command)
    return command


def _described(command: Command) -> Command:
    """Add the options that say what a table means."""
    for option in (
        click.option("--site", default="", help="The hospital, where neither path nor table says."),
        click.option(
            "--code",
            "coded",
            multiple=True,
            metavar="OURS:THEIRS=CODE",
            help="A value's code, e.g. 'idh:WT=wildtype'; * stands for anything.",
        ),
        click.option(
            "--column",
            "columns",
            multiple=True,
            metavar="OURS=THEIRS",
            help="Where the table calls a column otherwise, e.g. idh=diagnosis.",
        ),
        click.option(
            "--covariate", "covariates", multiple=True, help="e.g. age, sex; may be repeated."
        ),
        click.option(
            "--label",
            "classes",
            multiple=True,
            required=True,
            metavar="NAME=CLASS,CLASS",
            help="A label and its classes, e.g. idh=wildtype,mutant; may be repeated.",
        ),
        click.option(
            "--labels", "tables", multiple=True, type=PATH, help="Table of labels, a row a patient."
        ),
    ):
        command = option(command)
    return command


@click.group("import")
def import_() -> None:
    """Make a cohort's table from folders; nothing is copied.

    Writes cohort.csv, left_out.csv (who did not go in, and why), study.yaml, import.json and links
    to the scans, to a folder of their own.
    """


def _add_public(name: str, about: str) -> None:
    @import_.command(
        name,
        short_help=f"Import {about}.",
        help=f"""Import {about} from SOURCE, a folder at or above its patients' folders.

        Follow-ups stay out, tumour types are those of WHO 2021, and what is not understood leaves
        its patient out, with the reason.

        \b
        Example:
          sitesynth import {name} ~/archive/{name} --labels table.csv --out cohorts/{name}
        """,
    )
    @click.argument("source", type=PATH)
    @click.option(
        "--labels",
        "tables",
        multiple=True,
        type=PATH,
        help="Label table; may be repeated, e.g. for the scanners.",
    )
    @click.option("--site", default="", help="The hospital's name. Default: the paper's.")
    @_common
    def command(source: Path, *, tables: tuple[Path, ...], site: str, **common: Any) -> None:
        from sitesynth.importers.catalogue import LAYOUTS  # noqa: PLC0415
        from sitesynth.importers.layouts import import_layout  # noqa: PLC0415

        layout = LAYOUTS[name]
        _deliver(
            lambda: import_layout(
                layout, source, tables, site=site or layout.site, progress=show_progress
            ),
            **common,
        )


for _name, _text in PUBLIC.items():
    _add_public(_name, _text)


@import_.command()
@click.argument("source", type=PATH)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    required=True,
    help="Path below SOURCE, with {patient_id} and {sequence}; {site}, {scan_id}, *, **/ as well.",
)
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    required=True,
    metavar="OURS[=THEIRS]",
    help="A sequence, and what the folder calls it; in channel order.",
)
@click.option("--mask", help="What the folder calls the mask, in place of a sequence.")
@_described
@_common
def folder(
    source: Path,
    *,
    patterns: tuple[str, ...],
    sequences: tuple[str, ...],
    mask: str | None,
    tables: tuple[Path, ...],
    classes: tuple[str, ...],
    covariates: tuple[str, ...],
    columns: tuple[str, ...],
    coded: tuple[str, ...],
    site: str,
    **common: Any,
) -> None:
    """Import a folder whose paths follow a pattern.

    \b
    Example:
      sitesynth import folder ~/scans --pattern '{patient_id}/{sequence}.nii.gz' \\
        --sequence t1c=T1post --sequence flair --mask seg --labels ~/scans/labels.csv \\
        --label idh=wildtype,mutant --code 'idh:WT=wildtype' --covariate age --out cohorts/ours
    """  # noqa: D301
    from sitesynth.importers.folder import import_folder  # noqa: PLC0415

    meaning = _meaning_of(classes, covariates, columns, coded, site)
    ours = _sequences_of(sequences)
    _deliver(
        lambda: import_folder(
            source,
            tables,
            meaning,
            patterns=patterns,
            sequences=ours,
            mask=mask,
            progress=show_progress,
        ),
        **common,
    )


@import_.command()
@click.argument("source", type=PATH)
@click.option("--session", help="The session that goes in. Default: each patient's first.")
@click.option(
    "--only",
    multiple=True,
    metavar="ENTITY=VALUE",
    help="Where one sequence has several files, e.g. run=1.",
)
@_described
@_common
def bids(
    source: Path,
    *,
    session: str | None,
    only: tuple[str, ...],
    tables: tuple[Path, ...],
    classes: tuple[str, ...],
    covariates: tuple[str, ...],
    columns: tuple[str, ...],
    coded: tuple[str, ...],
    site: str,
    **common: Any,
) -> None:
    """Import a BIDS data set: T1w, ce-*_T1w, T2w and FLAIR of each patient's first session.

    Labels are in participants.tsv, or in --labels; masks in derivatives (dseg, or a lesion mask).

    \b
    Example:
      sitesynth import bids ~/bids --label idh=wildtype,mutant --site north --out cohorts/north
    """  # noqa: D301
    from sitesynth.importers.bids import import_bids  # noqa: PLC0415

    meaning = _meaning_of(classes, covariates, columns, coded, site)
    wanted = dict(_pair(one, "--only") for one in only)
    _deliver(
        lambda: import_bids(
            source, tables, meaning, session=session, only=wanted, progress=show_progress
        ),
        **common,
    )


@import_.command()
@click.argument("source", type=PATH)
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    required=True,
    metavar="OURS=THEIRS",
    help="A sequence, and its SeriesDescription, where * stands for anything; in channel order.",
)
@click.option("--mask", metavar="THEIRS", help="SeriesDescription of the segmentations (SEG).")
@click.option("--volumes", required=True, type=PATH, help="A new folder for the volumes.")
@_described
@_common
def dicom(
    source: Path,
    *,
    sequences: tuple[str, ...],
    mask: str | None,
    volumes: Path,
    tables: tuple[Path, ...],
    classes: tuple[str, ...],
    covariates: tuple[str, ...],
    columns: tuple[str, ...],
    coded: tuple[str, ...],
    site: str,
    **common: Any,
) -> None:
    """Import DICOM series: each patient's first study, converted to NIfTI in --volumes.

    Of the tags, PatientID and the geometry are kept. A PatientID with a part of the patient's name
    in it is left out. Labels are by PatientID.

    \b
    Example:
      sitesynth import dicom ~/export --sequence 't1c=*T1*POST*' --sequence 'flair=*FLAIR*' \\
        --volumes ~/nifti --labels ~/labels.csv --label idh=wildtype,mutant --site north \\
        --out cohorts/north
    """  # noqa: D301
    from sitesynth.importers.dicom import import_dicom  # noqa: PLC0415

    meaning = _meaning_of(classes, covariates, columns, coded, site)
    ours = _sequences_of(sequences)
    _deliver(
        lambda: import_dicom(
            source,
            tables,
            meaning,
            sequences=ours,
            mask=mask,
            volumes=volumes,
            progress=show_progress,
        ),
        **common,
    )


@import_.command()
@click.argument("folders", nargs=-1, required=True, type=PATH)
@_common
def join(folders: tuple[Path, ...], **common: Any) -> None:
    """Make one cohort of imported ones, each in one of FOLDERS.

    A patient who is in two of them stays in the first.

    \b
    Example:
      sitesynth import join cohorts/brats-tcga cohorts/egd cohorts/ucsf-pdgm \\
        --external UCSF --out cohorts/gliomas
    """  # noqa: D301
    from sitesynth.importers.joining import join_drafts  # noqa: PLC0415
    from sitesynth.importers.outputs import read_draft  # noqa: PLC0415

    _deliver(lambda: join_drafts([read_draft(folder) for folder in folders]), **common)


def _deliver(
    make: Callable[[], "Draft"],
    *,
    out: Path,
    name: str | None,
    external: tuple[str, ...],
    task: str | None,
    params: Path,
    as_json: bool,
) -> None:
    """Import, write, and say what was done and what comes next."""
    from sitesynth.importers.outputs import check_is_free, write_draft  # noqa: PLC0415
    from sitesynth.importers.studies import ABSENT, choose_task, draft_study  # noqa: PLC0415
    from sitesynth.settings import load_settings  # noqa: PLC0415

    check_is_free(out)
    knobs = load_settings(params)
    draft = make()
    study = draft_study(
        draft,
        knobs,
        name=name or _name_of(out),
        source=out,
        task=choose_task(draft, None if task is None else _task_of(task)),
        external=external,
    )
    summary = write_draft(draft, out, study)
    if as_json:
        click.echo(json.dumps(summary, indent=2, sort_keys=True))
        return
    for line in _told(summary, out, study.task.label):
        click.echo(line)
    if ABSENT in study.sites.external:
        click.echo(
            "one hospital is no study yet, because nothing is left to test on; next:\n"
            f"  sitesynth import join {out} OTHER ... --out DIR"
        )
        return
    click.echo(
        f"trains on {', '.join(study.sites.training)}; tests on {', '.join(study.sites.external)} "
        "(--external chooses); next:\n"
        f"  sitesynth check {out / 'cohort.csv'} --params {out / 'study.yaml'}\n"
        f"  sitesynth study use {out / 'study.yaml'}"
    )


def _told(summary: dict[str, Any], out: Path, label: str) -> Sequence[str]:
    """Return the summary as lines for the screen."""
    sites = ", ".join(f"{site} {count}" for site, count in summary["sites"].items())
    classes = ", ".join(f"{name} {count}" for name, count in summary["patients"][label].items())
    missing = ", ".join(f"{name} {count}" for name, count in summary["missing"].items() if count)
    reasons = list(summary["left_out"].items())
    lines = [
        f"{out}: {summary['num_scans']} scans; patients: {sites}",
        f"{label}: {classes}",
        f"missing: {missing or 'nothing'}",
        f"left out: {sum(count for _, count in reasons)}; left_out.csv names each",
    ]
    lines += [f"  {count:5} {reason}" for reason, count in reasons[:MAX_SHOWN]]
    return lines


def _sequences_of(given: Sequence[str]) -> dict[str, str]:
    """Return what the source calls each of our sequences."""
    ours: dict[str, str] = {}
    for one in given:
        name, _, theirs = one.partition("=")
        if not name or name in ours or name == "mask":
            raise SettingsError(
                f"--sequence {one!r} must be OURS or OURS=THEIRS, each of ours once, and none of "
                "them mask, which has an option of its own."
            )
        ours[name] = theirs or name
    return ours


def _meaning_of(
    classes: Sequence[str],
    covariates: Sequence[str],
    columns: Sequence[str],
    coded: Sequence[str],
    site: str,
) -> "Meaning":
    from sitesynth.importers.general import Meaning  # noqa: PLC0415

    labels: dict[str, tuple[str, ...]] = {}
    for one in classes:
        name, text = _pair(one, "--label")
        labels[name] = tuple(part.strip() for part in text.split(","))
    codes: dict[str, dict[str, str]] = {}
    for one in coded:
        name, colon, rest = one.partition(":")
        theirs, equals, ours = rest.rpartition("=")
        if not (name and colon and equals and theirs):
            raise SettingsError(f"--code {one!r} must be OURS:THEIRS=CODE, e.g. idh:WT=wildtype.")
        codes.setdefault(name, {})[theirs] = ours
    mapped = dict(_pair(one, "--column") for one in columns)
    return Meaning(labels, tuple(covariates), mapped, codes, site)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SettingsError(f"{option} {text!r} must be two words with = between them.")
    return name, value


def _task_of(text: str) -> tuple[str, str | None]:
    """Return a label, and its positive class where one is named."""
    return _pair(text, "--task") if "=" in text else (text, None)


def _name_of(out: Path) -> str:
    """Return a study's name from a folder's."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", out.resolve().name).strip("-_") or "imported"
