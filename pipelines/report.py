"""Put every result of the study on one page."""

from pathlib import Path

from pipelines._stage import In, Measured, main
from sitesynth.lockfile import read_lock
from sitesynth.reports.page import render_page
from sitesynth.reports.run_links import links_of
from sitesynth.reports.sections import build_page
from sitesynth.reports.study import Study, read_results
from sitesynth.settings import (
    CohortSettings,
    EvaluationSettings,
    GridSettings,
    PhantomSettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.storage import write_text
from sitesynth.tracking import Run, git_commit


LOCK = Path("dvc.lock")


def run(
    *,
    comparison: In,
    quality_summary: In,
    privacy_summary: In,
    receipt: In,
    mixes: In,
    curve: In,
    results: In,
    checks: In,
    confounding: In,
    splits: In,
    images: In,
    synthetic: In,
    pairs: In,
    autoencoders: In,
    flows: In,
    classifiers: In,
    bundles: In,
    page: Measured,
    study: str,
    seed: int,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    phantom: PhantomSettings | None,
    grid: GridSettings,
    evaluation: EvaluationSettings,
    tracked: Run,
) -> None:
    """Read what every stage wrote; write the page, which holds wall-clock times."""
    described = Study(
        name=study,
        seed=seed,
        cohort=cohort,
        sites=sites,
        task=task,
        grid=grid,
        is_phantom=phantom is not None and cohort.table is None,
        num_resamples=evaluation.num_resamples,
        commit=git_commit(),
    )
    found = read_results(
        described,
        comparison=comparison,
        quality=quality_summary,
        privacy=privacy_summary,
        registry=receipt,
        mixing=mixes,
        supplementation=curve,
        evaluation=results,
        checks=checks,
        confounding=confounding,
        splits=splits,
        images=images,
        synthetic=synthetic,
        pairs=pairs,
        autoencoders=autoencoders,
        flows=flows,
        classifiers=classifiers,
        bundles=bundles,
    )
    built = build_page(described, found)
    # Not an input: DVC has written what it says of the stages before this one.
    write_text(page, render_page(built, runs=links_of(built, read_lock(LOCK))))
    tracked.log_file(page, folder="")


if __name__ == "__main__":
    main(run)
