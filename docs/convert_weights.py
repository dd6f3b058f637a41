"""Turn a publisher's weights into a file that a study can name: once, outside the study.

    python docs/convert_weights.py medicalnet-resnet50 resnet_50_23dataset.pth med.safetensors

The publisher's file is a pickle. It is read with `weights_only=True`, which lets tensors through
and runs nothing. What is written holds the weights of one network, under the names that it has
here, and nothing else; it is refused if one is missing. Printed is the entry for params.yaml.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor

from sitesynth.extractors.files import network_of
from sitesynth.extractors.networks import NETWORKS
from sitesynth.storage import digest_of_file, replacing


RESNET_PLACES = {
    "0": "conv1",
    "1": "bn1",
    "4": "layer1",
    "5": "layer2",
    "6": "layer3",
    "7": "layer4",
}
"""RadImageNet saved torchvision's layers by their place in a sequence."""

CLASSIFIERS = ("fc.", "classifier.", "conv_seg.", "class_layers.")

ENTRIES = {
    "medicalnet": (
        "size: [64, 64, 64]\n    channels: 1\n    mean: null\n    spread: null\n    slices: null"
    ),
    "radimagenet": (
        "size: [224, 224]\n    channels: 3\n    mean: [0.5, 0.5, 0.5]\n"
        "    spread: [0.5, 0.5, 0.5]\n    slices: 4"
    ),
}


def convert(published: Mapping[str, Any], network: str) -> dict[str, Tensor]:
    """Return a publisher's weights under the names of the network here."""
    weights = published.get("state_dict", published)
    converted = {}
    for name, value in weights.items():
        short = re.sub(r"^(module\.|backbone\.)+", "", name)
        if network == "radimagenet-resnet50":
            place, _, rest = short.partition(".")
            short = f"{RESNET_PLACES.get(place, place)}.{rest}"
        if network == "radimagenet-densenet121":
            short = re.sub(r"^0\.", "features.", short)
            short = re.sub(r"(denselayer\d+)\.(norm|conv)", r"\1.layers.\2", short)
        if not short.startswith(CLASSIFIERS):
            converted[short] = value.detach().clone().contiguous()
    return converted


def main(argv: list[str] | None = None) -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("published", type=Path)
    parser.add_argument("converted", type=Path)
    asked = parser.parse_args(argv)
    published = torch.load(asked.published, map_location="cpu", weights_only=True)
    weights = convert(published, asked.network)
    network_of(save(weights), asked.network, path=asked.published)
    with replacing(asked.converted) as temporary:
        save_file(weights, temporary)
    family = asked.network.split("-")[0]
    print(
        f"extractors:\n  {family}:\n    network: {asked.network}\n"
        f"    weights: {asked.converted.resolve()}\n"
        f"    sha256: {digest_of_file(asked.converted)}\n    {ENTRIES[family]}"
    )


if __name__ == "__main__":
    main()
