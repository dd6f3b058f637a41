"""Make or read the scans of one site, in our columns and codes."""

from pipelines._stage import In, Out, main
from sitesynth.cohorts.acquisition import acquire_site
from sitesynth.settings import CohortSettings, PhantomSettings, SiteSettings
from sitesynth.tracking import Run


def run(
    *,
    site: str,
    source: In,
    acquired: Out,
    cohort: CohortSettings,
    sites: SiteSettings,
    phantom: PhantomSettings | None,
    seed: int,
    tracked: Run,
) -> None:
    """Read the cohort's table, or make the phantom; write the site's table."""
    acquire_site(
        site,
        source=source,
        folder=acquired,
        cohort=cohort,
        sites=sites,
        phantom=phantom,
        seed=seed,
        progress=tracked.progress,
    )


if __name__ == "__main__":
    main(run)
