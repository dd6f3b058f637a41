"""The network that every strategy trains, and how its weights lie on disk.

Axes: n = scans, s = sequences, then the grid.
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.networks import DenseNet
from sitesynth.settings import ClassifierSettings
from sitesynth.training import channels_last


__all__ = ["Classifier", "build_classifier"]


@final
class Classifier(nn.Module):
    """MONAI's DenseNet (Huang et al., 2017) on the sequences of a scan.

    Batch normalization, with its running statistics among the weights that federated averaging
    averages. Normalizing each scan by itself (group or instance normalization) takes away what
    tells scans apart once features are averaged over the grid: on the phantom such networks needed
    several times the steps, or never left their starting plateau (ADR 12).
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
        # The stem of the paper looks at 7 voxels of 224; on grids of tens of voxels, 3 see as much
        # and cost a tenth.
        stem = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.network.features.conv0 = stem(
            num_sequences, settings.init_features, 3, stride=2, padding=1, bias=False
        )
        channels_last(self, dims)

    def forward(self, images: Float[Tensor, "n s ..."]) -> Float[Tensor, "n classes"]:
        """Return one logit per class."""
        logits: Tensor = self.network(images)
        return logits


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
