"""Say how label, covariates and hospital hang together, before anything is trained."""

from pipelines._stage import In, Out, main
from sitesynth.cohorts.confounding import describe_confounding
from sitesynth.settings import CohortSettings, SiteSettings, TaskSettings
from sitesynth.storage import read_json, write_json


def run(
    *,
    checks: In,
    confounding: Out,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    seed: int,
) -> None:
    """Read what every site's check found; write how the sites differ. No image is opened."""
    write_json(
        confounding,
        describe_confounding(
            {site: read_json(checks / f"{site}.json") for site in sites.all},
            training=sites.training,
            label=task.label,
            positive=task.positive,
            classes=cohort.labels[task.label],
            covariates=cohort.covariates,
            seed=seed,
        ),
    )


if __name__ == "__main__":
    main(run)
