"""What someone who holds a generator's weights can measure on a scan.

A model fits what it was trained on better than what it was not. The flow's probe is its velocity's
squared error at five noise levels; the autoencoder's, its reconstruction's absolute error. Every
scan meets the same noise, so that scores differ by the scans alone.

What stands in a flow's place has its own probe. A Gaussian's is the mean square of the noise that
it would need to draw a scan, which is its likelihood. A GAN has no likelihood, so it is inverted,
by gradient descent from the noise that the Gaussian within it would need (the white-box attack of
Chen et al., 2020, "GAN-Leaks"): errors are how far from the scan the nearest draw stays, and how
large the noise behind it is. A critic would tell more, and never leaves the training.

Axes: n = scans, h = held-out scans, c = channels, t = noise levels, e = kinds of error.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth import seeds
from sitesynth.features import FeatureScale
from sitesynth.generators.covariates import values_of
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.generator import Generator, GeneratorConfig
from sitesynth.generators.latents import scans_at_once
from sitesynth.generators.rivals import Gan, Gaussian
from sitesynth.generators.schedules import Schedule
from sitesynth.images import ImageSet
from sitesynth.training import best_device


__all__ = [
    "NOISE_LEVELS",
    "inversion_errors",
    "limits_of",
    "membership_scores",
    "probe",
    "probe_autoencoder",
    "probe_flow",
    "probe_one_pass",
    "velocity_errors",
]

NOISE_LEVELS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Times of the flow, 0 = data."""

BATCH_SIZE: Final = 16

INVERSION_STEPS: Final = 30
INVERSION_STEP_SIZE: Final = 0.03
NOISE_WEIGHT: Final = 0.1
"""Of the noise's mean square beside that of the distance, while a GAN is inverted."""

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
    """Return the errors of both parts of a generator on training and on held-out scans.

    The key says what was probed, and how if that is not the flow's way.
    """
    errors_of: Callable[[Generator, ImageSet], np.ndarray]
    match generator.flow:
        case Denoiser():
            name, errors_of = "flow", partial(probe_flow, num_draws=num_draws, seed=seed)
        case Gaussian():
            name, errors_of = "gaussian (likelihood)", probe_one_pass
        case Gan():
            name, errors_of = "gan (inversion)", probe_one_pass
    of_latents, of_autoencoder = (
        [errors_of(generator, part) for part in (train, held_out)],
        [probe_autoencoder(generator, part) for part in (train, held_out)],
    )
    return {
        name: (of_latents[0], of_latents[1]),
        "autoencoder": (of_autoencoder[0], of_autoencoder[1]),
    }


def limits_of(config: GeneratorConfig) -> list[str]:
    """Say what the probes of a generator leave open, beyond what the flow's do."""
    limits = []
    if config.variant == "gan":
        limits.append(
            "The GAN's critic was not attacked: it is neither kept nor released. The inversion of "
            "what is released finds less than a likelihood would."
        )
    if config.latents_source == "phantom":
        limits.append(
            "No patient is in the autoencoder, which was trained on phantoms: an attack on it "
            "finds differences between the parts of the split, and no membership."
        )
    return limits


@torch.no_grad()
def probe_flow(
    generator: Generator, images: ImageSet, *, num_draws: int, seed: int
) -> Float[np.ndarray, "n t"]:
    """Return the velocity's error for each scan, the mean of the scan and its mirror image."""
    config = generator.config
    device = best_device()
    network = generator.flow.to(device)
    if not isinstance(network, Denoiser):
        raise TypeError(f"a {config.variant} has no velocity: see `probe_one_pass`")
    labels = images.labels(config.label, config.classes)
    values = values_of(config.covariates, images.table)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        parts = []
        for start in range(0, len(x), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            told = None if values is None else values[part]
            conditions = Conditions(labels[part], images.presence[part], told).to(device)
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


def probe_one_pass(generator: Generator, images: ImageSet) -> Float[np.ndarray, "n e"]:
    """Return a rival's errors for each scan, the mean of the scan and its mirror image."""
    config, device = generator.config, best_device()
    labels = images.labels(config.label, config.classes)
    sides = []
    for axes in SIDES.values():
        with torch.no_grad():
            encoded = [mean for mean, _ in _encoded(generator, images, axes)]
        parts, start = [], 0
        for latents in encoded:
            part = slice(start, start + len(latents))
            conditions = Conditions(labels[part], images.presence[part]).to(device)
            data = generator.scale.normalize(latents).to(device)
            match generator.flow.to(device):
                case Gaussian() as gaussian:
                    errors = gaussian.whiten(data, conditions).square().flatten(1).mean(1)[:, None]
                case Gan() as gan:
                    errors = inversion_errors(gan, data, conditions)
                case Denoiser():
                    raise TypeError("a flow is no rival of itself: see `probe_flow`")
            parts.append(errors.cpu())
            start += len(latents)
        sides.append(torch.cat(parts).double().numpy())
    mean: np.ndarray = np.mean(sides, axis=0)
    return mean


def inversion_errors(
    gan: Gan, data: Float[Tensor, "n k ..."], conditions: Conditions
) -> Float[Tensor, "n 2"]:
    """Invert a GAN: return the distance of its nearest draw, and the noise behind it.

    Both as mean squares. Samples do not meet, so each is found as if it were alone.

    Args:
        gan: What is inverted.
        data: Scaled latents to look for.
        conditions: Those of each of them.
    """
    noise = gan.gaussian.whiten(data, conditions).detach().requires_grad_()
    optimizer = torch.optim.Adam([noise], lr=INVERSION_STEP_SIZE)
    with torch.enable_grad():
        for _ in range(INVERSION_STEPS):
            far, large = _far_and_large(gan, noise, data, conditions)
            optimizer.zero_grad()
            # Not the weights' business: their gradients would pile up unused.
            (noise.grad,) = torch.autograd.grad((far + NOISE_WEIGHT * large).sum(), [noise])
            optimizer.step()
    with torch.no_grad():
        return torch.stack(_far_and_large(gan, noise, data, conditions), dim=1)


def _far_and_large(
    gan: Gan, noise: Tensor, data: Tensor, conditions: Conditions
) -> tuple[Tensor, Tensor]:
    missed = gan(noise, conditions) - data
    return missed.square().flatten(1).mean(dim=1), noise.square().flatten(1).mean(dim=1)


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
