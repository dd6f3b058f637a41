"""The card that travels with a generator: what it learned from, how well, how safely."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sitesynth.generators.generator import GeneratorConfig
from sitesynth.generators.rivals import VariantName
from sitesynth.images import ImageSet


__all__ = ["describe_card", "write_card"]

MADE_OF: Final[Mapping[VariantName, str]] = {
    "flow": "A KL autoencoder and a label-conditional rectified flow over its latents.",
    "gan": "A baseline: a KL autoencoder and a label-conditional WGAN-GP over its latents.",
    "gaussian": "A baseline: a KL autoencoder and a Gaussian per label over its latents.",
}

CORRECTED: Final = (
    "Its samples are brought to the mean sharpness and grey levels of these scans.",
    "",
)

PHANTOM_LATENTS: Final = (
    "The autoencoder was trained on phantoms, which are nobody's scans; every site has the same.",
    "",
)


def write_card(
    config: GeneratorConfig,
    training: ImageSet,
    *,
    losses: Mapping[str, Mapping[str, float]],
    privacy: Mapping[str, Any],
    quality: Mapping[str, Any],
    has_own_key: bool,
) -> dict[str, Any]:
    """Collect what a receiver should know; counts only, nothing about a single patient.

    Losses and scores are of patients and without noise: a bundle with an epsilon tells none.

    Args:
        config: The generator's config.
        training: The scans it was trained on.
        losses: For training and held-out scans: the flow's loss per noise level, or what
            `generators.variants` says of its rivals.
        privacy: The site's privacy audit, its gate included.
        quality: The site's quality audit.
        has_own_key: Whether the bundle is signed with the site's own key.
    """
    labels = training.table[config.label]
    if privacy["epsilon"] is not None:
        kept = ("site", "weights", "epsilon", "differential_privacy")
        privacy = {name: privacy[name] for name in kept} | {
            "gate": {"verdict": privacy["gate"]["verdict"]}
        }
        losses, quality = {}, {}
    return {
        "site": config.site,
        "task": config.label,
        "training": {
            "patients": int(training.table["patient_id"].nunique()),
            "scans": len(training),
            "scans_per_class": {name: int((labels == name).sum()) for name in config.classes},
            "scans_of_unknown_class": int((~labels.isin(list(config.classes))).sum()),
            "scans_per_channel": {
                channel: int(has)
                for channel, has in zip(
                    training.channels, training.presence.sum(dim=0).tolist(), strict=True
                )
            },
        },
        **_told_of_variant(config, losses),
        "privacy": dict(privacy),
        "quality": dict(quality),
        "signature": "site key" if has_own_key else "development key: whole, but anyone could sign",
    }


def _told_of_variant(
    config: GeneratorConfig, losses: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return the losses under a name that says of what; the card of a flow names no variant."""
    told = {split: dict(values) for split, values in losses.items()}
    if config.variant == "flow":
        return {"flow_losses": told}
    return {"flow_losses": {}, "variant": config.variant, "variant_losses": told}


def describe_card(card: Mapping[str, Any], config: GeneratorConfig) -> str:
    """Say a card in words, as Markdown."""
    training = card["training"]
    gate = card["privacy"].get("gate", {})
    counts = _listed(training["scans_per_class"])
    lines = [
        f"# Generator of site {card['site']}",
        "",
        (
            f"{MADE_OF[config.variant]} It draws "
            f"{'x'.join(str(size) for size in config.grid)} scans of {', '.join(config.channels)}, "
            f"conditional on {config.label} ({', '.join(config.classes)}){_covariates_of(config)}."
        ),
        "",
        "## Trained on",
        "",
        (
            f"{training['patients']} patients, {training['scans']} scans: {counts}; "
            f"{training['scans_of_unknown_class']} of unknown class."
        ),
        "",
        *(PHANTOM_LATENTS if config.latents_source == "phantom" else ()),
        *(() if config.correction is None else CORRECTED),
        "## Privacy",
        "",
        f"Gate: {gate.get('verdict', 'not assessed')}.",
        *(f"- {reason}" for reason in gate.get("reasons", ())),
        "",
        "A pass means that no leak was found at the audit's power. It does not mean anonymous.",
        "",
        _describe_noise(card["privacy"].get("differential_privacy")),
        "",
        "## Signature",
        "",
        f"Signed with: {card['signature']}.",
        "",
        "## Use",
        "",
        (
            "For training classifiers of the task above. Not for diagnosis, and not a source of "
            "prevalence: classes are drawn in the numbers asked for."
        ),
        "",
    ]
    return "\n".join(lines)


def _covariates_of(config: GeneratorConfig) -> str:
    if config.covariates is None:
        return ""
    return f" and, where they are known, on {', '.join(config.covariates.names)}"


def _describe_noise(told: Mapping[str, Any] | None) -> str:
    """Say what differential privacy covers, and what it does not."""
    if told is None:
        return "Epsilon: none. Nothing in it was trained with differential privacy."
    guaranteed = f"{told['flow_epsilon_if_noise_were_secret']:.2f} at delta {told['delta']:g}"
    if told["flow_epsilon"] is None:
        guaranteed += ", were the noise secret; it was drawn from the study's seed, and is not"
    if told["epsilon"] is not None:
        return (
            f"Epsilon of the whole: {guaranteed} ({told['unit']}). It covers "
            f"{'; '.join(told['covered'])}. Taken as known: {'; '.join(told['taken_as_public'])}. "
            "What the site tells elsewhere, it does not cover."
        )
    return (
        f"Epsilon of the whole: none. Of {' and '.join(told['covered'])}: {guaranteed} "
        f"({told['unit']}). It does not cover {'; '.join(told['not_covered'])}."
    )


def _listed(counts: Mapping[str, int]) -> str:
    items: Sequence[str] = [f"{count} {name}" for name, count in counts.items()]
    return ", ".join(items)
