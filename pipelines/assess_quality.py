"""Measure how good a site's generator is, beside what real scans of the site would get."""

import numpy as np

from pipelines._stage import In, Out, main
from sitesynth import seeds
from sitesynth.audits import describe_real, describe_synthetic, extractor_for
from sitesynth.generators.generator import read_generator
from sitesynth.images import read_images
from sitesynth.quality.appearance import AppearanceScores
from sitesynth.quality.assessment import assess_quality, features_of
from sitesynth.quality.conditions import assess_conditions
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
    scans, generator = read_images(images), read_generator(encoder, model)
    training, validation = scans.in_split("train"), scans.in_split("validation")
    extractor, config = extractor_for(scans.channels, len(scans.grid)), generator.config
    presence = {"train": training.presence, "held_out": validation.presence}
    # A synthetic scan is looked at by the sequences of its real twin.
    appearance = {
        name: AppearanceScores(np.asarray(present), len(scans.sequences))
        for name, present in {**presence, "synthetic": training.presence}.items()
    }
    train = describe_real(training, observe=appearance["train"].observe)
    held_out = describe_real(validation, observe=appearance["held_out"].observe)
    with tracked.progress(len(training), f"quality of {site}") as show:

        def observe(number: int, voxels: np.ndarray) -> None:
            appearance["synthetic"].observe(number, voxels)
            show(number + 1, {})

        synthetic = describe_synthetic(
            generator,
            training,
            samples_per_scan=1,
            sampling=sampling,
            seed=seed,
            purpose="quality",
            observe=observe,
        )
    found = assess_quality(
        train,
        held_out,
        synthetic,
        appearance=appearance,
        extractor=extractor,
        settings=quality,
        rng=seeds.numpy_generator(seed, "quality", site),
    )
    asked, known = (
        np.asarray(chosen.labels(config.label, config.classes)) for chosen in (training, validation)
    )
    found |= assess_conditions(
        train,
        held_out,
        synthetic,
        labels=(asked, known, asked),
        classes=config.classes,
        extractor=extractor,
        grid=config.grid,
        spacing_mm=config.spacing_mm,
        num_resamples=quality.num_resamples,
        rng=seeds.numpy_generator(seed, "quality", "conditions", site),
    )
    write_json(report, {"site": site, **found})
    write_features(features, features_of(train, held_out, synthetic, extractor=extractor))
    tracked.log_metrics({name: found["synthetic"][name]["value"] for name in ("kid", "fid")})


if __name__ == "__main__":
    main(run)
