"""A generator as a study's own stage trains it: shared by several benchmarks."""

from typing import Any

from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.diffusion import train_diffusion
from sitesynth.generators.generator import Generator
from sitesynth.images import ImageSet
from sitesynth.settings import Settings


__all__ = ["changed", "train_generator"]


def changed(study: Settings, section: str, **knobs: Any) -> Settings:
    """Return a study with other values of some knobs of a section, unchecked."""
    settings = getattr(study, section).model_copy(update=knobs)
    return study.model_copy(update={section: settings})


def train_generator(
    scans: ImageSet, autoencoder: Autoencoder, study: Settings, *, site: str, **others: Any
) -> tuple[Generator, dict[str, dict[str, float]]]:
    """Train a site's generator by all that a study says of it.

    Args:
        scans: All scans of the site.
        autoencoder: The site's autoencoder.
        study: The study.
        site: Names the randomness.
        others: Arguments of `train_diffusion` beyond the study, or instead of what it says.

    Returns:
        The generator, and its errors of the velocity by split and noise level.
    """
    asked: dict[str, Any] = {
        "settings": study.diffusion,
        "compute": study.compute,
        "autoencoder_settings": study.autoencoder,
        "latents_settings": study.latents,
        "generator": study.generator,
        "label": study.task.label,
        "classes": study.classes,
        "spacing_mm": study.grid.spacing_mm,
        "seed": study.seed,
        "bounds": {},
    }
    return train_diffusion(scans, autoencoder, site=site, **(asked | others))
