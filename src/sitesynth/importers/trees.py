"""Folders as other people lay them out, searched by rules for the files of each scan."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sitesynth.errors import CohortError, MissingInputError


__all__ = ["FoundScan", "Identity", "Rule", "find_scans", "list_files"]


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """Whose scan it is, as an id in a path or in a table says."""

    patient_id: str
    scan_id: str
    is_follow_up: bool = False
    site: str = ""
    """Empty where the path does not tell."""


@final
@dataclass(frozen=True, slots=True)
class Rule:
    """Which paths hold a sequence or a mask."""

    column: str
    pattern: re.Pattern[str]
    """Searched for in a path relative to the source."""
    rank: int = 0
    """Of several rules for a column, the lowest rank that finds a file wins."""


@final
@dataclass(frozen=True, slots=True)
class FoundScan:
    """The files of one scan."""

    identity: Identity
    files: Mapping[str, tuple[str, ...]]
    """By column: paths relative to the source; more than one is an ambiguity."""


def list_files(source: Path) -> list[str]:
    """List the files below a folder, by their relative paths, in order.

    Links to folders are followed, once each. Hidden files are passed over: `._x.nii.gz` is what
    macOS leaves beside `x.nii.gz`.

    Raises:
        MissingInputError: If there is no such folder.
        CohortError: If it is not a folder, holds no file, or a folder in it cannot be listed.
    """
    if not source.exists():
        raise MissingInputError(f"{source} does not exist; name the folder that holds the scans.")
    if not source.is_dir():
        raise CohortError(f"{source} is not a folder; unpack it, and name the folder.")
    files: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, names, here in os.walk(source, followlinks=True, onerror=_refuse):
        about = Path(folder).stat()
        is_new = (about.st_dev, about.st_ino) not in seen
        seen.add((about.st_dev, about.st_ino))
        names[:] = sorted(name for name in names if is_new and not name.startswith("."))
        if is_new:
            relative = Path(folder).relative_to(source)
            files += [(relative / name).as_posix() for name in here if not name.startswith(".")]
    if not files:
        raise CohortError(f"{source} holds no file; name the folder that holds the scans.")
    return sorted(files)


def _refuse(error: OSError) -> None:
    """Stop at a folder that cannot be looked into: its patients would be missing silently."""
    raise CohortError(
        f"{error.filename} cannot be listed ({error.strerror}); make it readable, or import "
        "another folder."
    ) from error


def find_scans(
    files: Iterable[str],
    rules: Sequence[Rule],
    identify: Callable[[re.Match[str]], Identity | None],
) -> list[FoundScan]:
    """Group files by scan and column.

    Args:
        files: Relative paths.
        rules: What to look for.
        identify: Whose a match is; None passes the file over.

    Returns:
        Scans in the order of their ids.
    """
    found: dict[Identity, dict[str, dict[int, list[str]]]] = {}
    for file in files:
        for rule in rules:
            match = rule.pattern.search(file)
            identity = None if match is None else identify(match)
            if identity is not None:
                ranks = found.setdefault(identity, {}).setdefault(rule.column, {})
                ranks.setdefault(rule.rank, []).append(file)
    return [
        FoundScan(
            identity,
            {column: tuple(ranks[min(ranks)]) for column, ranks in found[identity].items()},
        )
        for identity in sorted(found, key=lambda one: (one.patient_id, one.scan_id))
    ]
