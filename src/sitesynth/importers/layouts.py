"""A public data set's layout: where its files are, what its table says, and in which codes."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sitesynth.errors import CohortError
from sitesynth.importers.assembly import assemble
from sitesynth.importers.codes import GLIOMA_COVARIATES, GLIOMA_LABELS
from sitesynth.importers.drafts import Draft
from sitesynth.importers.records import Records, joined, read_records
from sitesynth.importers.trees import FoundScan, Identity, Rule, find_scans, list_files
from sitesynth.tracking import Progress


__all__ = ["SEQUENCES", "Layout", "Translate", "import_layout", "rules_of"]

SEQUENCES = ("t1", "t1c", "t2", "flair")
"""What the public glioma sets are imported with, in channel order."""

Translate = Callable[[Mapping[str, str]], Mapping[str, str]]


@final
@dataclass(frozen=True)
class Layout:
    """One public data set."""

    name: str
    site: str
    """What its hospital is called, unless the command says otherwise."""
    looks_like: str
    """A path that a message can show."""
    rules: Sequence[Rule]
    """Each pattern has a group `id`."""
    identify: Callable[[str], Identity | None]
    """Whose scan an id is, in a path as in the table."""
    key: Sequence[str]
    """Names that the table's column of ids may have."""
    fields: Mapping[str, Sequence[str]]
    """By field: names that its column may have."""
    optional: frozenset[str]
    translate: Translate
    read_own: Callable[[Path, Sequence[FoundScan]], Records] | None = None
    """Reads the records that lie beside the images; None where there are none."""


def import_layout(
    layout: Layout, source: Path, labels: Sequence[Path], *, site: str, progress: Progress
) -> Draft:
    """Import a public data set.

    Args:
        layout: Which.
        source: Its folder, or any folder above its patients' folders.
        labels: Its label tables; none takes the records beside the images, where it has them.
        site: What to call the hospital.
        progress: Shows how far it is.

    Raises:
        MissingInputError: If the folder or the table does not exist.
        CohortError: If the folder is of another layout, the table lacks a column, or no scan can
            go in.
    """
    files = list_files(source)
    found = find_scans(files, layout.rules, lambda match: layout.identify(match["id"]))
    if not found:
        raise CohortError(
            f"{source} does not look like {layout.name}: none of its {len(files)} files is like "
            f"{layout.looks_like}. Name a folder above these, or use `sitesynth import folder`."
        )
    read = []
    if labels:
        read.append(
            read_records(
                labels,
                key=layout.key,
                fields=layout.fields,
                optional=layout.optional,
                identify=layout.identify,
            )
        )
    if layout.read_own is not None:
        read.append(layout.read_own(source, found))
    if not read:
        raise CohortError(f"{layout.name} keeps its labels in a table; name it with --labels.")
    records = joined(read, layout.fields)
    return assemble(
        layout.name,
        source,
        found,
        records,
        translate=layout.translate,
        sequences=SEQUENCES,
        labels=GLIOMA_LABELS,
        covariates=GLIOMA_COVARIATES,
        site=site,
        progress=progress,
    )


def rules_of(folder: str, endings: Mapping[str, Sequence[str]]) -> tuple[Rule, ...]:
    """Build rules for files in one kind of folder.

    Args:
        folder: A regular expression for the folder and the beginning of the name, with a group
            `id`.
        endings: By column: regular expressions for the rest of the name, the preferred one first.
    """
    return tuple(
        Rule(column, re.compile(f"(?:^|/){folder}{ending}$"), rank)
        for column, patterns in endings.items()
        for rank, ending in enumerate(patterns)
    )
