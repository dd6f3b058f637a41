"""From a file of weights to a network, looked at before anything in it is used.

In this order: the file's size, its SHA-256 against the study's, and then the names and shapes of
its weights against the network's, or the program against what a program may hold. Nothing is
unpickled, and the bytes that are used are those whose digest was taken.
"""

import hashlib
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from sitesynth.errors import ExtractorError
from sitesynth.extractors.programs import read_program
from sitesynth.settings import ExtractorSettings


__all__ = ["MAX_BYTES", "network_of", "read_network"]

MAX_BYTES: Final = 4 << 30
COUNTERS: Final = "num_batches_tracked"
"""Of batch normalization: in publishers' files, and of no use here."""


def read_network(name: str, settings: ExtractorSettings) -> nn.Module:
    """Read an extractor's network, ready to be used.

    Args:
        name: What the study calls the extractor.
        settings: Its entry under `extractors`.

    Raises:
        ExtractorError: If the file is not there, not the one that the study names, or does not fit.
    """
    path, where = Path(settings.weights), f"extractors.{name}"
    if path.is_symlink() or not path.is_file():
        raise ExtractorError(
            f"{path}, the weights of {where}, is not there or no plain file. None come with the "
            "repository: docs/how-to-use-other-features.md says where they are and how to convert "
            "them."
        )
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ExtractorError(
            f"{path}, the weights of {where}, has {size} bytes; at most {MAX_BYTES} are read."
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != settings.sha256:
        raise ExtractorError(
            f"{path} has the SHA-256 {digest}, but {where}.sha256 is {settings.sha256}. Get the "
            "file that the study names, or, if this is the right one, write its digest there."
        )
    if settings.network == "program":
        program = read_program(content, path=path)
        wanted = (settings.channels, *settings.size)
        if program.shape[1:] != wanted:
            raise ExtractorError(
                f"{path} takes inputs of channels and size {program.shape[1:]}, but {where} says "
                f"{wanted}. Correct channels and size there, or export it for that size."
            )
        network: nn.Module = program
    else:
        network = network_of(content, settings.network, path=path)
    _try(network, settings, path)
    return network


def network_of(content: bytes, network_name: str, *, path: Path) -> nn.Module:
    """Return a network with its weights.

    Args:
        content: A whole safetensors file.
        network_name: One of `sitesynth.extractors.networks.NETWORKS`.
        path: What messages call the file.

    Raises:
        ExtractorError: If it is no such file, or of another network.
    """
    # It brings MONAI along, which a program does not need.
    from sitesynth.extractors.networks import build_network  # noqa: PLC0415

    try:
        weights = load(content)
    except SafetensorError as error:
        raise ExtractorError(
            f"{path} is not a safetensors file ({error}). Convert the publisher's weights with "
            "docs/convert_weights.py."
        ) from error
    network = build_network(network_name)
    wanted = _shapes(network.state_dict())
    found = _shapes(weights)
    if found != wanted:
        wrong = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        told = [f"{name} {found.get(name)} for {wanted.get(name)}" for name in wrong[:3]]
        raise ExtractorError(
            f"{path} does not hold the weights of {network_name}: {len(wrong)} differ in name or "
            f"shape, such as {'; '.join(told)}. Name the network that it is of, or convert the "
            "publisher's weights with docs/convert_weights.py."
        )
    values = {name: weights[name].float() for name in wanted}
    counters = {
        name: torch.zeros((), dtype=torch.long)
        for name in network.state_dict()
        if name.endswith(COUNTERS)
    }
    network.load_state_dict(values | counters, strict=True, assign=True)
    return network


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape) for name, value in tensors.items() if not name.endswith(COUNTERS)
    }


def _try(network: nn.Module, settings: ExtractorSettings, path: Path) -> None:
    """Make sure that an input of the stated size becomes a vector of numbers."""
    with torch.inference_mode():
        try:
            found = network(torch.zeros((1, settings.channels, *settings.size)))
        except RuntimeError as error:
            raise ExtractorError(
                f"{path}: the network cannot take inputs of size {settings.size} "
                f"({str(error).splitlines()[0]}). Make `size` larger."
            ) from error
    if found.ndim != 2 or not torch.isfinite(found).all():  # noqa: PLR2004
        raise ExtractorError(
            f"{path} makes {tuple(found.shape)} of one empty input, but one row of finite features "
            "is needed. Pool them over places, and check the weights."
        )
