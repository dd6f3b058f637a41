"""Findings, told side by side: labels of which a scan may have several, or none.

The label `findings` of a cohort names other labels of two classes; the second class of each means
that the scan has it. A scan's pattern says which it has, in one cell of a table:

    none                nothing
    edema+effusion      these two, and no other
    edema+?effusion     edema; of effusion nobody knows
    (empty)             nothing is known

A generator is told whole patterns, and a bundle tells those of five patients at least, with how
many scans each has. A classifier is told each finding alone, and learns from what is known.

Axes: n = scans, k = findings.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from sitesynth.errors import CohortError
from sitesynth.settings import FINDINGS


__all__ = [
    "AND",
    "ANY",
    "EVEN",
    "MAX_PATTERNS",
    "MIN_PATIENTS",
    "NOTHING",
    "apportion",
    "are_side_by_side",
    "compose",
    "count_classes",
    "had",
    "have",
    "is_complete",
    "of_class",
    "rarest",
    "read_patterns",
    "spread_evenly",
    "tell_patterns",
]

AND, UNSURE, NOTHING = "+", "?", "none"

ANY = "all"
"""What stands for all patterns where they are counted together."""

EVEN = 0.5
"""The probability from which a finding is called: classifiers learn with and without alike."""

UNKNOWN_FINDING = -1

MIN_PATIENTS = 5
"""Patients of a site below whom nobody is told that a pattern occurs there; as for covariates."""

MAX_PATTERNS = 100
"""Patterns that a bundle tells, the most frequent ones."""

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it modulo 1 fill the interval evenly, however many there are."""


def are_side_by_side(label: str) -> bool:
    """Return whether a label is that of findings, whose classes do not exclude one another."""
    return label == FINDINGS


def compose(cells: Mapping[str, str], labels: Mapping[str, Sequence[str]]) -> str:
    """Return the pattern of a scan whose single labels are known.

    Args:
        cells: By label: its class, or "" where unknown.
        labels: The cohort's labels and their classes, `findings` among them.
    """
    names = labels[FINDINGS]
    if not any(cells[name] for name in names):
        return ""
    words = [
        name if cells[name] else f"{UNSURE}{name}"
        for name in names
        if cells[name] in {"", labels[name][1]}
    ]
    return AND.join(words) or NOTHING


def read_patterns(cells: Iterable[str], names: Sequence[str]) -> Int[np.ndarray, "n k"]:
    """Return for each scan and finding 1 where it has it, 0 where not, -1 where unknown."""
    rows = [_flags(cell, names) for cell in cells]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(names))


def _flags(cell: str, names: Sequence[str]) -> list[int]:
    if not cell:
        return [UNKNOWN_FINDING] * len(names)
    words = set(cell.split(AND))
    return [UNKNOWN_FINDING if f"{UNSURE}{name}" in words else int(name in words) for name in names]


def had(cell: str) -> set[str]:
    """Return the findings that a scan is known to have."""
    return {word for word in cell.split(AND) if word not in {"", NOTHING} and word[0] != UNSURE}


def have(cells: "pd.Series[str]", name: str) -> "pd.Series[bool]":
    """Return which scans are known to have a finding."""
    return cells.map(lambda cell: name in had(cell)).astype(bool)


def of_class(cells: "pd.Series[str]", label: str, name: str) -> "pd.Series[bool]":
    """Return which scans are of a class, or are known to have a finding."""
    return have(cells, name) if are_side_by_side(label) else cells == name


def count_classes(cells: "pd.Series[str]", label: str, classes: Sequence[str]) -> dict[str, int]:
    """Count what there is of each class; of findings, who has each, and may have several.

    `unknown` counts those of unknown label; of findings, those of whom anything is unknown.
    """
    if are_side_by_side(label):
        told = {name: int(have(cells, name).sum()) for name in classes}
        return {**told, "unknown": int((~cells.map(is_complete).astype(bool)).sum())}
    return {name or "unknown": int((cells == name).sum()) for name in (*classes, "")}


def is_complete(cell: str) -> bool:
    """Return whether everything is known of a scan."""
    return bool(cell) and UNSURE not in cell


def rarest(cells: Iterable[str], frequency: Mapping[str, int]) -> str:
    """Return the rarest finding of a patient's scans; of equals, the first by name.

    Args:
        cells: The patterns of the patient's scans.
        frequency: By finding: the patients who have it.
    """
    known = [cell for cell in cells if cell]
    found = {name for cell in known for name in had(cell)}
    if not found:
        return NOTHING if known else ""
    return min(found, key=lambda name: (frequency[name], name))


def tell_patterns(training: pd.DataFrame, *, site: str) -> dict[str, int]:
    """Return the patterns that may leave a site, and how many training scans have each.

    The most frequent comes first. A scan of a pattern that is not among them, or of which something
    is unknown, is learned from as one of unknown label.

    Args:
        training: The site's training scans.
        site: Their site, for messages.

    Raises:
        CohortError: If no pattern has `MIN_PATIENTS` patients.
    """
    complete = training[training[FINDINGS].map(is_complete)]
    grouped = complete.groupby(FINDINGS)
    patients = grouped["patient_id"].nunique()
    scans = grouped.size()
    told = sorted(
        (name for name in patients.index if patients[name] >= MIN_PATIENTS),
        key=lambda name: (-scans[name], name),
    )[:MAX_PATTERNS]
    if not told:
        raise CohortError(
            f"site '{site}': no combination of findings has {MIN_PATIENTS} training patients, so a "
            "bundle could not say of what it draws. Take rare findings out of "
            f"cohort.labels.{FINDINGS}, add patients, or make it an external site."
        )
    return {str(name): int(scans[name]) for name in told}


def apportion(counts: Sequence[int], total: int) -> list[int]:
    """Share out a number in proportion to counts, by largest remainders."""
    shares = [count * total / sum(counts) for count in counts]
    given = [int(share) for share in shares]
    first = sorted(range(len(counts)), key=lambda number: (given[number] - shares[number], number))
    for number in first[: total - sum(given)]:
        given[number] += 1
    return given


def spread_evenly(count: int) -> list[int]:
    """Return 0 to count - 1 in an order whose every beginning lies evenly among them."""
    places = np.argsort((np.arange(count) * GOLDEN) % 1, kind="stable")
    order = np.empty(count, dtype=np.int64)
    order[places] = np.arange(count)
    return [int(place) for place in order]
