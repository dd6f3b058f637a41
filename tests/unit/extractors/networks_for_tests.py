"""Files of random weights, and settings that name them."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from sitesynth.extractors.networks import build_network
from sitesynth.settings import ExtractorSettings
from sitesynth.storage import digest_of_file


class Brightness(nn.Module):
    """Mean and second moment of a picture, times a weight: features whose answer is known."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]), requires_grad=False)
        self.axes = tuple(range(1, dims + 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return two features of each input."""
        moments = [inputs.mean(dim=self.axes), (inputs * inputs).mean(dim=self.axes)]
        return torch.stack(moments, dim=1) * self.weight


def write_program(path: Path, network: nn.Module, shape: tuple[int, ...]) -> Path:
    """Export a network as the how-to shows."""
    program = torch.export.export(network.eval(), (torch.zeros(shape),))
    program.example_inputs = None
    torch.export.save(program, path)
    return path


def write_random(path: Path, network: str) -> Path:
    """Write random weights of one of the published networks."""
    rng = torch.Generator().manual_seed(0)
    weights = {}
    for name, value in build_network(network).state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        drawn = torch.rand(value.shape, generator=rng)
        # So that numbers neither grow nor vanish from layer to layer.
        fan_in = max(1, value[0].numel())
        weights[name] = 0.5 + drawn if value.ndim == 1 else (2 * drawn - 1) / fan_in**0.5
    save_file(weights, path)
    return path


def settings_for(path: Path, network: str, **changed: Any) -> ExtractorSettings:
    """Return an entry that fits, but for what is changed."""
    entry: dict[str, Any] = {
        "network": network,
        "weights": str(path),
        "sha256": digest_of_file(path) if path.is_file() else "0" * 64,
        "size": (32, 32) if network.startswith("radimagenet") else (16, 16, 16),
        "channels": 3 if network.startswith("radimagenet") else 1,
        "mean": None,
        "spread": None,
        "slices": 2 if network.startswith("radimagenet") else None,
    }
    return ExtractorSettings(**(entry | changed))
