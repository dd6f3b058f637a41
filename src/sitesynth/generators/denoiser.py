"""The network that learns the velocity of a site's flow, and how it is told what to draw.

A condition is the scan's class and which channels it has. Both enter the U-Net where its time
does, as one vector added to the time embedding. Class number -1, an unknown label, has an embedding
of its own, which is also what condition dropout shows: unconditional is "label unknown".

The network predicts only what a Gaussian does not. The Gaussian has a mean per class and place, and
a spread per channel and spatial frequency (`flow.precondition`, `spectrum`): statistics of second
order over all training scans, which a network would need most of its steps to find out.

Axes: n = samples, k = latent channels, c = image channels, then the latent grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from sitesynth.generators.flow import precondition
from sitesynth.generators.spectrum import cosine_basis, from_frequencies, to_frequencies
from sitesynth.images import UNKNOWN_LABEL
from sitesynth.settings import DiffusionSettings


__all__ = ["Conditions", "Denoiser"]

NORM_GROUPS = 8
PRIOR_SCANS = 10.0
MIN_SPREAD = 1e-3
TIME_SCALE = 1000.0
"""The U-Net's sinusoids were made for time steps 0 to 1000 (Ho et al., 2020)."""


@final
@dataclass(frozen=True)
class Conditions:
    """What to draw: a class each, and which channels the scan has."""

    labels: Int[Tensor, " n"]
    """Class numbers; -1 is unknown."""

    presence: Bool[Tensor, "n c"]

    def without_labels(self) -> "Conditions":
        """Return the same conditions with every label unknown."""
        return Conditions(torch.full_like(self.labels, UNKNOWN_LABEL), self.presence)

    def hide_labels(self, *, probability: float, rng: torch.Generator) -> "Conditions":
        """Return the conditions with some labels unknown, chosen at random."""
        hidden = torch.rand(len(self.labels), generator=rng) < probability
        return Conditions(self.labels.masked_fill(hidden, UNKNOWN_LABEL), self.presence)

    def to(self, device: torch.device) -> "Conditions":
        """Return the conditions on a device."""
        return Conditions(self.labels.to(device), self.presence.to(device))


class _ConditionEmbedding(nn.Module):
    """One vector per condition, of the size of the U-Net's time embedding."""

    def __init__(self, *, num_classes: int, num_channels: int, width: int) -> None:
        super().__init__()
        self.label = nn.Embedding(num_classes + 1, width)
        self.presence = nn.Linear(num_channels, width, bias=False)

    def forward(self, conditions: Conditions) -> Tensor:
        # Row 0 is the unknown label.
        labels: Tensor = self.label(conditions.labels + 1)
        missing: Tensor = self.presence((~conditions.presence).float())
        return labels + missing


@final
class Denoiser(nn.Module):
    """MONAI's diffusion U-Net (after Rombach et al., 2022), told time and conditions."""

    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        settings: DiffusionSettings,
        *,
        latent_shape: Sequence[int],
        num_classes: int,
        num_channels: int,
    ) -> None:
        super().__init__()
        latent_channels, *grid = latent_shape
        levels = len(settings.channels)
        self.network = DiffusionModelUNet(
            spatial_dims=len(grid),
            in_channels=latent_channels,
            out_channels=latent_channels,
            channels=settings.channels,
            num_res_blocks=1,
            attention_levels=(False,) * (levels - 1) + (True,),
            norm_num_groups=NORM_GROUPS,
            num_head_channels=settings.channels[-1] // 2,
            num_class_embeds=num_classes + 1,
            use_flash_attention=True,
        )
        # The U-Net adds whatever its class embedding returns to its time embedding.
        self.network.add_module(
            "class_embedding",
            _ConditionEmbedding(
                num_classes=num_classes, num_channels=num_channels, width=4 * settings.channels[0]
            ),
        )
        self.register_buffer("mean", torch.zeros(num_classes + 1, *latent_shape))
        self.register_buffer("spread", torch.ones(*latent_shape))
        for axis, size in enumerate(grid):
            self.register_buffer(f"basis_{axis}", cosine_basis(size), persistent=False)

    @property
    def bases(self) -> list[Tensor]:
        """The cosine basis of each axis of the latent grid."""
        return [self.get_buffer(f"basis_{axis}") for axis in range(self.spread.ndim - 1)]

    @torch.no_grad()
    def fit_gaussian(self, latents: Float[Tensor, "n k ..."], labels: Int[Tensor, " n"]) -> None:
        """Set the Gaussian from scaled training latents.

        A class mean is drawn toward the mean of all scans as if `PRIOR_SCANS` scans lay there, so
        that a class of three patients does not show their average.

        Args:
            latents: Scaled latents, original and mirrored ones alike.
            labels: Their class numbers; -1 is unknown.
        """
        centre = latents.mean(dim=0)
        self.mean.copy_(centre.expand_as(self.mean))
        residual = latents - centre
        for number in range(len(self.mean) - 1):
            inside = labels == number
            if inside.any():
                count = float(inside.sum())
                shift = residual[inside].mean(dim=0) * count / (count + PRIOR_SCANS)
                self.mean[number + 1] += shift
        residual = latents - self.mean[labels + 1]
        power = to_frequencies(residual, self.bases).square().mean(dim=0)
        self.spread.copy_(power.sqrt().clamp_min(MIN_SPREAD))

    def forward(
        self, latents: Float[Tensor, "n k ..."], t: Float[Tensor, " n"], conditions: Conditions
    ) -> Float[Tensor, "n k ..."]:
        """Return the velocity of scaled latents at times in [0, 1]."""
        time = t.reshape(-1, *([1] * self.spread.ndim))
        mean = self.mean[conditions.labels + 1]
        centred = latents - (1 - time) * mean
        c_skip, c_out = precondition(t, self.spread)
        per_channel = self.spread.square().flatten(1).mean(dim=1)
        channel_spread = per_channel.reshape(1, -1, *([1] * (self.spread.ndim - 1)))
        c_in = ((1 - time).square() * channel_spread + time.square()).rsqrt()
        rest: Tensor = self.network(c_in * centred, t * TIME_SCALE, class_labels=conditions)
        moved = c_skip * to_frequencies(centred, self.bases)
        moved = moved + c_out * to_frequencies(rest.float(), self.bases)
        return from_frequencies(moved, self.bases) - mean
