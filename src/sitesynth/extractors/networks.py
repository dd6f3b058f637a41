"""The networks whose published weights a study may name: MONAI's, without their last layer.

    medicalnet-resnet10, -18, -50     3D, one channel; strides as MONAI's `ResNetFeatures`
    radimagenet-resnet50, -densenet121   2D, three channels; the layers of torchvision's

A picture goes in and its features come out, averaged over places: 512 of a ResNet 10 or 18, 2048 of
a ResNet 50, 1024 of a DenseNet 121.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from sitesynth.networks import NOT_FOR_NETWORKS, DenseNet, hidden


with hidden(NOT_FOR_NETWORKS):
    from monai.networks.nets.resnet import (
        get_medicalnet_pretrained_resnet_args,
        resnet10,
        resnet18,
        resnet50,
    )


__all__ = ["NETWORKS", "build_network"]

MEDICALNET: Final = {10: resnet10, 18: resnet18, 50: resnet50}


class DenseFeatures(nn.Module):
    """A DenseNet 121 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        whole = DenseNet(2, 3, 1, block_config=(6, 12, 24, 16))
        self.features = whole.features

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features of pictures."""
        pooled: Tensor = self.features(pictures).relu().mean(dim=(-2, -1))
        return pooled


def build_network(name: str) -> nn.Module:
    """Return a network without weights: its tensors have shapes and no values."""
    with torch.device("meta"):
        return NETWORKS[name]().eval()


def _medicalnet(depth: int) -> Callable[[], nn.Module]:
    bias_downsample, shortcut_type = get_medicalnet_pretrained_resnet_args(depth)

    def build() -> nn.Module:
        network: nn.Module = MEDICALNET[depth](
            spatial_dims=3,
            n_input_channels=1,
            conv1_t_stride=2,
            shortcut_type=shortcut_type,
            bias_downsample=bias_downsample,
            feed_forward=False,
        )
        return network

    return build


def _radimagenet_resnet50() -> nn.Module:
    network: nn.Module = resnet50(
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        bias_downsample=False,
        feed_forward=False,
    )
    return network


NETWORKS: Final[dict[str, Callable[[], nn.Module]]] = {
    **{f"medicalnet-resnet{depth}": _medicalnet(depth) for depth in MEDICALNET},
    "radimagenet-resnet50": _radimagenet_resnet50,
    "radimagenet-densenet121": DenseFeatures,
}
