"""The autoencoder that defines a site's latent space.

It sees all channels of a scan at once, sequences and mask, because they are one anatomy. A channel
that is missing, or hidden by sequence dropout, is zero at the input; the loss asks for every channel
that the scan really has, so the decoder learns to fill in what it was not shown, and a missing
sequence neither trains it nor comes out as zeros.

Before the first convolution, patches of voxels are folded into channels (Shi et al., 2016), and
unfolded after the last: the full-resolution layers cost most and learn least.

Axes: n = scans, c = channels (sequences, then mask), k = latent channels, then the grid.
"""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float
from monai.networks.nets.autoencoderkl import AutoencoderKL
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.images import ImageSet
from sitesynth.settings import AutoencoderSettings
from sitesynth.tracking import OnStep
from sitesynth.training import autocast, best_device, channels_last, train


__all__ = [
    "Autoencoder",
    "fold",
    "hide_channels",
    "mirror_some",
    "reconstruction_error",
    "train_autoencoder",
    "unfold",
]

NORM_GROUPS = 8


def fold(images: Float[Tensor, "n c ..."], patch: Sequence[int]) -> Float[Tensor, "n cp ..."]:
    """Move each patch of voxels into channels; the grid shrinks by `patch`, per axis."""
    n, c, *grid = images.shape
    split = [size for g, p in zip(grid, patch, strict=True) for size in (g // p, p)]
    dims = len(grid)
    axes = [0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
    folded = images.reshape(n, c, *split).permute(axes)
    return folded.reshape(n, c * prod(patch), *(g // p for g, p in zip(grid, patch, strict=True)))


def unfold(folded: Float[Tensor, "n cp ..."], patch: Sequence[int]) -> Float[Tensor, "n c ..."]:
    """Undo `fold`."""
    n, channels, *grid = folded.shape
    dims = len(grid)
    c = channels // prod(patch)
    axes = [0, 1, *(axis for d in range(dims) for axis in (2 + dims + d, 2 + d))]
    images = folded.reshape(n, c, *patch, *grid).permute(axes)
    return images.reshape(n, c, *(g * p for g, p in zip(grid, patch, strict=True)))


@final
class Autoencoder(nn.Module):
    """A KL-regularized autoencoder (Rombach et al., 2022, Section 3.1) of multi-channel scans."""

    def __init__(self, settings: AutoencoderSettings, *, num_channels: int, dims: int) -> None:
        super().__init__()
        levels = len(settings.channels)
        self.patch = settings.patch
        self.dims = dims
        self.network = AutoencoderKL(
            spatial_dims=dims,
            in_channels=num_channels * prod(settings.patch),
            out_channels=num_channels * prod(settings.patch),
            channels=settings.channels,
            latent_channels=settings.latent_channels,
            num_res_blocks=(1,) * levels,
            norm_num_groups=NORM_GROUPS,
            attention_levels=(False,) * levels,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        channels_last(self, dims)

    def encode(
        self, images: Float[Tensor, "n c ..."]
    ) -> tuple[Float[Tensor, "n k ..."], Float[Tensor, "n k ..."]]:
        """Return the mean and the standard deviation of the latents of `images`."""
        mean, std = self.network.encode(fold(images, self.patch))
        return mean, std

    def decode(self, latents: Float[Tensor, "n k ..."]) -> Float[Tensor, "n c ..."]:
        """Return the images that `latents` stand for, not clipped to [0, 1]."""
        return unfold(self.network.decode(latents), self.patch)


def hide_channels(
    images: Float[Tensor, "n c ..."],
    presence: Bool[Tensor, "n c"],
    *,
    probability: float,
    rng: torch.Generator,
) -> Float[Tensor, "n c ..."]:
    """Zero a random part of the present channels of each scan, but never its last one.

    Args:
        images: Scans whose missing channels are zero already.
        presence: Which channels each scan has.
        probability: Chance of each present channel to be hidden.
        rng: Source of the choice.
    """
    shown = presence & (torch.rand(presence.shape, generator=rng) >= probability)
    # A scan with nothing left to see is shown whole.
    shown = torch.where(shown.any(dim=1, keepdim=True), shown, presence)
    return images * shown.reshape(*shown.shape, *([1] * (images.ndim - 2)))


def reconstruction_error(
    reconstructed: Float[Tensor, "n c ..."],
    images: Float[Tensor, "n c ..."],
    presence: Bool[Tensor, "n c"],
) -> Float[Tensor, ""]:
    """Return the mean absolute error over the channels that the scans have."""
    per_channel = (reconstructed - images).abs().flatten(2).mean(dim=2)
    return (per_channel * presence).sum() / presence.sum()


def train_autoencoder(
    images: ImageSet,
    *,
    settings: AutoencoderSettings,
    seed: int,
    site: str,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> Autoencoder:
    """Train the autoencoder of one site.

    Args:
        images: The site's training scans.
        settings: The `autoencoder` section of params.yaml.
        seed: Root seed of the study.
        site: Whose autoencoder it is; names the randomness.
        checkpoint: Where the state is kept, for a run that is killed; see `sitesynth.training`.
        on_step: Told each step's losses.

    Returns:
        The trained model, in evaluation mode, on the CPU.

    Raises:
        TrainingError: If the loss diverges.
    """
    device = best_device()
    with seeds.isolated(seeds.generator(seed, "autoencoder", site, "weights")):
        model = Autoencoder(settings, num_channels=len(images.channels), dims=len(images.grid))
    model.to(device)
    presence = images.presence

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = seeds.generator(seed, "autoencoder", site, "step", step)
        chosen = torch.randint(len(images), (settings.batch_size,), generator=rng)
        target, has = mirror_some(images.load(chosen), rng=rng), presence[chosen]
        shown = hide_channels(target, has, probability=settings.sequence_dropout, rng=rng)
        target, has, shown = target.to(device), has.to(device), shown.to(device)
        with autocast(device):
            mean, std = model.encode(shown)
            noise = torch.randn(mean.shape, generator=rng).to(device)
            reconstructed = model.decode(mean + std * noise)
        error = reconstruction_error(reconstructed.float(), target, has)
        mean, std = mean.float(), std.float()
        kl = 0.5 * (mean.square() + std.square() - 2 * std.log() - 1).mean()
        return {"loss": error + settings.kl_weight * kl, "error": error, "kl": kl}

    train(
        model,
        losses_at,
        num_steps=settings.num_steps,
        learning_rate=settings.learning_rate,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    return model.cpu()


def mirror_some(
    images: Float[Tensor, "n c ..."], *, rng: torch.Generator
) -> Float[Tensor, "n c ..."]:
    """Swap left and right in about half of the scans."""
    mirrored = torch.rand(len(images), generator=rng) < 0.5  # noqa: PLR2004
    return torch.where(mirrored.reshape(-1, *([1] * (images.ndim - 1))), images.flip(2), images)
