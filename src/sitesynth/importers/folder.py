"""Folders whose paths follow a pattern, such as `{patient_id}/{sequence}.nii.gz`.

{patient_id}   whose scan it is; must be there
{scan_id}      which of the patient's scans; without it, the patient has one
{site}         the hospital
{sequence}     what the folder calls the sequence or mask; without it, there is one sequence
*              anything within one folder's or file's name
**/            any number of folders, or none
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sitesynth.errors import CohortError
from sitesynth.importers.drafts import Draft
from sitesynth.importers.general import Meaning, import_found
from sitesynth.importers.trees import Identity, Rule, find_scans, list_files
from sitesynth.tracking import Progress


__all__ = ["import_folder", "pattern_of"]

FIELDS = ("patient_id", "scan_id", "site", "sequence")

_PART = re.compile(r"\{(\w*)\}|(\*\*/)|(\*)")


def import_folder(
    source: Path,
    tables: Sequence[Path],
    meaning: Meaning,
    *,
    patterns: Sequence[str],
    sequences: Mapping[str, str],
    mask: str | None,
    progress: Progress,
) -> Draft:
    """Import the files whose path follows a pattern.

    Args:
        source: The folder that patterns are relative to.
        tables: Label tables.
        meaning: What they mean.
        patterns: See the module; a file belongs to the first that it follows.
        sequences: Our name of each sequence to the folder's, in channel order.
        mask: What the folder calls the mask; None if there is none.
        progress: Shows how far it is.

    Raises:
        CohortError: If a pattern is none, or no file follows one.
    """
    names = {**sequences, **({} if mask is None else {"mask": mask})}
    files = list_files(source)
    rules = []
    for rank, pattern in enumerate(patterns):
        for column, theirs in names.items():
            if "{sequence}" in pattern or len(names) == 1:
                rules.append(Rule(column, pattern_of(pattern, sequence=theirs), rank))
            else:
                raise CohortError(
                    f"the pattern {pattern!r} has no {{sequence}}, so it cannot tell "
                    f"{', '.join(names)} apart; add it, or name one --sequence only."
                )
    found = find_scans(files, rules, _identify)
    if not found:
        raise CohortError(
            f"none of the {len(files)} files in {source} follows {' or '.join(patterns)} with "
            f"{{sequence}} one of {', '.join(names.values())}; the first file is {files[0]}. "
            "Correct --pattern or --sequence."
        )
    return import_found(
        "folder",
        source,
        found,
        tables,
        meaning,
        sequences=tuple(sequences),
        identify_key="",
        progress=progress,
    )


def pattern_of(pattern: str, *, sequence: str) -> re.Pattern[str]:
    """Turn a pattern into a regular expression.

    Args:
        pattern: See the module.
        sequence: What {sequence} must be.

    Raises:
        CohortError: If it has no {patient_id}, or a field of another name.
    """
    if "{patient_id}" not in pattern:
        raise CohortError(
            f"the pattern {pattern!r} must have a {{patient_id}}; e.g. "
            "{patient_id}/{sequence}.nii.gz."
        )
    built, end = "^", 0
    seen: set[str] = set()
    for match in _PART.finditer(pattern):
        built += re.escape(pattern[end : match.start()])
        end = match.end()
        name = match[1]
        if match[2]:
            built += "(?:[^/]+/)*"
        elif match[3]:
            built += "[^/]*"
        elif name == "sequence":
            built += re.escape(sequence)
        elif name in seen:
            built += f"(?P={name})"
        elif name in FIELDS:
            built += f"(?P<{name}>[^/]+?)"
            seen.add(name)
        else:
            raise CohortError(
                f"the pattern {pattern!r} has {{{name}}}, which is none of "
                f"{', '.join(f'{{{field}}}' for field in FIELDS)}; write * for the rest."
            )
    return re.compile(built + re.escape(pattern[end:]) + "$")


def _identify(match: re.Match[str]) -> Identity:
    parts = match.groupdict()
    patient = parts["patient_id"]
    return Identity(patient, parts.get("scan_id") or patient, site=parts.get("site") or "")
