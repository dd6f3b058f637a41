"""The card that travels with a generator: what it learned from, how well, how safely."""

from collections.abc import Mapping, Sequence
from typing import Any

from sitesynth.generators.generator import GeneratorConfig
from sitesynth.images import ImageSet


__all__ = ["describe_card", "write_card"]


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

    Args:
        config: The generator's config.
        training: The scans it was trained on.
        losses: Flow loss per noise level, for training and held-out scans.
        privacy: The site's privacy audit, its gate included.
        quality: The site's quality audit.
        has_own_key: Whether the bundle is signed with the site's own key.
    """
    labels = training.table[config.label]
    return {
        "site": config.site,
        "task": config.label,
        "training": {
            "patients": int(training.table["patient_id"].nunique()),
            "scans": len(training),
            "scans_per_class": {name: int((labels == name).sum()) for name in config.classes},
            "scans_of_unknown_class": int((labels == "").sum()),
            "scans_per_channel": {
                channel: int(has)
                for channel, has in zip(
                    training.channels, training.presence.sum(dim=0).tolist(), strict=True
                )
            },
        },
        "flow_losses": {split: dict(told) for split, told in losses.items()},
        "privacy": dict(privacy),
        "quality": dict(quality),
        "signature": "site key" if has_own_key else "development key: whole, but anyone could sign",
    }


def describe_card(card: Mapping[str, Any], config: GeneratorConfig) -> str:
    """Say a card in words, as Markdown."""
    training = card["training"]
    gate = card["privacy"].get("gate", {})
    counts = _listed(training["scans_per_class"])
    lines = [
        f"# Generator of site {card['site']}",
        "",
        (
            "A KL autoencoder and a label-conditional rectified flow over its latents. It draws "
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
        "## Privacy",
        "",
        f"Gate: {gate.get('verdict', 'not assessed')}.",
        *(f"- {reason}" for reason in gate.get("reasons", ())),
        "",
        "A pass means that no leak was found at the audit's power. It does not mean anonymous.",
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


def _listed(counts: Mapping[str, int]) -> str:
    items: Sequence[str] = [f"{count} {name}" for name, count in counts.items()]
    return ", ".join(items)
