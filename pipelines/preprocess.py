"""Bring the scans of one site to the study's grid and to [0, 1]."""

from pipelines._stage import In, Out, main
from sitesynth.cohorts.acquired import read_acquired
from sitesynth.preprocessing.scans import preprocess_site, read_splits
from sitesynth.settings import (
    CohortSettings,
    GridSettings,
    IntensitySettings,
    PreprocessSettings,
)
from sitesynth.tracking import Run


def run(
    *,
    site: str,
    acquired: In,
    splits: In,
    images: Out,
    cohort: CohortSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    preprocess: PreprocessSettings,
    tracked: Run,
) -> None:
    """Read a site's table and files; write one array per scan, or keep it if nothing changed."""
    found = read_acquired(acquired)
    with tracked.progress(len(found.table), f"preprocess {site}") as on_scan:
        num_computed = preprocess_site(
            found,
            splits=read_splits(splits),
            folder=images,
            cohort=cohort,
            grid=grid,
            intensity=intensity,
            num_workers=preprocess.num_workers,
            on_scan=on_scan,
        )
    tracked.log_metrics({"scans": len(found.table), "scans_computed": num_computed})


if __name__ == "__main__":
    main(run)
