"""Ask a site's generator what it tells about its patients; decide whether it may leave."""

from pipelines._stage import In, Out, main
from sitesynth import seeds
from sitesynth.audits import describe_synthetic
from sitesynth.described import describe_real
from sitesynth.features import extractor_for
from sitesynth.generators.generator import read_generator
from sitesynth.generators.label_scores import as_told
from sitesynth.generators.private_gradients import PRIVATE_FILE
from sitesynth.images import read_images
from sitesynth.privacy.accounting import account
from sitesynth.privacy.audit import audit_privacy
from sitesynth.privacy.encoder import encoder_view
from sitesynth.privacy.nearest import find_nearest_pairs
from sitesynth.privacy.pairs import write_pairs
from sitesynth.privacy.probes import limits_of, probe
from sitesynth.privacy.release import digest_weights
from sitesynth.settings import PrivacySettings, SamplingSettings
from sitesynth.storage import read_json, write_json
from sitesynth.tracking import Run


UNKNOWN = "unknown"
"""What the audit calls scans drawn without a class."""


def run(
    *,
    site: str,
    images: In,
    encoder: In,
    model: In,
    correction: In,
    audit: Out,
    pairs: Out,
    sampling: SamplingSettings,
    privacy: PrivacySettings,
    seed: int,
    tracked: Run,
) -> None:
    """Read a site's scans and its generator; write the privacy audit, and pairs to look at."""
    generator = read_generator(encoder, model, correction)
    scans = as_told(read_images(images), generator.config, seed=seed)
    train, held_out = scans.in_split("train"), scans.in_split("validation")
    described = describe_real(train), describe_real(held_out)
    # A pattern of findings that is not told of at all is drawn as one of unknown label.
    told = {*generator.config.classes}
    asked = [name if name in told else UNKNOWN for name in train.table[generator.config.label]]
    total = len(train) * privacy.samples_per_scan
    with tracked.progress(total, f"privacy of {site}") as show:
        synthetic = describe_synthetic(
            generator,
            train,
            samples_per_scan=privacy.samples_per_scan,
            sampling=sampling,
            seed=seed,
            purpose="privacy",
            observe=lambda number, voxels: show(number + 1, {}),
        )
    guarantee = None
    if generator.config.diffusion.dp is not None:
        guarantee = account(
            read_json(model / PRIVATE_FILE),
            is_autoencoder_nobodys=generator.config.latents_source == "phantom",
            is_choice_blind=generator.config.diffusion.validate_every is None,
        )
    learned = None
    if privacy.encoder is not None:
        learned = encoder_view(*described, settings=privacy.encoder, seed=seed, site=site)
    found = audit_privacy(
        *described,
        synthetic,
        classes=asked * privacy.samples_per_scan,
        errors=probe(generator, train, held_out, num_draws=privacy.noise_draws, seed=seed),
        limits=limits_of(generator.config),
        feature_names=extractor_for(scans.channels, len(scans.grid)).names,
        guarantee=guarantee,
        settings=privacy,
        rng=seeds.numpy_generator(seed, "privacy", site),
        learned=learned,
    )
    write_json(
        audit, {"site": site, "weights": digest_weights(encoder, model, correction), **found}
    )
    write_pairs(pairs, find_nearest_pairs(*described, synthetic))
    tracked.set_tags({"gate": found["gate"]["verdict"]})
    tracked.log_metrics(
        {f"copy_rate_{view}": copies["rate"] for view, copies in found["copies"].items()}
    )


if __name__ == "__main__":
    main(run)
