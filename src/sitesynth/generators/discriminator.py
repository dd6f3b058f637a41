"""The network that an autoencoder's reconstructions may have to pass for scans before.

It scores patches, not whole scans (Isola et al., 2017), by least squares (Mao et al., 2017): it
learns to give 1 to patches of scans and 0 to those of reconstructions, and the autoencoder to be
given 1. Norms are of one scan each, so that a batch's parts give the whole batch's gradients.

It has seen patients, and stays at its site: neither kept nor released.

Axes: n = scans, c = channels (sequences, then mask), then the grid.
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from sitesynth.networks import PatchAdversarialLoss, PatchDiscriminator
from sitesynth.settings import AdversarialSettings
from sitesynth.training import channels_last


__all__ = ["Discriminator"]


@final
class Discriminator(nn.Module):
    """Tells patches of scans from patches of reconstructions."""

    def __init__(self, settings: AdversarialSettings, *, num_channels: int, dims: int) -> None:
        super().__init__()
        self.settings = settings
        self.network = PatchDiscriminator(
            spatial_dims=dims,
            in_channels=num_channels,
            channels=settings.width,
            num_layers_d=settings.depth,
            norm="INSTANCE",
        )
        self.loss = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        channels_last(self, dims)

    def losses(
        self, scans: Float[Tensor, "n c ..."], reconstructed: Float[Tensor, "n c ..."]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the autoencoder's loss and its own, each cut off from the other's weights.

        Args:
            scans: What is real, in [0, 1]; equal to the other where a channel is missing.
            reconstructed: What came back, in [0, 1].
        """
        frozen = {name: weight.detach() for name, weight in self.network.named_parameters()}
        *_, hoped = functional_call(self.network, frozen, (reconstructed,))
        fooled = self.loss(hoped.float(), target_is_real=True, for_discriminator=False)
        own = [
            self.loss(self.network(shown)[-1].float(), target_is_real=real, for_discriminator=True)
            for shown, real in ((scans, True), (reconstructed.detach(), False))
        ]
        return fooled, torch.stack(own).mean()
