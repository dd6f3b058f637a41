"""Shared by benchmarks: a generator as a study's own stage trains it, and a row of a table."""

import argparse
import sys
from pathlib import Path
from typing import Any

from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.diffusion import train_diffusion
from sitesynth.generators.generator import Generator, read_autoencoder
from sitesynth.images import ImageSet, read_images
from sitesynth.settings import Settings, load_settings


__all__ = ["asked_site", "changed", "train_generator", "write_row"]


def asked_site(description: str | None) -> tuple[str, Settings, ImageSet, Autoencoder]:
    """Read the site that the command line asks for: name, study, scans and autoencoder.

    Args:
        description: What the benchmark does, for `--help`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--models", type=Path, default=Path("models/autoencoder"))
    parser.add_argument("--site", default="alder")
    given = parser.parse_args()
    study = load_settings(Path("params.yaml"), site=given.site)
    scans = read_images(given.images / given.site)
    autoencoder = read_autoencoder(
        given.models / given.site,
        study.autoencoder,
        num_channels=len(scans.channels),
        dims=len(scans.grid),
    )
    return given.site, study, scans, autoencoder


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


def write_row(*cells: object) -> None:
    """Write a row of a Markdown table, at once: the next one may take minutes."""
    sys.stdout.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    sys.stdout.flush()
