"""The autoencoder that defines a site's latent space.

It sees all channels of a scan at once, sequences and mask, because they are one anatomy. A channel
that is missing, or hidden by sequence dropout, is shown as its typical intensity; the loss asks for
every channel that the scan really has, so the decoder learns to fill in what it was not shown, and
a missing sequence neither trains it nor comes out as a gap.

MONAI's network is one of two paths. The other is linear: a block of voxels to the latents at its
place, and back (the shortcuts of Chen et al., 2025, "Deep Compression Autoencoder", here fitted to
views of the training scans, since a fit to fifty scans alone tells who they were).
In, it is the principal components of the training scans' blocks; out, the regression of a block on
the latents at its own and the neighbouring places, so that the blocks' edges hardly show. Both stay
as they are; the network starts at zero and learns what is not linear. A site with some fifty scans
reaches in a hundred steps what the network alone does not reach in a thousand.

Before the network's first convolution, patches of voxels are folded into channels (Shi et al.,
2016), and unfolded after the last: the full-resolution layers cost most and learn least.

Axes: n = scans, c = channels (sequences, then mask), k = latent channels, then the grid.
"""

from math import prod
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sitesynth.generators.patches import fold, unfold
from sitesynth.networks import AutoencoderKL
from sitesynth.settings import AutoencoderSettings
from sitesynth.training import channels_last


__all__ = ["Autoencoder", "fill_missing", "neighbourhoods"]

NORM_GROUPS = 8
INITIAL_LOG_VARIANCE = -6.0
REACH = 1
"""How many places away a latent still says something about a block."""

COMPRESSION = 0.5
"""Of the latents' spreads: 0 leaves those of principal components, 1 makes all of them equal. A
flow learns what is small last, and a tumour's details are (ADR 53)."""

SMALLEST = 1e-6
"""Least variance that counts, as a share of the largest: directions without any stay small."""

RIDGE = 1e-2
"""Of the regression on neighbours, as a share of the latents' mean square."""


@final
class Autoencoder(nn.Module):
    """A KL-regularized autoencoder (Rombach et al., 2022, Section 3.1) of multi-channel scans."""

    typical: Tensor

    def __init__(self, settings: AutoencoderSettings, *, num_channels: int, dims: int) -> None:
        super().__init__()
        levels = len(settings.channels)
        self.patch = settings.patch
        self.block = tuple(fold_size * 2 ** (levels - 1) for fold_size in settings.patch)
        self.network = AutoencoderKL(
            spatial_dims=dims,
            in_channels=num_channels * prod(self.patch),
            out_channels=num_channels * prod(self.patch),
            channels=settings.channels,
            latent_channels=settings.latent_channels,
            num_res_blocks=(1,) * levels,
            norm_num_groups=NORM_GROUPS,
            attention_levels=(False,) * levels,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        features = num_channels * prod(self.block)
        self.shortcut_in = convolution(features, settings.latent_channels, 1)
        self.shortcut_out = convolution(
            settings.latent_channels,
            features,
            2 * REACH + 1,
            padding=REACH,
            padding_mode="replicate",
        )
        self.shortcut_in.requires_grad_(requires_grad=False)
        self.shortcut_out.requires_grad_(requires_grad=False)
        self.register_buffer("typical", torch.zeros(num_channels))
        self._start_network_at_zero()
        channels_last(self, dims)

    def _start_network_at_zero(self) -> None:
        """Leave the first word to the shortcuts, and start nearly without latent noise.

        From the usual start at standard deviation 1, the first hundreds of steps would only learn
        to turn the noise down.
        """
        *_, last = self.network.get_submodule("decoder.blocks").children()
        for module in (self.network.quant_conv_mu, self.network.quant_conv_log_sigma, last):
            nn.init.zeros_(module.get_parameter("conv.weight"))
            nn.init.zeros_(module.get_parameter("conv.bias"))
        log_variance = self.network.quant_conv_log_sigma.get_parameter("conv.bias")
        nn.init.constant_(log_variance, INITIAL_LOG_VARIANCE)

    @torch.no_grad()
    def fit_shortcuts(
        self, images: Float[Tensor, "n c ..."], presence: Bool[Tensor, "n c"]
    ) -> None:
        """Set the typical intensities and the shortcuts from training scans, in closed form.

        The way in becomes the leading principal components of the scans' blocks, each divided by
        the root of its standard deviation, and all so that the latents' mean square is 1; the way
        out the ridge regression of a block on the latents at its place and around it.

        Args:
            images: Scans whose missing channels are zero.
            presence: Which channels each scan has.
        """
        per_channel = images.flatten(2).mean(dim=2)
        self.typical.copy_((per_channel * presence).sum(0) / presence.sum(0).clamp_min(1))
        blocks = fold(fill_missing(images, presence, self.typical), self.block)
        rows = [scan.flatten(1).T.double() for scan in blocks]
        mean = torch.stack([each.mean(dim=0) for each in rows]).mean(dim=0)
        scatter = torch.stack([(each - mean).T @ (each - mean) for each in rows]).sum(dim=0)
        values, vectors = torch.linalg.eigh(scatter)
        # eigh sorts from small to large, and leaves the sign open: the largest entry is positive.
        num_latents = self.shortcut_in.out_channels
        leading = vectors[:, -num_latents:].flip(1)
        largest = leading.gather(0, leading.abs().argmax(dim=0, keepdim=True))
        leading = leading * largest.sign()
        num_rows = sum(len(each) for each in rows)
        floor = SMALLEST * max(float(values[-1]), SMALLEST)
        spread = (values[-num_latents:].flip(0).clamp_min(floor) / num_rows).sqrt()
        size = spread**COMPRESSION
        size *= (spread / size).square().mean().sqrt()
        directions = leading.T / size[:, None]
        self.shortcut_in.weight.copy_(directions.reshape(self.shortcut_in.weight.shape))
        self.shortcut_in.get_parameter("bias").copy_(-directions @ mean)

        gram = RIDGE * num_rows * torch.eye(self.shortcut_out.weight[0].numel()).double()
        products = torch.zeros(len(gram), len(mean)).double()
        for scan, targets in zip(self.shortcut_in(blocks), rows, strict=True):
            around = neighbourhoods(scan.double())
            gram += around.T @ around
            products += around.T @ (targets - mean)
        weights = torch.linalg.solve(gram, products).T
        self.shortcut_out.weight.copy_(weights.reshape(self.shortcut_out.weight.shape))
        self.shortcut_out.get_parameter("bias").copy_(mean)

    def encode(
        self, images: Float[Tensor, "n c ..."], presence: Bool[Tensor, "n c"]
    ) -> tuple[Float[Tensor, "n k ..."], Float[Tensor, "n k ..."]]:
        """Return the mean and the standard deviation of the latents of scans.

        Args:
            images: Scans; what they hold in channels that are not present does not matter.
            presence: Which channels to look at.
        """
        filled = fill_missing(images, presence, self.typical)
        mean, std = self.network.encode(fold(filled, self.patch))
        return mean + self.shortcut_in(fold(filled, self.block)), std

    def decode(self, latents: Float[Tensor, "n k ..."]) -> Float[Tensor, "n c ..."]:
        """Return the images that `latents` stand for, not clipped to [0, 1]."""
        detail = unfold(self.network.decode(latents), self.patch)
        return detail + unfold(self.shortcut_out(latents), self.block)


def neighbourhoods(latents: Float[Tensor, "k ..."]) -> Float[Tensor, "places kr"]:
    """Return the latents at each place and around it, as a convolution's weight has them.

    Beyond the grid's edge they go on as at the edge.
    """
    dims = latents.ndim - 1
    around = nn.functional.pad(latents[None], (REACH,) * (2 * dims), mode="replicate")[0]
    for axis in range(1, dims + 1):
        around = around.unfold(axis, 2 * REACH + 1, 1)
    # Now k, the grid, and one axis of neighbours per axis of the grid.
    return around.movedim(0, dims).flatten(dims).flatten(0, dims - 1)


def fill_missing(
    images: Float[Tensor, "n c ..."], presence: Bool[Tensor, "n c"], typical: Float[Tensor, " c"]
) -> Float[Tensor, "n c ..."]:
    """Put a channel's typical intensity wherever the channel is not present."""
    ones = [1] * (images.ndim - 2)
    return torch.where(
        presence.reshape(*presence.shape, *ones), images, typical.reshape(1, -1, *ones)
    )
