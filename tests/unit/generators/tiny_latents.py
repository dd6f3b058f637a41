"""Latents whose distribution is known, for what is trained on latents."""

import torch

from sitesynth import seeds
from sitesynth.generators.denoiser import Denoiser
from sitesynth.generators.latents import Latents
from sitesynth.settings import DiffusionSettings, GanSettings


def diffusion(dims: int = 3) -> DiffusionSettings:
    """Return the smallest network's settings."""
    return DiffusionSettings(
        schedule="straight",
        patch=(1,) * dims,
        width=32,
        depth=1,
        convolutions=None,
        sizes=(),
        components=2,
        detail=0.5,
        num_views=1,
        warp=0.0,
        covariates=(),
        label_score=False,
        condition_dropout=0.1,
        ema_decay=0.9,
        dp=None,
        learning_rate=1e-3,
        batch_size=64,
        num_steps=1,
        validate_every=None,
        patience_looks=None,
    )


def gan(num_steps: int) -> GanSettings:
    """Return the settings of a small GAN."""
    return GanSettings(
        critic_width=32,
        critic_steps=2,
        penalty_weight=1.0,
        learning_rate=5e-3,
        num_steps=num_steps,
    )


def two_heaps(shape: tuple[int, ...], *, num_scans: int, seed: int) -> Latents:
    """Return latents around +1 everywhere or -1 everywhere, half and half, of spread 0.2."""
    rng = seeds.generator(seed, "heaps")
    side = torch.ones(num_scans)
    side[::2] = -1
    drawn = 0.2 * torch.randn(num_scans, *shape, generator=rng)
    mean = side.reshape(-1, *([1] * len(shape))) + drawn
    has = torch.ones(num_scans, 2, dtype=torch.bool)
    return Latents(mean[:, None], torch.zeros_like(mean)[:, None], has)


def untrained(shape: tuple[int, ...], latents: Latents, labels: torch.Tensor) -> Denoiser:
    """Return a flow with two classes and its Gaussian fitted."""
    with seeds.isolated(seeds.generator(0, "flow")):
        flow = Denoiser(
            diffusion(len(shape) - 1), latent_shape=shape, num_classes=2, num_channels=2
        )
    flow.fit_gaussian(latents.mean[:, 0], labels)
    return flow
