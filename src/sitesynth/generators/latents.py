"""Latents of a site's training scans: encoded once, scaled once.

The encoder's mean and standard deviation are kept, so that each step draws a new latent from them
(as a step on the images would). Each scan is encoded as it is and mirrored: a small site needs the
augmentation, and it survives the caching this way.

The flow works on *scaled* latents, of mean 0 and standard deviation 1 per channel over all training
latents. The scale is part of the generator: without it, its weights mean nothing.

Axes: n = scans, k = latent channels, then the latent grid.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sitesynth.errors import TrainingError
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.images import ImageSet


__all__ = ["LatentScale", "Latents", "encode_scans", "measure_scale"]

BATCH_SIZE = 8


@final
@dataclass(frozen=True)
class LatentScale:
    """Mean and standard deviation of each latent channel over a site's training latents."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalize(self, latents: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
        """Bring raw latents to mean 0 and standard deviation 1."""
        mean, std = self._shaped(latents)
        return (latents - mean) / std

    def restore(self, scaled: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
        """Undo `normalize`."""
        mean, std = self._shaped(scaled)
        return scaled * std + mean

    def _shaped(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *([1] * (like.ndim - 2)))
        mean, std = (torch.tensor(values, device=like.device) for values in (self.mean, self.std))
        return mean.reshape(shape), std.reshape(shape)


@final
@dataclass(frozen=True)
class Latents:
    """What the encoder made of some scans, original and mirrored."""

    mean: Float[Tensor, "n 2 k ..."]
    std: Float[Tensor, "n 2 k ..."]
    presence: Bool[Tensor, "n c"]

    def draw(self, indices: Tensor, *, rng: torch.Generator) -> Float[Tensor, "m k ..."]:
        """Draw a raw latent of each chosen scan, from its original or its mirrored encoding."""
        side = torch.randint(2, (len(indices),), generator=rng)
        mean, std = self.mean[indices, side], self.std[indices, side]
        return mean + std * torch.randn(mean.shape, generator=rng)


@torch.no_grad()
def encode_scans(images: ImageSet, autoencoder: Autoencoder) -> Latents:
    """Encode scans as they are and mirrored, a few at a time."""
    means, stds = [], []
    for start in range(0, len(images), BATCH_SIZE):
        batch = images.load(range(start, min(start + BATCH_SIZE, len(images))))
        sides = [autoencoder.encode(side) for side in (batch, batch.flip(2))]
        means.append(torch.stack([mean for mean, _ in sides], dim=1))
        stds.append(torch.stack([std for _, std in sides], dim=1))
    return Latents(torch.cat(means), torch.cat(stds), images.presence)


def measure_scale(latents: Latents) -> LatentScale:
    """Measure the scale over all training latents, their drawn noise included.

    Raises:
        TrainingError: If a latent channel is constant or not finite: the autoencoder has failed.
    """
    channels = latents.mean.double().transpose(0, 2).flatten(1)
    mean = channels.mean(dim=1)
    variance = channels.var(dim=1) + latents.std.double().square().transpose(0, 2).flatten(1).mean(
        1
    )
    std = variance.sqrt()
    if not bool(torch.isfinite(std).all() and (std > 0).all()):
        raise TrainingError(
            f"the latents' standard deviations are {std.tolist()}; each must be finite and above 0. "
            "The autoencoder has collapsed: lower its kl_weight or its learning_rate."
        )
    return LatentScale(tuple(mean.tolist()), tuple(std.tolist()))
