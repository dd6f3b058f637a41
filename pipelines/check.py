"""Check the table and the voxels of one site; stop the study if a rule is broken."""

from pipelines._stage import In, Out, main
from sitesynth.cohorts.acquired import read_acquired
from sitesynth.cohorts.checks import check_site, raise_failures
from sitesynth.cohorts.data_docs import render_page
from sitesynth.cohorts.thumbnails import draw_thumbnails
from sitesynth.cohorts.voxels import measure_scans
from sitesynth.settings import (
    CheckSettings,
    CohortSettings,
    ExtractorSettings,
    TaskSettings,
)
from sitesynth.storage import write_json, write_text
from sitesynth.tracking import Run


def run(
    *,
    site: str,  # noqa: ARG001 (the acquired table knows its site)
    acquired: In,
    checks: Out,
    page: Out,
    cohort: CohortSettings,
    task: TaskSettings,
    check: CheckSettings,
    extractors: dict[str, ExtractorSettings],
    tracked: Run,
) -> None:
    """Read a site's table and files; write what was checked, as JSON and as a page."""
    if extractors:
        # Hours before they are used, and at every site: who trains is nothing that a check is
        # rerun for. They bring torch along, which nothing else here needs.
        from sitesynth.extractors.measured import read_extractors  # noqa: PLC0415

        read_extractors(extractors, num_sequences=len(cohort.sequences))
    found = read_acquired(acquired)
    measures = measure_scans(found, cohort=cohort, progress=tracked.progress)
    result = check_site(found, measures, cohort=cohort, task=task, check=check)
    write_json(checks, result)
    thumbnails = draw_thumbnails(result, root=found.root)
    write_text(page, render_page(result, thumbnails=thumbnails))
    tracked.log_file(page, folder="")
    raise_failures(result, page=page)


if __name__ == "__main__":
    main(run)
