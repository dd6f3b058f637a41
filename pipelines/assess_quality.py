"""Measure how good a site's generator is, beside what real scans of the site would get."""

from pipelines._stage import In, Out, main
from sitesynth import seeds
from sitesynth.audits import describe_real, describe_synthetic, extractor_for
from sitesynth.generators.generator import read_generator
from sitesynth.images import read_images
from sitesynth.quality.assessment import assess_quality, features_of
from sitesynth.quality.matrix import write_features
from sitesynth.settings import QualitySettings, SamplingSettings
from sitesynth.storage import write_json
from sitesynth.tracking import Run


def run(
    *,
    site: str,
    images: In,
    encoder: In,
    model: In,
    report: Out,
    features: Out,
    sampling: SamplingSettings,
    quality: QualitySettings,
    seed: int,
    tracked: Run,
) -> None:
    """Read a site's scans and its generator; write the quality audit, and features."""
    scans = read_images(images)
    training = scans.in_split("train")
    extractor = extractor_for(scans.channels, len(scans.grid))
    train, held_out = describe_real(training), describe_real(scans.in_split("validation"))
    with tracked.progress(len(training), f"quality of {site}") as show:
        synthetic = describe_synthetic(
            read_generator(encoder, model),
            training,
            samples_per_scan=1,
            sampling=sampling,
            seed=seed,
            purpose="quality",
            on_scan=lambda number: show(number, {}),
        )
    found = assess_quality(
        train,
        held_out,
        synthetic,
        extractor=extractor,
        settings=quality,
        rng=seeds.numpy_generator(seed, "quality", site),
    )
    write_json(report, {"site": site, **found})
    write_features(features, features_of(train, held_out, synthetic, extractor=extractor))
    tracked.log_metrics({name: found["synthetic"][name]["value"] for name in ("kid", "fid")})


if __name__ == "__main__":
    main(run)
