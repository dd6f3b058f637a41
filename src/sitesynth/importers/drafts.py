"""What an importer has made out of a folder: scans that go in, and patients who do not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import final


__all__ = ["Draft", "LeftOut", "Reason", "Scan"]


class Reason(StrEnum):
    """Why a scan or a patient does not go in."""

    FOLLOW_UP = "follow-up"
    SECOND_SCAN = "second scan"
    NO_RECORD = "not in the label table"
    NO_IMAGES = "no images"
    AMBIGUOUS = "several files for one sequence"
    UNKNOWN_VALUE = "value not understood"
    CONTRADICTION = "contradiction"
    UNREADABLE = "unreadable file"
    GRIDS_DIFFER = "grids differ"
    NO_VOLUME = "series is no volume"
    IN_EARLIER_COHORT = "in an earlier cohort"


@final
@dataclass(frozen=True, slots=True)
class Scan:
    """One row of the table to be."""

    patient_id: str
    scan_id: str
    site: str
    values: Mapping[str, str]
    """Labels and covariates in our codes; empty or absent is unknown."""
    files: Mapping[str, Path]
    """By sequence, or mask: an absolute path; absent where the sequence is missing."""
    names: Mapping[str, str]
    """By sequence, or mask: the file's path below `scans/`."""


@final
@dataclass(frozen=True, slots=True)
class LeftOut:
    """One patient, scan or row that does not go in."""

    patient_id: str
    scan_id: str
    reason: Reason
    detail: str
    """Which file, column or value it is about."""


@final
@dataclass(frozen=True)
class Draft:
    """A cohort before it is written."""

    layout: str
    sequences: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    """By label: its classes, in the order of their numbers."""
    covariates: tuple[str, ...]
    scans: tuple[Scan, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def has_mask(self) -> bool:
        """Whether any scan has a mask."""
        return any("mask" in scan.files for scan in self.scans)

    @property
    def sites(self) -> dict[str, int]:
        """Patients by site, the largest site first."""
        counts = Counter(site for _, site in {(one.patient_id, one.site) for one in self.scans})
        return {site: counts[site] for site in sorted(counts, key=lambda s: (-counts[s], s))}

    def patients_by_class(self, label: str) -> dict[str, int]:
        """Return the number of patients of each class, and of those of whom it is unknown."""
        known = {scan.patient_id: scan.values.get(label, "") for scan in self.scans}
        counts = Counter(known.values())
        return {name: counts[name] for name in self.labels[label]} | {"unknown": counts[""]}
