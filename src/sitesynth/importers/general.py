"""Folders of any layout, with a table of labels: what `folder` and `bids` have in common."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sitesynth.cohorts import cells
from sitesynth.errors import CohortError
from sitesynth.importers import codes
from sitesynth.importers.assembly import assemble
from sitesynth.importers.codes import CodeError
from sitesynth.importers.drafts import Draft
from sitesynth.importers.records import Records, read_records
from sitesynth.importers.trees import FoundScan, Identity
from sitesynth.tracking import Progress


__all__ = ["Meaning", "import_found"]

MAX_SHOWN = 5
"""Values of one column that a message lists."""

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@final
@dataclass(frozen=True)
class Meaning:
    """What the tables of a general import mean."""

    labels: Mapping[str, tuple[str, ...]]
    """By label: its classes."""
    covariates: tuple[str, ...]
    columns: Mapping[str, str]
    """By our column: theirs, where it differs."""
    codes: Mapping[str, Mapping[str, str]]
    """By our column: their value, which may hold `*`, to ours."""
    site: str
    """Of all patients; empty where a column or the path says."""


def import_found(
    layout: str,
    source: Path,
    found: Sequence[FoundScan],
    tables: Sequence[Path],
    meaning: Meaning,
    *,
    sequences: tuple[str, ...],
    identify_key: str,
    progress: Progress,
) -> Draft:
    """Join scans with their labels.

    Args:
        layout: Name of the importer.
        source: The folder of the scans.
        found: The scans.
        tables: Label tables; none is fine where nothing is asked of them.
        meaning: What they mean.
        sequences: Our sequences, in channel order.
        identify_key: What an id in the table may begin with beside the patient's id (`sub-`).
        progress: Shows how far it is.

    Raises:
        CohortError: If a column is lacking, a value is no class, or nobody's site is known.
    """
    path_has_site = any(one.identity.site for one in found)
    wanted = [*meaning.labels, *meaning.covariates]
    if not (meaning.site or path_has_site):
        wanted.append("site")
    unasked = sorted((set(meaning.columns) | set(meaning.codes)) - {*wanted, "patient_id", "site"})
    if unasked:
        raise CohortError(
            f"{unasked} are mapped, but are neither labels nor covariates; name them with --label "
            "or --covariate, or leave the mapping out."
        )
    records: Records | None = None
    if tables:
        records = read_records(
            tables,
            key=(meaning.columns.get("patient_id", "patient_id"),),
            fields={name: (meaning.columns.get(name, name),) for name in wanted},
            optional=(),
            identify=lambda text: _identity_of(text, identify_key),
        )
    elif wanted:
        raise CohortError(
            f"{', '.join(wanted)} must come from a table; name it with --labels"
            f"{', or name the hospital with --site' if 'site' in wanted else ''}."
        )
    _check_values(records, meaning, path_sites={one.identity.site for one in found} - {""})
    return assemble(
        layout,
        source,
        found,
        records,
        translate=lambda record: _translate(record, meaning),
        sequences=sequences,
        labels=meaning.labels,
        covariates=meaning.covariates,
        site=meaning.site,
        progress=progress,
    )


def _identity_of(text: str, prefix: str) -> Identity | None:
    patient = text.removeprefix(prefix)
    return Identity(patient, patient) if patient else None


def _check_values(records: Records | None, meaning: Meaning, *, path_sites: set[str]) -> None:
    """Refuse values that are no class: unlike an archive's, this mapping can be corrected."""
    problems: dict[str, list[str]] = {}
    for record in {} if records is None else records.by_patient.values():
        for name, text in record.items():
            value = _coded(name, text, meaning)
            is_wrong = (
                bool(value) and value not in meaning.labels[name]
                if name in meaning.labels
                else name == "site" and not SITE.fullmatch(value)
            )
            if is_wrong and text not in problems.setdefault(name, []):
                problems[name].append(text)
    wrong_sites = [
        site for site in (*path_sites, meaning.site) if site and not SITE.fullmatch(site)
    ]
    if wrong_sites:
        problems.setdefault("site", []).extend(sorted(wrong_sites))
    lines = [
        f"\n  {name}: {', '.join(repr(text) for text in texts[:MAX_SHOWN])}"
        f"{f' and {len(texts) - MAX_SHOWN} more' if len(texts) > MAX_SHOWN else ''}; must be "
        + (
            f"one of {list(meaning.labels[name])}, or empty for unknown"
            if name in meaning.labels
            else "a word of letters, digits, '_' and '-'"
        )
        for name, texts in problems.items()
        if texts
    ]
    if lines:
        raise CohortError(
            f"the label table has values that are not ours:{''.join(lines)}\nMap them, e.g. "
            "--code 'idh:WT=wildtype' (a * stands for anything; nothing after = is unknown)."
        )


def _translate(record: Mapping[str, str], meaning: Meaning) -> dict[str, str]:
    values = {name: _coded(name, text, meaning) for name, text in record.items()}
    for name, value in values.items():
        if name in cells.NUMBERS:
            values[name] = codes.number_of(name, value)
        elif name == "sex":
            values[name] = codes.code_of(name, value, codes.SEX)
    if "site" in values and not values["site"]:
        raise CodeError("the site is not known")
    return values


def _coded(name: str, text: str, meaning: Meaning) -> str:
    """Return a cell in our codes: an exact code counts before one with a `*`."""
    known = meaning.codes.get(name, {})
    if text in known:
        return known[text]
    for theirs, ours in known.items():
        # Only * is special: brackets and question marks are in real values.
        pattern = ".*".join(re.escape(part) for part in theirs.split("*"))
        if "*" in theirs and re.fullmatch(pattern, text):
            return ours
    return codes.without_unknown(text)
