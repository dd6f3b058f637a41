"""What tests ask of a draft."""

from collections.abc import Sequence
from pathlib import Path

from sitesynth.importers.catalogue import LAYOUTS
from sitesynth.importers.drafts import Draft, Scan
from sitesynth.importers.layouts import import_layout
from sitesynth.progress import show_progress


__all__ = ["by_patient", "imported", "reasons", "values"]


def imported(name: str, source: Path, tables: Sequence[Path], *, site: str = "here") -> Draft:
    """Import a public layout."""
    return import_layout(LAYOUTS[name], source, tables, site=site, progress=show_progress)


def by_patient(draft: Draft) -> dict[str, Scan]:
    """Return the scans that go in."""
    return {scan.patient_id: scan for scan in draft.scans}


def values(draft: Draft, *names: str) -> dict[str, tuple[str, ...]]:
    """Return values of each patient, in the order of the names."""
    return {
        scan.patient_id: tuple(scan.values.get(name, "") for name in names) for scan in draft.scans
    }


def reasons(draft: Draft) -> dict[str, str]:
    """Return why each scan, or patient without one, is left out."""
    return {one.scan_id or one.patient_id: one.reason.value for one in draft.left_out}
