"""The network that learns the velocity of a site's flow, and how it is told what to draw.

A condition is the scan's class, which channels it has and, where the study asks for it, covariates.
All enter the network where its time does, as one vector added to the time embedding. Class number
-1, an unknown label, has an embedding of its own, which is also what condition dropout shows:
unconditional is "label unknown". An unknown covariate, NaN, has one too.

The network predicts only what a Gaussian does not. The Gaussian has a mean per class and place, and
a spread per channel and spatial frequency (`schedules.precondition`, `spectrum`): statistics of
second order over all training scans, which a network would need most of its steps to find out.

What the Gaussian makes of noisy latents is also a *hint* to the network: their expected data, by
the spectrum (Wiener's filter), and by the leading principal components of the training latents, if
the study has any. The first smooths over neighbours, the second over the whole head; without them,
a network spends most of its steps on learning to do so (ADR 54).

With covariates, the mean moves along a slope per column of `Covariates.spread_out`; where a
covariate is unknown, it stays.

Axes: n = samples, k = latent channels, c = image channels, v = covariates, then the latent grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.generators.covariates import Covariates
from sitesynth.generators.schedules import precondition, schedule_named
from sitesynth.generators.spectrum import cosine_basis, from_frequencies, to_frequencies
from sitesynth.generators.transformer import Transformer
from sitesynth.generators.uvit import UViT
from sitesynth.images import UNKNOWN_LABEL
from sitesynth.settings import DiffusionSettings


__all__ = ["Conditions", "Denoiser"]

PRIOR_SCANS = 10.0
MIN_SPREAD = 1e-3

SPARE_COMPONENTS = 8
"""Directions beside the wanted ones in which the leading components are looked for (Halko et al.,
2011, Section 4.2)."""


@final
@dataclass(frozen=True)
class Conditions:
    """What to draw: a class each, which channels the scan has, and its covariates."""

    labels: Int[Tensor, " n"]
    """Class numbers; -1 is unknown."""

    presence: Bool[Tensor, "n c"]

    covariates: Float[Tensor, "n v"] | None = None
    """As `Covariates.encode` says them, NaN where unknown; None where the flow knows none, or all
    are unknown."""

    def without_labels(self) -> "Conditions":
        """Return the same conditions with every label unknown."""
        return replace(self, labels=torch.full_like(self.labels, UNKNOWN_LABEL))

    def hide_labels(self, *, probability: float, rng: torch.Generator) -> "Conditions":
        """Return the conditions with some labels unknown, chosen at random."""
        hidden = torch.rand(len(self.labels), generator=rng) < probability
        return replace(self, labels=self.labels.masked_fill(hidden, UNKNOWN_LABEL))

    def hide_covariates(self, *, probability: float, rng: torch.Generator) -> "Conditions":
        """Return the conditions with some covariates unknown, each chosen at random."""
        if self.covariates is None:
            return self
        hidden = torch.rand(self.covariates.shape, generator=rng) < probability
        return replace(self, covariates=self.covariates.masked_fill(hidden, math.nan))

    def with_and_without_labels(self) -> "Conditions":
        """Return the conditions, and once more with every label unknown."""
        told = None if self.covariates is None else self.covariates.repeat(2, 1)
        labels = torch.cat([self.labels, self.without_labels().labels])
        return Conditions(labels, self.presence.repeat(2, 1), told)

    def __getitem__(self, part: slice) -> "Conditions":
        """Return the conditions of some of the samples."""
        told = None if self.covariates is None else self.covariates[part]
        return Conditions(self.labels[part], self.presence[part], told)

    def to(self, device: torch.device) -> "Conditions":
        """Return the conditions on a device."""
        told = None if self.covariates is None else self.covariates.to(device)
        return Conditions(self.labels.to(device), self.presence.to(device), told)


@final
class Denoiser(nn.Module):
    """A transformer over patches of latents, told time and conditions, beside a Gaussian.

    Where the study asks for them, between convolutions.
    """

    mean: Tensor
    spread: Tensor
    components: Tensor
    component_spread: Tensor
    slopes: Tensor
    expected: Tensor

    def __init__(
        self,
        settings: DiffusionSettings,
        *,
        latent_shape: Sequence[int],
        num_classes: int,
        num_channels: int,
        covariates: Covariates | None = None,
    ) -> None:
        super().__init__()
        _, *grid = latent_shape
        self.schedule = schedule_named(settings.schedule)
        self.num_hints = 2 if settings.components else 1
        build = partial(
            Transformer,
            patch=settings.patch,
            width=settings.width,
            depth=settings.depth,
            num_classes=num_classes,
            num_channels=num_channels,
            covariates=() if covariates is None else covariates.sizes,
        )
        convolutions = settings.convolutions
        self.network: Transformer | UViT = (
            build(latent_shape, num_hints=self.num_hints)
            if convolutions is None
            else UViT(
                latent_shape,
                build,
                feature_maps=convolutions.feature_maps,
                num_blocks=convolutions.num_blocks,
                num_hints=self.num_hints,
            )
        )
        self.register_buffer("mean", torch.zeros(num_classes + 1, *latent_shape))
        self.register_buffer("spread", torch.ones(*latent_shape))
        self.register_buffer("components", torch.zeros(settings.components, *latent_shape))
        self.register_buffer("component_spread", torch.ones(settings.components))
        self.detail = settings.detail
        self.covariates = covariates
        if covariates is not None:
            expected = covariates.expected()
            self.register_buffer("slopes", torch.zeros(expected.shape[1], *latent_shape))
            self.register_buffer("expected", expected, persistent=False)
        for axis, size in enumerate(grid):
            self.register_buffer(f"basis_{axis}", cosine_basis(size), persistent=False)

    @property
    def bases(self) -> list[Tensor]:
        """The cosine basis of each axis of the latent grid."""
        return [self.get_buffer(f"basis_{axis}") for axis in range(self.spread.ndim - 1)]

    @torch.no_grad()
    def fit_gaussian(
        self,
        latents: Float[Tensor, "n k ..."],
        labels: Int[Tensor, " n"],
        covariates: Float[Tensor, "n v"] | None = None,
        *,
        num_views: int = 1,
    ) -> None:
        """Set the Gaussian from scaled training latents.

        A class mean is drawn toward the mean of all scans as if `PRIOR_SCANS` scans lay there, so
        that a class of three patients does not show their average. A slope is drawn toward zero in
        the same way: ridge regression of what the class means leave.

        Args:
            latents: Scaled latents, original and mirrored ones alike.
            labels: Their class numbers; -1 is unknown.
            covariates: Those of each, NaN where unknown; None if the flow knows none.
            num_views: How many of the latents are of one scan.
        """
        centre = latents.mean(dim=0)
        self.mean.copy_(centre.expand_as(self.mean))
        residual = latents - centre
        for number in range(len(self.mean) - 1):
            inside = labels == number
            if inside.any():
                count = float(inside.sum()) / num_views
                shift = residual[inside].mean(dim=0) * count / (count + PRIOR_SCANS)
                self.mean[number + 1] += shift
        residual = latents - self.mean[labels + 1]
        if self.covariates is not None and covariates is not None:
            shifts = self._deviations(labels, covariates).double() / num_views**0.5
            ridge = PRIOR_SCANS * torch.eye(shifts.shape[1], dtype=shifts.dtype)
            found = residual.flatten(1).double() / num_views**0.5
            solved = torch.linalg.solve(shifts.T @ shifts + ridge, shifts.T @ found)
            self.slopes.copy_(solved.reshape(self.slopes.shape))
            residual = latents - self._mean_of(labels, covariates)
        power = to_frequencies(residual, self.bases).square().mean(dim=0)
        self.spread.copy_(power.sqrt().clamp_min(MIN_SPREAD))
        self._fit_components(residual.flatten(1))

    def _fit_components(self, residual: Float[Tensor, "n d"]) -> None:
        """Set the principal components from what the means leave of the training latents."""
        most = min(len(self.components), *residual.shape)
        if not most:
            return
        # What torch draws here is where its iteration starts, and hardly matters to where it ends.
        with seeds.isolated(seeds.generator(0, "components")):
            width = min(most + SPARE_COMPONENTS, *residual.shape)
            _, singular, directions = torch.svd_lowrank(residual, q=width, niter=3)
        self.components[:most] = directions[:, :most].T.reshape(most, *self.spread.shape)
        self.component_spread[:most] = singular[:most] / math.sqrt(len(residual))

    def forward(
        self, latents: Float[Tensor, "n k ..."], t: Float[Tensor, " n"], conditions: Conditions
    ) -> Float[Tensor, "n k ..."]:
        """Return the velocity of scaled latents at times in [0, 1]."""
        time = t.reshape(-1, *([1] * self.spread.ndim))
        (of_data, of_noise), (slope, _) = self.schedule.weights(time), self.schedule.slopes(time)
        mean = self._mean_of(conditions.labels, conditions.covariates)
        # What the network adds may be rounded; the Gaussian's part may not.
        with torch.autocast(latents.device.type, enabled=False):
            centred = latents - of_data * mean
            frequencies = to_frequencies(centred, self.bases)
            hints = self.hints(centred, frequencies, t)
        per_channel = self.spread.square().flatten(1).mean(dim=1)
        channel_spread = per_channel.reshape(1, -1, *([1] * (self.spread.ndim - 1)))
        c_in = (of_data.square() * channel_spread + of_noise.square()).rsqrt()
        shown = [c_in * centred, *(hint / channel_spread.sqrt() for hint in hints)]
        rest = self.network(
            torch.cat(shown, dim=1),
            t,
            conditions.labels,
            conditions.presence,
            conditions.covariates,
        )
        with torch.autocast(latents.device.type, enabled=False):
            c_skip, c_out = precondition(self.schedule, t, self.spread)
            moved = c_skip * frequencies + c_out * to_frequencies(rest.float(), self.bases)
            return from_frequencies(moved, self.bases) + slope * mean

    def hints(
        self,
        centred: Float[Tensor, "n k ..."],
        frequencies: Float[Tensor, "n k ..."],
        t: Float[Tensor, " n"],
    ) -> list[Float[Tensor, "n k ..."]]:
        """Return what Gaussians expect the data to be, less its mean, given noisy latents.

        Of data with variance s^2, a x + b noise tells E[x] = a s^2 / (a^2 s^2 + b^2) times itself:
        by frequency, and by principal component.

        Args:
            centred: Noisy latents less a times the mean.
            frequencies: The same by spatial frequency.
            t: Their times.
        """

        def kept(spread: Tensor) -> Tensor:
            of_data, of_noise = self.schedule.weights(t.reshape(-1, *([1] * spread.ndim)))
            power = spread.square()
            return of_data * power / (of_data.square() * power + of_noise.square())

        smooth = from_frequencies(kept(self.spread) * frequencies, self.bases)
        if not len(self.components):
            return [smooth]
        directions = self.components.flatten(1)
        along = kept(self.component_spread) * (centred.flatten(1) @ directions.T)
        return [smooth, (along @ directions).reshape(centred.shape)]

    def loss(
        self,
        predicted: Float[Tensor, "n k ..."],
        velocity: Float[Tensor, "n k ..."],
        t: Float[Tensor, " n"],
    ) -> Float[Tensor, ""]:
        """Return the mean squared error of the velocity, with details weighing as `detail` says.

        At 1 each frequency's error counts in units of what the Gaussian leaves open there (Karras
        et al., 2022, weigh so, with one spread for all), so that what is small and what is large
        are learned alike; at 0 all errors count alike, and small ones hardly.
        """
        error = predicted.float() - velocity
        if self.detail:
            _, c_out = precondition(self.schedule, t, self.spread)
            error = to_frequencies(error, self.bases) * c_out**-self.detail
        return error.square().mean()

    def _mean_of(
        self, labels: Int[Tensor, " n"], covariates: Float[Tensor, "n v"] | None
    ) -> Float[Tensor, "n k ..."]:
        """Return the Gaussian's mean of each sample."""
        mean: Tensor = self.mean[labels + 1]
        if self.covariates is None or covariates is None:
            return mean
        shifts: Tensor = torch.tensordot(self._deviations(labels, covariates), self.slopes, dims=1)
        return mean + shifts

    def _deviations(
        self, labels: Int[Tensor, " n"], covariates: Float[Tensor, "n v"]
    ) -> Float[Tensor, "n d"]:
        """Return by how much each column differs from what its class has; 0 where unknown."""
        assert self.covariates is not None  # noqa: S101
        columns = self.covariates.spread_out(covariates)
        deviations: Tensor = (columns - self.expected[labels + 1]).nan_to_num()
        return deviations
