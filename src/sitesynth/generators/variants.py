"""Training what a flow is compared with, and saying how it does on held-out scans.

No rival has a loss per noise level, which is the flow's alone:

- a Gaussian has the mean square of the noise that a scan would need. Up to a constant and a factor,
  that is its negative log-likelihood per number; 1 is what the Gaussian expects of its own samples.
- a GAN has its critic's mean score of real scans above that of drawn ones: where it is higher for
  training than for held-out scans, the critic has learned them by heart.

Axes: n = scans, v = views, k = latent channels, then the latent grid.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sitesynth import seeds
from sitesynth.generators.adversarial import Critic, train_gan
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.generators.rivals import Gan, Gaussian, LatentModel
from sitesynth.settings import DiffusionSettings, GeneratorSettings
from sitesynth.tracking import OnStep


__all__ = ["train_rival"]

Parts = Mapping[str, tuple[Latents, Tensor]]
"""Encoded scans and their class numbers, by split; the first is learned from."""


def train_rival(
    parts: Parts,
    scale: LatentScale,
    *,
    settings: GeneratorSettings,
    diffusion: DiffusionSettings,
    num_classes: int,
    seed: int,
    site: str,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> tuple[LatentModel, dict[str, dict[str, float]]]:
    """Train a site's GAN, or fit its Gaussian.

    Args:
        parts: What to learn from, under `train`, and what to be judged on.
        scale: The scale of all training latents.
        settings: The `generator` section of params.yaml, whose variant is no flow.
        diffusion: The `diffusion` section, by which the Gaussian and the network are built.
        num_classes: Classes of the task's label.
        seed: Root seed of the study.
        site: Whose generator it is; names the randomness.
        checkpoint: Where the state is kept, for a run that is killed.
        on_step: Told each step's losses.

    Returns:
        The model, and by split and name how it does there.

    Raises:
        TrainingError: If the loss diverges.
    """
    latents, labels = parts["train"]
    with seeds.isolated(seeds.generator(seed, "diffusion", site, "weights")):
        flow = Denoiser(
            diffusion,
            latent_shape=latents.mean.shape[2:],
            num_classes=num_classes,
            num_channels=latents.presence.shape[1],
        )
    views = scale.normalize(latents.mean.flatten(0, 1))
    flow.fit_gaussian(views, labels.repeat_interleave(latents.mean.shape[1]))
    if settings.variant == "gaussian":
        gaussian = Gaussian(flow).eval()
        return gaussian, {
            split: {"noise_needed": _noise_needed(gaussian, part, scale)}
            for split, part in parts.items()
        }
    gan, critic = train_gan(
        flow,
        latents,
        labels,
        scale,
        settings=settings.gan,
        diffusion=diffusion,
        seed=seed,
        site=site,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    return gan, {
        split: {"critic": _preference(gan, critic, part, scale, seed=seed, site=site)}
        for split, part in parts.items()
    }


@torch.no_grad()
def _noise_needed(gaussian: Gaussian, part: tuple[Latents, Tensor], scale: LatentScale) -> float:
    """Return the mean square of the noise from which the Gaussian would have drawn these scans."""
    encoded, labels = part
    noise = gaussian.whiten(_as_they_are(encoded, scale), Conditions(labels, encoded.presence))
    return float(noise.square().mean())


@torch.no_grad()
def _preference(
    gan: Gan,
    critic: Critic,
    part: tuple[Latents, Tensor],
    scale: LatentScale,
    *,
    seed: int,
    site: str,
) -> float:
    """Return how much higher the critic scores these scans than drawn ones, like for like."""
    encoded, labels = part
    real, conditions = _as_they_are(encoded, scale), Conditions(labels, encoded.presence)
    noise = torch.randn(real.shape, generator=seeds.generator(seed, "gan", site, "held-out"))
    return float((critic(real, conditions) - critic(gan(noise, conditions), conditions)).mean())


def _as_they_are(encoded: Latents, scale: LatentScale) -> Tensor:
    """Return the scaled latents of each scan's first view: neither shifted nor mirrored."""
    return scale.normalize(encoded.mean[:, 0])
