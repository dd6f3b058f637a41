"""How a site's scans get into the study: from the cohort's table, or from the phantom.

What is left behind is described, and read, by `sitesynth.cohorts.acquired`.
"""

from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd

from sitesynth.cohorts.sources import Row, Source
from sitesynth.cohorts.tables import Cohort, file_columns, map_source, read_cohort
from sitesynth.errors import CohortError
from sitesynth.patterns import count_classes
from sitesynth.settings import CohortSettings, PhantomSettings, SiteSettings
from sitesynth.storage import digest_of_file, write_json, write_text
from sitesynth.tracking import Progress


__all__ = ["acquire_site"]


def acquire_site(
    site: str,
    *,
    source: Path,
    folder: Path,
    cohort: CohortSettings,
    sites: SiteSettings,
    phantom: PhantomSettings | None,
    seed: int,
    progress: Progress,
) -> None:
    """Write one site's table with the digests of its files; make the files, for the phantom.

    Args:
        site: Which site.
        source: The folder that `cohort.table` is relative to.
        folder: Where to write.
        cohort: What the table means; a null `table` asks for the phantom.
        sites: The sites of the study.
        phantom: The phantom consortium; not looked at if there is a table.
        seed: Root seed, from which the phantom is drawn.
        progress: Shows how far the files are.

    Raises:
        MissingInputError: If the table does not exist.
        CohortError: If the table breaks the data contract, whichever site's row it is.
    """
    if cohort.table is not None:
        found = read_cohort(source / cohort.table, cohort=cohort, sites=sites)
    elif phantom is not None:
        found = _made_phantom(
            site,
            folder=folder,
            cohort=cohort,
            sites=sites,
            phantom=phantom,
            seed=seed,
            progress=progress,
        )
    else:
        raise CohortError("cohort.table is null, which asks for the phantom, but phantom is null.")
    table = found.table[found.table["site"] == site].reset_index(drop=True)
    digests: list[dict[str, str]] = []
    with progress(len(table), "read files") as on_step:
        for number, (_, row) in enumerate(table.iterrows(), start=1):
            digests.append(
                {
                    f"sha256_{name}": digest_of_file(found.root / row[name]) if row[name] else ""
                    for name in file_columns(table, cohort)
                }
            )
            on_step(number, {})
    table = pd.concat([table, pd.DataFrame(digests, dtype=str)], axis=1)
    role = "training" if site in sites.training else "external"
    about = _about(table, cohort) | {
        "left_out": dict(found.left_out),
        "role": role,
        "root": found.root.as_posix(),
        "site": site,
        "source": cohort.table,
    }
    write_text(folder / "table.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(folder / "cohort.json", about)


def _made_phantom(
    site: str,
    *,
    folder: Path,
    cohort: CohortSettings,
    sites: SiteSettings,
    phantom: PhantomSettings,
    seed: int,
    progress: Progress,
) -> Cohort:
    """Make one site of the phantom consortium, and check its table like any other."""
    # Studies of real scans do not need what draws phantoms.
    from sitesynth.phantom.consortium import write_site  # noqa: PLC0415

    numbers = count(1)
    with progress(phantom.sites[site].num_patients, "make phantoms") as on_step:
        rows = write_site(
            site, phantom, folder, seed=seed, on_scan=lambda scan_id: on_step(next(numbers), {})
        )
    header = tuple(rows[0])
    numbered = (Row(number, tuple(row.values())) for number, row in enumerate(rows, start=2))
    source = Source(f"of phantom site {site}", header, tuple(numbered))
    return map_source(source, root=folder, cohort=cohort, sites=sites)


def _about(table: pd.DataFrame, cohort: CohortSettings) -> dict[str, Any]:
    """Count a site's scans, patients, labels and missing files."""
    # "" comes before any name, so a patient's known label wins over scans without one.
    labels = table.groupby("patient_id")[list(cohort.labels)].max()
    return {
        "missing": {name: int((table[name] == "").sum()) for name in file_columns(table, cohort)},
        "num_patients": len(labels),
        "num_scans": len(table),
        "patients": {
            label: count_classes(labels[label], label, classes)
            for label, classes in cohort.labels.items()
        },
    }
