"""Draw a site's share of the synthetic cohort from its bundle."""

from pipelines._stage import In, Out, main
from sitesynth.generators.bundle import bundle_digest, read_bundle
from sitesynth.sampling import counts_of, write_samples
from sitesynth.settings import SamplingSettings
from sitesynth.tracking import Run


def run(
    *,
    site: str,
    bundle: In,
    synthetic: Out,
    sampling: SamplingSettings,
    seed: int,
    tracked: Run,
) -> None:
    """Verify a bundle, and nothing else of its site; write synthetic scans."""
    generator = read_bundle(bundle)
    counts = counts_of(generator.config, num_per_class=sampling.num_per_class)
    with tracked.progress(sum(counts), f"samples of {site}") as show:
        write_samples(
            synthetic,
            generator,
            counts=counts,
            settings=sampling,
            bundle_digest=bundle_digest(bundle),
            seed=seed,
            on_scan=lambda number: show(number, {}),
        )


if __name__ == "__main__":
    main(run)
