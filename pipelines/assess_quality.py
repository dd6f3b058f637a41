"""Measure how good a site's generator is, beside what real scans of the site would get."""

from functools import partial

import numpy as np

from pipelines._stage import In, Out, main
from sitesynth import seeds
from sitesynth.audits import describe_synthetic
from sitesynth.described import describe_real
from sitesynth.extractors.measured import NetworkFeatures, read_extractors
from sitesynth.features import extractor_for
from sitesynth.generators.generator import read_generator
from sitesynth.generators.label_scores import as_told
from sitesynth.images import read_images
from sitesynth.quality.appearance import AppearanceScores
from sitesynth.quality.assessment import assess_quality, features_of
from sitesynth.quality.by_network import assess_by_network, network_features_of
from sitesynth.quality.conditions import assess_conditions
from sitesynth.quality.matrix import write_features
from sitesynth.quality.reconstruction import (
    assess_reconstruction,
    describe_reconstructions,
    reconstruct_by,
)
from sitesynth.settings import ExtractorSettings, QualitySettings, SamplingSettings
from sitesynth.storage import write_json
from sitesynth.tracking import Run


def run(
    *,
    site: str,
    images: In,
    encoder: In,
    model: In,
    correction: In,
    report: Out,
    features: Out,
    sampling: SamplingSettings,
    quality: QualitySettings,
    extractors: dict[str, ExtractorSettings],
    seed: int,
    tracked: Run,
) -> None:
    """Read a site's scans and its generator; write the quality audit, and features."""
    generator = read_generator(encoder, model, correction)
    config = generator.config
    scans = as_told(read_images(images), config, seed=seed)
    training, validation = scans.in_split("train"), scans.in_split("validation")
    extractor = extractor_for(scans.channels, len(scans.grid))
    presence = {"train": training.presence, "held_out": validation.presence}
    # A synthetic scan is looked at by the sequences of its real twin.
    looked_at = {
        name: np.asarray(present)
        for name, present in {**presence, "synthetic": training.presence}.items()
    }
    appearance = {
        name: AppearanceScores(present, len(scans.sequences)) for name, present in looked_at.items()
    }
    networks = read_extractors(extractors, num_sequences=len(scans.sequences))
    seen = {name: NetworkFeatures(networks, present) for name, present in looked_at.items()}

    def observe_as(kind: str, number: int, voxels: np.ndarray) -> None:
        appearance[kind].observe(number, voxels)
        seen[kind].observe(number, voxels)

    train = describe_real(training, observe=partial(observe_as, "train"))
    held_out = describe_real(validation, observe=partial(observe_as, "held_out"))
    with tracked.progress(len(training), f"quality of {site}") as show:

        def observe(number: int, voxels: np.ndarray) -> None:
            observe_as("synthetic", number, voxels)
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
    reconstruct = reconstruct_by(generator.autoencoder)
    found["reconstruction"] = assess_reconstruction(
        train,
        held_out,
        back=(
            describe_reconstructions(training, reconstruct, extractor, with_similarity=False),
            describe_reconstructions(validation, reconstruct, extractor, with_similarity=True),
        ),
        labels=(asked, known),
        classes=config.classes,
        sequences=scans.sequences,
        grid=config.grid,
        num_resamples=quality.num_resamples,
        rng=seeds.numpy_generator(seed, "quality", "reconstruction", site),
    )
    by_network = network_features_of(train, held_out, networks, seen)
    if networks:
        found["extractors"] = assess_by_network(
            by_network,
            networks,
            settings=quality,
            rng=seeds.numpy_generator(seed, "quality", "extractors", site),
        )
    write_json(report, {"site": site, **found})
    write_features(
        features,
        features_of(train, held_out, synthetic, extractor=extractor),
        by_network=by_network,
    )
    tracked.log_metrics({name: found["synthetic"][name]["value"] for name in ("kid", "fid")})


if __name__ == "__main__":
    main(run)
