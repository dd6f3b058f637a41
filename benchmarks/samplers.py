"""What few steps of a sampler cost in quality: Heun and Euler against a thousand ancestral steps.

Draws scans from one site's trained generator with several samplers, on the same noise, and measures
their kernel distance (KID) to the site's held-out scans, with its interval over patients. The
reference is DDPM's ancestral sampler (Ho et al., 2020) with a thousand steps on the flow's own
path; Euler's method on this path takes DDIM's steps (Song et al., 2021), number for number.

    dvc repro && python -m benchmarks.samplers --site alder

Some minutes on two cores.
"""

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sitesynth import seeds
from sitesynth.audits import describe_real, extractor_for
from sitesynth.features import FeatureScale
from sitesynth.generators import flow
from sitesynth.generators.denoiser import Conditions
from sitesynth.generators.generator import Generator, latent_shape, read_generator
from sitesynth.images import MASK, read_images
from sitesynth.quality.fidelity import kid_with_interval
from sitesynth.sampling import MASK_THRESHOLD


__all__ = ["ancestral", "euler", "main"]

NUM_SAMPLES: Final = 48
NUM_RESAMPLES: Final = 500

Sampler = Callable[[flow.Velocity, Tensor], Tensor]


def euler(velocity: flow.Velocity, noise: Tensor, *, num_steps: int) -> Tensor:
    """Follow a velocity by Euler's method: on this path, DDIM."""
    x = noise
    for now, then in pairwise(flow.time_grid(num_steps)):
        x = x + (then - now) * velocity(x, torch.full((len(x),), now))
    return x


def ancestral(
    velocity: flow.Velocity, noise: Tensor, *, num_steps: int, rng: torch.Generator
) -> Tensor:
    """Draw each earlier x_s from its posterior given x_t and the predicted data (DDPM).

    With x_t = (1 - t) x_0 + t e, and a = (1 - t) / (1 - s), the posterior's variance is
    s^2 (t^2 - a^2 s^2) / t^2, and its mean a s^2 / t^2 x_t + (1 - s) (t^2 - a^2 s^2) / t^2 x_0.
    """
    x = noise
    for t, s in pairwise(flow.time_grid(num_steps)):
        data = x - t * velocity(x, torch.full((len(x),), t))
        kept = (1 - t) / (1 - s)
        fresh = t * t - kept * kept * s * s
        x = (kept * s * s * x + (1 - s) * fresh * data) / (t * t)
        if s > 0:
            x = x + s * fresh**0.5 / t * torch.randn(x.shape, generator=rng)
    return x


@torch.no_grad()
def draw(generator: Generator, sampler: Sampler, labels: Tensor) -> tuple[np.ndarray, int]:
    """Draw scans from the same noise for every sampler; also return the network's evaluations."""
    config = generator.config
    shape = (len(labels), *latent_shape(config))
    noise = torch.randn(shape, generator=seeds.generator(0, "noise"))
    conditions = Conditions(labels, torch.ones(len(labels), len(config.channels), dtype=torch.bool))
    calls = 0

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        told: Tensor = generator.flow(x, t, conditions)
        return told

    latents = sampler(velocity, noise)
    images = generator.autoencoder.decode(generator.scale.restore(latents)).clamp(0, 1)
    if config.channels[-1] == MASK:
        images[:, -1] = (images[:, -1] > MASK_THRESHOLD).float()
    return images.numpy(), calls


def main() -> None:
    """Print a row per sampler."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--site", default="alder")
    site = parser.parse_args().site
    generator = read_generator(Path("models/autoencoder") / site, Path("models/diffusion") / site)
    scans = read_images(Path("data/images") / site)
    real = {split: describe_real(scans.in_split(split)) for split in ("train", "validation")}
    extractor = extractor_for(scans.channels, len(scans.grid))
    scale = FeatureScale.of(real["train"].features)
    labels = torch.arange(NUM_SAMPLES) % len(generator.config.classes)
    rng = seeds.generator(0, "ancestral")
    samplers: dict[str, Sampler] = {
        "Heun, 4": lambda v, e: flow.integrate(v, e, times=flow.time_grid(4)),
        "Heun, 8": lambda v, e: flow.integrate(v, e, times=flow.time_grid(8)),
        "Heun, 16": lambda v, e: flow.integrate(v, e, times=flow.time_grid(16)),
        "Euler (DDIM), 16": lambda v, e: euler(v, e, num_steps=16),
        "Euler (DDIM), 50": lambda v, e: euler(v, e, num_steps=50),
        "ancestral (DDPM), 1000": lambda v, e: ancestral(v, e, num_steps=1000, rng=rng),
    }
    everything = np.ones(len(scans.channels), dtype=bool)
    # Held-out scans lack sequences; as many synthetic ones must.
    lacking = np.resize(real["validation"].presence, (NUM_SAMPLES, len(scans.channels)))
    for name, sampler in samplers.items():
        start = time.perf_counter()
        images, calls = draw(generator, sampler, labels)
        seconds = time.perf_counter() - start
        features = np.stack([extractor.extract(image, everything) for image in images])
        features = extractor.hide(features, lacking)
        told = kid_with_interval(
            scale.standardize(real["validation"].features),
            scale.standardize(features),
            patients_x=real["validation"].patients,
            patients_y=[str(number) for number in range(NUM_SAMPLES)],
            num_resamples=NUM_RESAMPLES,
            rng=seeds.numpy_generator(0, "resamples"),
        )
        print(
            f"{name:24s} {calls:5d} evaluations {NUM_SAMPLES / seconds:6.2f} scans/s   "
            f"KID {told.value:.3f} ({told.low:.3f} to {told.high:.3f})",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
