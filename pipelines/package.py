"""Pack a site's generator into the signed bundle that leaves the site, if its gate lets it."""

from pipelines._stage import In, Out, main
from sitesynth.generators.bundle import site_key, write_bundle
from sitesynth.generators.card import describe_card, write_card
from sitesynth.generators.generator import read_generator
from sitesynth.images import read_images
from sitesynth.privacy.release import check_release, digest_weights
from sitesynth.storage import read_json


def run(
    *,
    site: str,
    images: In,
    encoder: In,
    model: In,
    correction: In,
    privacy_audit: In,
    quality_audit: In,
    bundle: Out,
    seed: int,
) -> None:
    """Read a generator and its audits; write the bundle, or refuse to."""
    audit = read_json(privacy_audit)
    check_release(audit, digest_weights(encoder, model, correction))
    generator = read_generator(encoder, model, correction)
    key, has_own_key = site_key(site, seed=seed)
    card = write_card(
        generator.config,
        read_images(images).in_split("train"),
        losses=read_json(model / "losses.json"),
        privacy=audit,
        quality=read_json(quality_audit),
        has_own_key=has_own_key,
    )
    write_bundle(
        bundle,
        generator,
        card=card,
        card_text=describe_card(card, generator.config),
        signing_key=key,
    )


if __name__ == "__main__":
    main(run)
