"""The network that every strategy trains, and how its weights lie on disk.

Axes: n = scans, s = sequences, then the grid.
"""

from typing import final

import torch
from jaxtyping import Float
from monai.networks.nets.densenet import DenseNet
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.settings import ClassifierSettings
from sitesynth.training import channels_last


__all__ = ["Classifier", "build_classifier"]


NORM_GROUPS = 4


@final
class Classifier(nn.Module):
    """MONAI's DenseNet (Huang et al., 2017) on the sequences of a scan.

    Group normalization, not batch normalization: a scan's score must not depend on the others in
    its batch, and batch statistics are what federated averaging handles worst. Not instance
    normalization either: before a global average it leaves every feature map with the same mean.
    """

    def __init__(
        self, settings: ClassifierSettings, *, num_sequences: int, num_classes: int, dims: int
    ) -> None:
        super().__init__()
        self.network = DenseNet(
            spatial_dims=dims,
            in_channels=num_sequences,
            out_channels=num_classes,
            init_features=settings.init_features,
            growth_rate=settings.growth_rate,
            block_config=settings.layers,
        )
        _use_group_norm(self.network)
        channels_last(self, dims)

    def forward(self, images: Float[Tensor, "n s ..."]) -> Float[Tensor, "n classes"]:
        """Return one logit per class."""
        logits: Tensor = self.network(images)
        return logits


def _use_group_norm(network: nn.Module) -> None:
    """Put group normalization wherever a network has batch normalization."""
    for name, child in network.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
            setattr(network, name, nn.GroupNorm(NORM_GROUPS, child.num_features))
        else:
            _use_group_norm(child)


def build_classifier(
    settings: ClassifierSettings,
    *,
    num_sequences: int,
    num_classes: int,
    dims: int,
    rng: torch.Generator,
) -> Classifier:
    """Build a classifier whose initial weights are drawn from `rng`."""
    with seeds.isolated(rng):
        return Classifier(settings, num_sequences=num_sequences, num_classes=num_classes, dims=dims)
