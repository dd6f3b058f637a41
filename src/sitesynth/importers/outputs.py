"""An imported cohort on disk, whole or not there.

    cohort.csv     one row per scan, in the columns of the data contract
    left_out.csv   one row per patient, scan or row that did not go in, and why
    import.json    the same in numbers, for scripts, and what `join` needs
    study.yaml     a study of this cohort, for `sitesynth study use`
    scans/         links to the files, which stay where they are
    .gitignore     keeps all of it out of git: the tables name patients

Links, because a table's paths must not leave its folder; a link per file, because DVC looks
through links to files, and not through links to folders: it would not see a scan change.
"""

import csv
import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sitesynth.cohorts.sources import Row, Source, read_source
from sitesynth.cohorts.tables import map_source
from sitesynth.errors import CohortError, LeakageError, MissingInputError
from sitesynth.importers.drafts import Draft, LeftOut, Reason, Scan
from sitesynth.importers.studies import ABSENT
from sitesynth.settings import Settings, settings_text
from sitesynth.storage import UNFINISHED, read_json, write_json, write_text


__all__ = ["TABLE", "check_is_free", "new_folder", "read_draft", "summary_of", "write_draft"]

TABLE, LEFT_OUT, SUMMARY, STUDY, SCANS = (
    "cohort.csv",
    "left_out.csv",
    "import.json",
    "study.yaml",
    "scans",
)

IDENTITY = ("patient_id", "scan_id", "site")
MASK = "mask"
LEFT_OUT_COLUMNS = ("patient_id", "scan_id", "reason", "detail")


def write_draft(draft: Draft, out: Path, study: Settings) -> dict[str, Any]:
    """Write a cohort to a new or empty folder.

    Returns:
        The content of import.json.

    Raises:
        CohortError: If the folder holds something, or a row breaks the data contract.
        LeakageError: If a patient is at two sites, or two scans name one file.
    """
    check_is_free(out)
    header, rows = _rows_of(draft)
    summary = summary_of(draft)
    with new_folder(out) as folder:
        for scan in draft.scans:
            for column in scan.files:
                link = folder / SCANS / scan.names[column]
                link.parent.mkdir(parents=True, exist_ok=True)
                try:
                    link.symlink_to(scan.files[column])
                except FileExistsError as error:
                    raise LeakageError(
                        f"two scans of site '{scan.site}' have a file {scan.names[column]}, one of "
                        f"them {scan.scan_id}; import the cohorts under two names of --site."
                    ) from error
        source = Source(
            str(out / TABLE),
            header,
            tuple(Row(number, tuple(row)) for number, row in enumerate(rows, start=2)),
        )
        map_source(source, root=folder, cohort=study.cohort, sites=study.sites)
        write_text(folder / TABLE, _csv_of(header, rows))
        left = [[*(getattr(one, name) for name in LEFT_OUT_COLUMNS)] for one in draft.left_out]
        write_text(folder / LEFT_OUT, _csv_of(LEFT_OUT_COLUMNS, left))
        write_json(folder / SUMMARY, summary)
        write_text(folder / ".gitignore", "*\n")
        write_text(folder / STUDY, settings_text(study, about=_about(draft, study)))
    return summary


def check_is_free(out: Path) -> None:
    """Refuse to write over anything, before the work and not after it.

    Raises:
        CohortError: If `out` is neither new nor an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CohortError(
            f"{out} must be a new or an empty folder, so that nothing is overwritten and all in it "
            "is of one import; name another --out, or remove it."
        )


def read_draft(folder: Path) -> Draft:
    """Read what `write_draft` wrote, the table as it is now.

    Raises:
        MissingInputError: If the folder holds no import.
        CohortError: If its table lacks a column.
    """
    if not (folder / SUMMARY).is_file() or not (folder / TABLE).is_file():
        raise MissingInputError(
            f"{folder} holds no imported cohort ({SUMMARY}, {TABLE}); `sitesynth import` "
            "writes one."
        )
    about = read_json(folder / SUMMARY)
    source = read_source(folder / TABLE)
    sequences, covariates = tuple(about["sequences"]), tuple(about["covariates"])
    labels = {name: tuple(classes) for name, classes in about["labels"].items()}
    files = [name for name in (*sequences, MASK) if name in source.header]
    lacking = sorted({*IDENTITY, *labels, *covariates, *sequences} - set(source.header))
    if lacking:
        raise CohortError(f"{folder / TABLE} has no column {lacking}; import the cohort again.")
    scans = []
    for row in source.rows:
        cells = dict(zip(source.header, row.cells, strict=True))
        present = [name for name in files if cells[name]]
        scans.append(
            Scan(
                cells["patient_id"],
                cells["scan_id"],
                cells["site"],
                {name: cells[name] for name in (*labels, *covariates)},
                {name: (folder / cells[name]).resolve() for name in present},
                {name: cells[name].removeprefix(f"{SCANS}/") for name in present},
            )
        )
    return Draft(
        about["layout"], sequences, labels, covariates, tuple(scans), _read_left_out(folder)
    )


def summary_of(draft: Draft) -> dict[str, Any]:
    """Return what a script may want to know of an import."""
    return {
        "layout": draft.layout,
        "sequences": list(draft.sequences),
        "labels": {name: list(classes) for name, classes in draft.labels.items()},
        "covariates": list(draft.covariates),
        "has_mask": draft.has_mask,
        "num_scans": len(draft.scans),
        "sites": draft.sites,
        "patients": {label: draft.patients_by_class(label) for label in draft.labels},
        "missing": {
            name: sum(name not in scan.files for scan in draft.scans)
            for name in _file_columns(draft)
        },
        "left_out": dict(sorted(Counter(one.reason.value for one in draft.left_out).items())),
    }


def _file_columns(draft: Draft) -> tuple[str, ...]:
    return (*draft.sequences, *((MASK,) if draft.has_mask else ()))


def _rows_of(draft: Draft) -> tuple[tuple[str, ...], list[list[str]]]:
    described = (*draft.labels, *draft.covariates)
    files = _file_columns(draft)
    rows = [
        [
            *(scan.patient_id, scan.scan_id, scan.site),
            *(scan.values.get(name, "") for name in described),
            *(f"{SCANS}/{scan.names[name]}" if name in scan.names else "" for name in files),
        ]
        for scan in draft.scans
    ]
    return (*IDENTITY, *described, *files), sorted(rows, key=lambda row: (row[2], row[0], row[1]))


def _read_left_out(folder: Path) -> tuple[LeftOut, ...]:
    path = folder / LEFT_OUT
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; import the cohort again.")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            LeftOut(row["patient_id"], row["scan_id"], Reason(row["reason"]), row["detail"])
            for row in csv.DictReader(file)
        )


def _csv_of(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _about(draft: Draft, study: Settings) -> str:
    """Return the comment at the head of study.yaml."""
    lines = [
        f"Imported: {draft.layout}, {len(draft.scans)} scans. The knobs are another study's, and",
        "not tuned for this one: look at sites, grid and check first. Every knob is explained in",
        "src/sitesynth/settings.",
    ]
    if ABSENT in study.sites.external:
        lines += [
            f"A study needs a site to test on, and '{ABSENT}' stands for it: `sitesynth import",
            "join` puts cohorts together.",
        ]
    return "\n".join(lines)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out`, and rename it to `out` when the block succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=UNFINISHED))
    try:
        yield folder
        umask = os.umask(0)
        os.umask(umask)
        folder.chmod(0o777 & ~umask)
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
