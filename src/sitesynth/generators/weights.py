"""A generator's weights as files."""

from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from sitesynth.storage import replacing


__all__ = ["AUTOENCODER_FILE", "FLOW_FILE", "write_weights"]

AUTOENCODER_FILE = "autoencoder.safetensors"
FLOW_FILE = "flow.safetensors"


def write_weights(path: Path, model: nn.Module) -> None:
    """Write a model's weights as safetensors, whole; the same weights give the same bytes."""
    tensors = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary)
