"""What a flow is compared with: models that turn noise into latents in one pass (ADR 29).

All variants start from the Gaussian that a flow starts from (ADR 13), so a comparison of them says
what a network, and the way it is trained, adds to it. The GAN's network is the flow's own.

Axes: n = samples, k = latent channels, then the latent grid.
"""

from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.spectrum import from_frequencies, to_frequencies


__all__ = ["Gan", "Gaussian", "LatentModel", "VariantName", "as_variant"]

VariantName = Literal["flow", "gan", "gaussian"]


@final
class Gaussian(nn.Module):
    """A flow without its network: a mean per class, a spread per channel and frequency."""

    mean: Tensor
    spread: Tensor

    def __init__(self, flow: Denoiser) -> None:
        super().__init__()
        self.register_buffer("mean", flow.mean.clone())
        self.register_buffer("spread", flow.spread.clone())
        self.num_axes = len(flow.bases)
        for axis, basis in enumerate(flow.bases):
            self.register_buffer(f"basis_{axis}", basis.clone(), persistent=False)

    @property
    def bases(self) -> list[Tensor]:
        """The cosine basis of each axis of the latent grid."""
        return [self.get_buffer(f"basis_{axis}") for axis in range(self.num_axes)]

    def forward(
        self, noise: Float[Tensor, "n k ..."], conditions: Conditions
    ) -> Float[Tensor, "n k ..."]:
        """Turn standard normal noise into scaled latents."""
        around = from_frequencies(self.spread * to_frequencies(noise, self.bases), self.bases)
        drawn: Tensor = self.mean[conditions.labels + 1] + around
        return drawn

    def whiten(
        self, latents: Float[Tensor, "n k ..."], conditions: Conditions
    ) -> Float[Tensor, "n k ..."]:
        """Return the noise that `forward` turns into these latents."""
        around = to_frequencies(latents - self.mean[conditions.labels + 1], self.bases)
        return from_frequencies(around / self.spread, self.bases)


@final
class Gan(nn.Module):
    """The generating half of a GAN: what the Gaussian draws, changed by the flow's network.

    It starts as the Gaussian, since the network's last layer starts at zero.
    """

    def __init__(self, flow: Denoiser) -> None:
        super().__init__()
        self.gaussian = Gaussian(flow)
        self.network = flow.network
        self.num_hints = flow.num_hints

    def forward(
        self, noise: Float[Tensor, "n k ..."], conditions: Conditions
    ) -> Float[Tensor, "n k ..."]:
        """Turn standard normal noise into scaled latents."""
        drawn = self.gaussian(noise, conditions)
        centred = drawn - self.gaussian.mean[conditions.labels + 1]
        # The network knows a flow's time and hints; here it is always time 0, and without hints.
        never = torch.zeros(len(noise), device=noise.device)
        shown = torch.cat([centred, *[torch.zeros_like(centred)] * self.num_hints], dim=1)
        changed = self.network(shown, never, conditions.labels, conditions.presence)
        result: Tensor = drawn + changed
        return result


LatentModel = Denoiser | Gan | Gaussian
"""What turns noise into scaled latents."""


def as_variant(flow: Denoiser, variant: VariantName) -> LatentModel:
    """Return what takes the place of a flow, sharing its network and copying its Gaussian."""
    match variant:
        case "flow":
            return flow
        case "gan":
            return Gan(flow)
        case "gaussian":
            return Gaussian(flow)
