"""What few steps of a sampler cost in quality, against DDIM-50 and a thousand ancestral steps.

Draws scans from one site's trained generator with several samplers, on the same noise, and measures
their kernel distance (KID) to the site's held-out scans, with its interval over patients, and how
far their latents end from where the flow leads (root mean square, to Heun's method in 100 steps).
The reference is DDPM's ancestral sampler (Ho et al., 2020) in a thousand steps, on the generator's
own schedule; it draws noise on its way, so its latents end elsewhere. With `diffusion.schedule:
cosine` the generator is a DDPM with v-prediction, and DDIM and the ancestral sampler are its own;
on the straight schedule Euler's method takes DDIM's steps, number for number.

    dvc repro && python -m benchmarks.samplers --site alder

The generator's own `sde` draws noise on its way, too.

Some three minutes on two quiet cores, half of them for the thousand steps.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.held_out import HeldOut
from sitesynth import seeds
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.generator import Generator, latent_shape, read_generator
from sitesynth.generators.samplers import (
    SamplerName,
    Velocity,
    follow,
    heun,
    time_grid,
)
from sitesynth.generators.schedules import Schedule
from sitesynth.images import MASK, read_images
from sitesynth.quality.fidelity import kid_with_interval
from sitesynth.sampling import MASK_THRESHOLD, Solver, covariates_of


__all__ = ["ancestral", "main"]

NUM_SAMPLES: Final = 48
NUM_RESAMPLES: Final = 500
NUM_REFERENCE_STEPS: Final = 100

COMPARED: Final[tuple[tuple[SamplerName, int, float, float], ...]] = (
    ("heun", 8, 0.0, 1.0),
    ("multistep", 15, 0.0, 1.0),
    ("multistep", 24, 0.0, 1.0),
    ("multistep", 48, 0.0, 1.0),
    ("heun", 16, 0.0, 1.0),
    ("euler", 24, 0.0, 1.0),
    ("ddim", 50, 0.0, 1.0),
    ("sde", 12, 1.3, 1.0),
    ("sde", 16, 1.5, 0.5),
    ("sde", 24, 0.0, 1.0),
    ("sde", 24, 1.0, 1.0),
    ("sde", 24, 1.3, 1.0),
    ("sde", 24, 1.5, 1.0),
    ("sde", 24, 1.5, 0.5),
    ("sde", 48, 1.0, 1.0),
    ("sde", 48, 1.3, 1.0),
)
"""Sampler, steps, eta, and the time from which on it holds."""

Draw = Callable[[Schedule, Velocity, Tensor], Tensor]


def ancestral(
    schedule: Schedule, velocity: Velocity, noise: Tensor, *, num_steps: int, rng: torch.Generator
) -> Tensor:
    """Draw each earlier x_s from its posterior given x_t and the predicted data (DDPM).

    With x_t = a_t x_0 + b_t e, k = a_t / a_s and f = b_t^2 - k^2 b_s^2, the posterior's variance is
    b_s^2 f / b_t^2, and its mean (k b_s^2 x_t + a_s f x_0) / b_t^2.
    """
    x = noise
    for t, s in pairwise(torch.tensor(time_grid(num_steps))):
        (a_t, b_t), (a_s, b_s) = schedule.weights(t), schedule.weights(s)
        data, _ = schedule.split(x, velocity(x, t.expand(len(x))), t.expand(len(x)))
        kept = a_t / a_s
        fresh = b_t.square() - (kept * b_s).square()
        x = (kept * b_s.square() * x + a_s * fresh * data) / b_t.square()
        if s > 0:
            x = x + b_s * fresh.sqrt() / b_t * torch.randn(x.shape, generator=rng)
    return x


@torch.no_grad()
def draw(generator: Generator, sampler: Draw, labels: Tensor) -> tuple[np.ndarray, Tensor, int]:
    """Draw scans from the same noise for every sampler; return latents and number of calls, too."""
    flow, config = generator.flow, generator.config
    if not isinstance(flow, Denoiser):
        raise SystemExit(f"generator.variant {config.variant} has no sampler; set it to flow.")
    shape = (len(labels), *latent_shape(config))
    noise = torch.randn(shape, generator=seeds.generator(0, "noise"))
    told = [
        words
        for index, label in enumerate(labels.tolist())
        for words in covariates_of(generator, config.classes[label], [index], seed=0)
    ]
    conditions = Conditions(
        labels,
        torch.ones(len(labels), len(config.channels), dtype=torch.bool),
        config.covariates and torch.tensor([config.covariates.encode(words) for words in told]),
    )
    calls = 0

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        told: Tensor = flow(x, t, conditions)
        return told

    latents = sampler(flow.schedule, velocity, noise)
    images = generator.autoencoder.decode(generator.scale.restore(latents)).clamp(0, 1)
    if config.channels[-1] == MASK:
        images[:, -1] = (images[:, -1] > MASK_THRESHOLD).float()
    return images.numpy(), latents, calls


def in_steps(name: SamplerName, num_steps: int, eta: float, until: float) -> Draw:
    """Return what draws by a sampler of the package, with an eta from time `until` on."""
    solver = Solver(name, num_steps, 1.0, (0.0, 1.0), eta, (0.0, until))

    def sampler(schedule: Schedule, velocity: Velocity, noise: Tensor) -> Tensor:
        rng = seeds.generator(0, "fresh", name, num_steps)
        fresh = [torch.randn(noise.shape, generator=rng) for _ in range(solver.num_draws - 1)]
        draws = torch.stack([noise, *fresh], dim=1)
        return follow(name, schedule, velocity, draws, time_grid(num_steps), eta_at=solver.eta_at)

    return sampler


def _named(name: SamplerName, num_steps: int, eta: float, until: float) -> str:
    told = f"{name}, {num_steps}"
    if name == "sde":
        told += f", eta {eta:g}"
    return told if until == 1 else f"{told} from t = {until:g} on"


def main() -> None:
    """Print a row per sampler."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--site", default="alder")
    parser.add_argument("--only", default="", help="samplers whose names begin like this")
    given = parser.parse_args()
    site = given.site
    generator = read_generator(Path("models/autoencoder") / site, Path("models/diffusion") / site)
    scans = read_images(Path("data/images") / site)
    held_out = HeldOut.of(scans)
    labels = torch.arange(NUM_SAMPLES) % len(generator.config.classes)
    rng = seeds.generator(0, "ancestral")
    _, endpoint, _ = draw(
        generator, lambda p, v, e: heun(p, v, e, time_grid(NUM_REFERENCE_STEPS)), labels
    )
    samplers: dict[str, Draw] = {
        _named(name, steps, eta, until): in_steps(name, steps, eta, until)
        for name, steps, eta, until in COMPARED
    }
    samplers["ancestral (DDPM), 1000"] = partial(ancestral, num_steps=1000, rng=rng)
    everything = np.ones(len(scans.channels), dtype=bool)
    for name, sampler in samplers.items():
        if not name.startswith(given.only):
            continue
        start = time.perf_counter()
        images, latents, calls = draw(generator, sampler, labels)
        seconds = time.perf_counter() - start
        features = np.stack([held_out.extractor.extract(image, everything) for image in images])
        told = kid_with_interval(
            held_out.scale.standardize(held_out.scans.features),
            held_out.scale.standardize(held_out.lacking_alike(features)),
            patients_x=held_out.scans.patients,
            patients_y=[str(number) for number in range(NUM_SAMPLES)],
            num_resamples=NUM_RESAMPLES,
            rng=seeds.numpy_generator(0, "resamples"),
        )
        print(
            f"{name:34s} {calls:5d} evaluations {NUM_SAMPLES / seconds:6.2f} scans/s   "
            f"KID {told.value:.3f} ({told.low:.3f} to {told.high:.3f})   "
            f"off by {float((latents - endpoint).square().mean().sqrt()):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
