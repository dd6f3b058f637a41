"""The network that learns the velocity of a site's flow, and how it is told what to draw.

A condition is the scan's class and which channels it has. Both enter the U-Net where its time
does, as one vector added to the time embedding. Class number -1, an unknown label, has an embedding
of its own, which is also what condition dropout shows: unconditional is "label unknown".

Axes: n = samples, k = latent channels, c = image channels, then the latent grid.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from sitesynth.images import UNKNOWN_LABEL
from sitesynth.settings import DiffusionSettings


__all__ = ["Conditions", "Denoiser"]

NORM_GROUPS = 8
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

    def __init__(
        self,
        settings: DiffusionSettings,
        *,
        latent_channels: int,
        num_classes: int,
        num_channels: int,
        dims: int,
    ) -> None:
        super().__init__()
        levels = len(settings.channels)
        self.network = DiffusionModelUNet(
            spatial_dims=dims,
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
        self.network.class_embedding = _ConditionEmbedding(
            num_classes=num_classes, num_channels=num_channels, width=4 * settings.channels[0]
        )

    def forward(
        self, latents: Float[Tensor, "n k ..."], t: Float[Tensor, " n"], conditions: Conditions
    ) -> Float[Tensor, "n k ..."]:
        """Return the velocity of scaled latents at times in [0, 1]."""
        velocity: Tensor = self.network(latents, t * TIME_SCALE, class_labels=conditions)
        return velocity
