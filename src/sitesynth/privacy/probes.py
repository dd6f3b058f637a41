"""What someone who holds a generator's weights can measure on a scan.

A model fits what it was trained on better than what it was not. The flow's probe is its velocity's
squared error at five noise levels; the autoencoder's, its reconstruction's absolute error. Every
scan meets the same noise, so that scores differ by the scans alone.

Axes: n = scans, h = held-out scans, c = channels, t = noise levels, e = kinds of error.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth import seeds
from sitesynth.features import FeatureScale
from sitesynth.generators.denoiser import Conditions
from sitesynth.generators.generator import Generator
from sitesynth.generators.latents import scans_at_once
from sitesynth.generators.schedules import Schedule
from sitesynth.images import ImageSet
from sitesynth.training import best_device


__all__ = [
    "NOISE_LEVELS",
    "membership_scores",
    "probe",
    "probe_autoencoder",
    "probe_flow",
    "velocity_errors",
]

NOISE_LEVELS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Times of the flow, 0 = data."""

BATCH_SIZE: Final = 16

SIDES: Final[dict[str, tuple[int, ...]]] = {"as it is": (), "mirrored": (2,)}
"""Axes along which a batch is flipped: training sees scans both ways."""


def velocity_errors(
    predict: Callable[[Float[Tensor, "n ..."], Float[Tensor, " n"]], Float[Tensor, "n ..."]],
    data: Float[Tensor, "n ..."],
    *,
    schedule: Schedule,
    num_draws: int,
    rng: torch.Generator,
) -> Float[np.ndarray, "n t"]:
    """Return each sample's mean squared error of the velocity at each of `NOISE_LEVELS`.

    Args:
        predict: The learned velocity, for all samples at once and in order.
        data: Scaled latents.
        schedule: That of the flow.
        num_draws: Noises per level, each used for all samples.
        rng: Source of the noise.
    """
    errors = torch.zeros(len(data), len(NOISE_LEVELS), dtype=torch.float64)
    for level, time in enumerate(NOISE_LEVELS):
        for _ in range(num_draws):
            noise = torch.randn(data.shape[1:], generator=rng).expand_as(data)
            t = torch.full((len(data),), time)
            mixed, velocity = schedule.mix(data, noise, t)
            error = (predict(mixed, t) - velocity).square().flatten(1).mean(dim=1)
            errors[:, level] += error.double() / num_draws
    return errors.numpy()


def membership_scores(
    train_errors: Float[np.ndarray, "n e"], held_out_errors: Float[np.ndarray, "h e"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " h"]]:
    """Return scores that are higher the smaller a scan's errors are, each kind weighing the same.

    The errors are put on one scale over both groups together, which favours neither. A scan's NaN,
    a channel that it lacks, does not count.
    """
    scale = FeatureScale.of(np.concatenate([train_errors, held_out_errors]))
    spread = np.where(scale.spread > 0, scale.spread, 1.0)
    train, held_out = (
        -np.nanmean((errors - scale.mean) / spread, axis=1)
        for errors in (train_errors, held_out_errors)
    )
    return train, held_out


def probe(
    generator: Generator, train: ImageSet, held_out: ImageSet, *, num_draws: int, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the errors of both parts of a generator on training and on held-out scans."""
    of_flow, of_autoencoder = (
        [probe_flow(generator, part, num_draws=num_draws, seed=seed) for part in (train, held_out)],
        [probe_autoencoder(generator, part) for part in (train, held_out)],
    )
    return {
        "flow": (of_flow[0], of_flow[1]),
        "autoencoder": (of_autoencoder[0], of_autoencoder[1]),
    }


@torch.no_grad()
def probe_flow(
    generator: Generator, images: ImageSet, *, num_draws: int, seed: int
) -> Float[np.ndarray, "n t"]:
    """Return the velocity's error for each scan, the mean of the scan and its mirror image."""
    config = generator.config
    device = best_device()
    network = generator.flow.to(device)
    labels = images.labels(config.label, config.classes)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        parts = []
        for start in range(0, len(x), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            conditions = Conditions(labels[part], images.presence[part]).to(device)
            parts.append(network(x[part].to(device), t[part].to(device), conditions).cpu())
        return torch.cat(parts)

    sides = []
    for side, axes in SIDES.items():
        latents = torch.cat([mean for mean, _ in _encoded(generator, images, axes)])
        errors = velocity_errors(
            predict,
            generator.scale.normalize(latents),
            schedule=network.schedule,
            num_draws=num_draws,
            rng=seeds.generator(seed, "membership", config.site, side),
        )
        sides.append(errors)
    mean: np.ndarray = np.mean(sides, axis=0)
    return mean


@torch.no_grad()
def probe_autoencoder(generator: Generator, images: ImageSet) -> Float[np.ndarray, "n c"]:
    """Return the error of each channel's reconstruction from the latents' mean; NaN if missing."""
    decoder = generator.autoencoder.to(best_device())
    errors = [
        (decoder.decode(mean.to(best_device())).cpu() - batch).abs().flatten(2).mean(dim=2)
        for mean, batch in _encoded(generator, images, ())
    ]
    return torch.cat(errors).double().masked_fill(~images.presence, torch.nan).numpy()


def _encoded(
    generator: Generator, images: ImageSet, mirrored_axes: tuple[int, ...]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the latents' means and the scans they are of, batch by batch."""
    encoder = generator.autoencoder.to(best_device())
    size = scans_at_once(images, BATCH_SIZE)
    for start in range(0, len(images), size):
        stop = min(start + size, len(images))
        batch = images.load(range(start, stop)).flip(mirrored_axes)
        has = images.presence[start:stop]
        mean, _ = encoder.encode(batch.to(best_device()), has.to(best_device()))
        yield mean.cpu(), batch
