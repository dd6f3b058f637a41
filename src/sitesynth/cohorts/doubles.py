"""Patients who may be in a cohort twice, under two names, by the likeness of their images.

Axes: n, m = scans.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from jaxtyping import Float32

from sitesynth.cohorts.likeness import unpack
from sitesynth.errors import LeakageError


__all__ = ["Look", "find_doubles", "looks_of", "refuse_doubles"]

NEAR: Final = 0.14
"""Share of bits, averaged over the sequences that two scans share, up to which they are alike.
ADR 34 argues it from distinct patients."""

MIN_SHARED: Final = 2
"""Sequences that both must have, where the cohort has so many: one alone is alike by chance."""

BLOCK: Final = 1000
"""Scans compared with all others at once: memory grows with the cohort and not with its square."""

MAX_SHOWN: Final = 5


@final
@dataclass(frozen=True, slots=True)
class Look:
    """What one scan looks like."""

    site: str
    scan_id: str
    patient_id: str
    likenesses: Mapping[str, str]
    """By column: the hash of its image."""
    num_axes: int


def looks_of(result: Mapping[str, Any]) -> list[Look]:
    """Return what the scans of a site look like, as `check_site` found it, without those aside."""
    aside = {row["scan_id"] for row in result["quarantine"]}
    found = []
    for scan in result["scans"]:
        files = {c: file for c, file in scan["files"].items() if "likeness" in file}
        if files and scan["scan_id"] not in aside:
            shape = next(iter(files.values()))["shape"]
            found.append(
                Look(
                    site=result["site"],
                    scan_id=scan["scan_id"],
                    patient_id=scan["patient_id"],
                    likenesses={column: file["likeness"] for column, file in files.items()},
                    num_axes=len(shape.split(" x ")),
                )
            )
    return found


def find_doubles(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Return pairs of scans of different patients that look like one: the most alike first."""
    columns = sorted({column for look in looks for column in look.likenesses})
    if not columns:
        return []
    hashed = {column: _signs(looks, column) for column in columns}
    patients = np.array([look.patient_id for look in looks])
    needed = min(MIN_SHARED, len(columns))
    found = []
    for start in range(0, len(looks), BLOCK):
        for first, second, distance in _near(hashed, start=start, needed=needed):
            if patients[first] != patients[second]:
                found.append(
                    {
                        "distance": round(distance, 4),
                        "scans": [
                            {"site": looks[n].site, "scan_id": looks[n].scan_id}
                            for n in (first, second)
                        ],
                    }
                )
    return sorted(found, key=lambda pair: pair["distance"])


def refuse_doubles(pairs: Sequence[Mapping[str, Any]]) -> None:
    """Stop the study if two patients look like one.

    Raises:
        LeakageError: Names both rows of the first pairs.
    """
    lines = [
        " and ".join(f"scan '{scan['scan_id']}' at {scan['site']}" for scan in pair["scans"])
        + f": {pair['distance']:.1%} of the bits of their hashes differ"
        for pair in pairs
    ]
    if lines:
        shown = "".join(f"\n  {line}" for line in lines[:MAX_SHOWN])
        more = f"\n  and {len(lines) - MAX_SHOWN} more" if len(lines) > MAX_SHOWN else ""
        raise LeakageError(
            f"{len(lines)} pairs of scans look like one patient under two names (up to "
            f"{NEAR:.0%} may be one; of two patients, a third differs):{shown}{more}\n"
            "Look at both. Give them one patient_id and site, or remove one of the rows; if they "
            "are two patients, set check.near_duplicates to report."
        )


def _signs(looks: Sequence[Look], column: str) -> Float32[np.ndarray, "n bits"]:
    """Return each scan's bits as -1 and 1, and 0 where it lacks the column."""
    bits = {
        number: unpack(look.likenesses[column], num_axes=look.num_axes)
        for number, look in enumerate(looks)
        if column in look.likenesses
    }
    width = max(len(found) for found in bits.values())
    signs = np.zeros((len(looks), width), dtype=np.float32)
    for number, found in bits.items():
        signs[number, : len(found)] = np.where(found, 1.0, -1.0)
    return signs


def _near(
    hashed: Mapping[str, Float32[np.ndarray, "n bits"]], *, start: int, needed: int
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs whose first scan lies in a block, and whose second comes after the first."""
    total: np.ndarray = np.zeros(())
    shared: np.ndarray = np.zeros(())
    for signs in hashed.values():
        block = signs[start : start + BLOCK]
        has_first, has_second = block.any(axis=1), signs.any(axis=1)
        both = np.outer(has_first, has_second)
        differing = (1.0 - (block @ signs.T) / signs.shape[1]) / 2.0
        total = total + np.where(both, differing, 0.0)
        shared = shared + both
    distances = np.where(shared >= needed, total / np.maximum(shared, 1), 1.0)
    for row, column in np.argwhere(distances <= NEAR):
        if start + row < column:
            yield start + int(row), int(column), float(distances[row, column])
