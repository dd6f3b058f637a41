"""The network that learns the velocity of a site's flow, and how it is told what to draw.

A condition is the scan's class and which channels it has. Both enter the network where its time
does, as one vector added to the time embedding. Class number -1, an unknown label, has an embedding
of its own, which is also what condition dropout shows: unconditional is "label unknown".

The network predicts only what a Gaussian does not. The Gaussian has a mean per class and place, and
a spread per channel and spatial frequency (`schedules.precondition`, `spectrum`): statistics of
second order over all training scans, which a network would need most of its steps to find out.

Axes: n = samples, k = latent channels, c = image channels, then the latent grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sitesynth.generators.schedules import precondition, schedule_named
from sitesynth.generators.spectrum import cosine_basis, from_frequencies, to_frequencies
from sitesynth.generators.transformer import Transformer
from sitesynth.images import UNKNOWN_LABEL
from sitesynth.settings import DiffusionSettings


__all__ = ["Conditions", "Denoiser"]

PRIOR_SCANS = 10.0
MIN_SPREAD = 1e-3


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

    def __getitem__(self, part: slice) -> "Conditions":
        """Return the conditions of some of the samples."""
        return Conditions(**{each.name: getattr(self, each.name)[part] for each in fields(self)})

    def to(self, device: torch.device) -> "Conditions":
        """Return the conditions on a device."""
        return Conditions(self.labels.to(device), self.presence.to(device))


@final
class Denoiser(nn.Module):
    """A transformer over patches of latents, told time and conditions, beside a Gaussian."""

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
        _, *grid = latent_shape
        self.schedule = schedule_named(settings.schedule)
        self.network = Transformer(
            latent_shape,
            patch=settings.patch,
            width=settings.width,
            depth=settings.depth,
            num_classes=num_classes,
            num_channels=num_channels,
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
        (of_data, of_noise), (slope, _) = self.schedule.weights(time), self.schedule.slopes(time)
        mean = self.mean[conditions.labels + 1]
        centred = latents - of_data * mean
        c_skip, c_out = precondition(self.schedule, t, self.spread)
        per_channel = self.spread.square().flatten(1).mean(dim=1)
        channel_spread = per_channel.reshape(1, -1, *([1] * (self.spread.ndim - 1)))
        c_in = (of_data.square() * channel_spread + of_noise.square()).rsqrt()
        rest = self.network(c_in * centred, t, conditions.labels, conditions.presence)
        # What the network adds may be rounded; the Gaussian's part may not.
        with torch.autocast(latents.device.type, enabled=False):
            moved = c_skip * to_frequencies(centred, self.bases)
            moved = moved + c_out * to_frequencies(rest.float(), self.bases)
            return from_frequencies(moved, self.bases) + slope * mean
