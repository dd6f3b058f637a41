"""Latents of a site's training scans: encoded once, scaled once.

The encoder's mean and standard deviation are kept, so that each step draws a new latent from them
(as a step on the images would). Each scan is encoded as it is and mirrored: a small site needs the
augmentation, and it survives the caching this way.

The flow works on *scaled* latents: each channel has mean 0, and one number for all channels makes
their mean square 1 over all training latents. One number, not one per channel, so that what is
faint in the images stays faint in the flow's loss. The scale is part of the generator: without it,
its weights mean nothing.

Axes: n = scans, k = latent channels, then the latent grid.
"""

import math
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
    """Mean of each latent channel, and one standard deviation, over a site's training latents."""

    mean: tuple[float, ...]
    std: float

    def normalize(self, latents: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
        """Bring raw latents to mean 0 and mean square 1."""
        return (latents - self._mean_like(latents)) / self.std

    def restore(self, scaled: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
        """Undo `normalize`."""
        return scaled * self.std + self._mean_like(scaled)

    def _mean_like(self, latents: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, device=latents.device)
        return mean.reshape(1, -1, *([1] * (latents.ndim - 2)))


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
        stop = min(start + BATCH_SIZE, len(images))
        batch, has = images.load(range(start, stop)), images.presence[start:stop]
        sides = [autoencoder.encode(side, has) for side in (batch, batch.flip(2))]
        means.append(torch.stack([mean for mean, _ in sides], dim=1))
        stds.append(torch.stack([std for _, std in sides], dim=1))
    return Latents(torch.cat(means), torch.cat(stds), images.presence)


def measure_scale(latents: Latents) -> LatentScale:
    """Measure the scale over all training latents, their drawn noise included.

    Raises:
        TrainingError: If the latents are constant or not finite: the autoencoder has failed.
    """
    channels = latents.mean.double().transpose(0, 2).flatten(1)
    mean = channels.mean(dim=1)
    spread = (channels - mean[:, None]).square().mean() + latents.std.double().square().mean()
    std = float(spread.sqrt())
    if not (math.isfinite(std) and std > 0):
        raise TrainingError(
            f"the latents' standard deviation is {std}; it must be finite and above 0. "
            "The autoencoder has collapsed: lower its kl_weight or its learning_rate."
        )
    return LatentScale(tuple(mean.tolist()), std)
