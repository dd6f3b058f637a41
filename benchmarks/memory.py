"""Whether a study's generators fit one card.

A step of each network is taken on tensors that have shapes and no numbers (torch's FakeTensorMode),
while torch's MemTracker counts what is alive. Norms and attention do there what they do on a GPU
under bfloat16: norms in float32, attention without its square. On a machine with a GPU, the same
steps are also taken for real, and its allocator is asked.

    python -m benchmarks.memory --study studies/glioma-3d.yaml

Computed is the peak of one step: weights, gradients, both optimizers' states, what the way back
needs, and the flow's three copies of its weights (the average, the best look, and the network that
looks). A gigabyte or two for the driver and for workspaces of convolutions comes on top, so a card
is said to do if `HEADROOM_GIB` are left. A discriminator (ADR 62) is not counted: MemTracker cannot
follow a network that is called with its weights held still. A minute.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional

from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.autoencoder_training import reconstruction_error, texture_error
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.settings import Settings, load_settings
from sitesynth.training import optimizers_of


__all__ = ["Memory", "memory_of"]

GIB: Final = 2**30
HEADROOM_GIB: Final = 4.0
COPIES_OF_THE_FLOW: Final = 3


@final
@dataclass(frozen=True, slots=True)
class Memory:
    """What one step of a network needs, in bytes."""

    num_weights: int
    at_once: int
    """Samples in memory together."""

    optimizer: int
    copies: int
    rest: int
    """Weights, gradients and what the way back needs, at their common peak."""

    measured: int | None
    """Peak of a GPU's allocator, copies not counted; None without a GPU."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.optimizer + self.copies + self.rest


@contextmanager
def as_on_gpu() -> Iterator[None]:
    """Let norms and attention keep what they keep on a GPU under autocast."""
    normed = {name: getattr(functional, name) for name in ("layer_norm", "group_norm")}

    def in_float32(name: str, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        told: Tensor = normed[name](tensor.float(), *args, **kwargs)
        return told

    replaced: dict[str, Any] = {name: partial(in_float32, name) for name in normed}
    replaced["scaled_dot_product_attention"] = _Fused.apply
    with mock.patch.multiple(functional, **replaced):
        yield


@final
class _Fused(torch.autograd.Function):
    """Attention as far as memory goes: inputs, output and one number per query are kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, attended, query[..., 0].float())
        return attended

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(saved) for saved in ctx.saved_tensors[:3])


def memory_of(study: Settings, network: str) -> Memory:
    """Return what a step of the `autoencoder` or the `diffusion` needs."""
    of = study.autoencoder if network == "autoencoder" else study.diffusion
    knobs = study.compute
    limit = knobs.autoencoder_at_once if network == "autoencoder" else knobs.diffusion_at_once
    at_once = min(limit or of.batch_size, of.batch_size)
    num_parts = math.ceil(of.batch_size / at_once)
    with torch.device("meta"):
        model, loss_of = (_autoencoder if network == "autoencoder" else _flow)(study, at_once)
    with FakeTensorMode(), as_on_gpu():
        _make_fake(model)
        weights = list(model.parameters())
        trained = [weight for weight in weights if weight.requires_grad]
        matrices = model.network.matrices() if isinstance(model, Denoiser) else []
        tracker = MemTracker()
        tracker.track_external(model)
        with tracker:
            # From the second part on, gradients are there while the way forward is taken.
            for _ in range(min(num_parts, 2)):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = loss_of("cpu")
                loss.backward()
                del loss
                tracker.reset_mod_stats()
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    num_trained, num_matrix = (sum(w.numel() for w in part) for part in (trained, matrices))
    num_weights = sum(weight.numel() for weight in weights)
    return Memory(
        num_weights=num_weights,
        at_once=at_once,
        optimizer=4 * (2 * (num_trained - num_matrix) + num_matrix),
        copies=4 * num_weights * COPIES_OF_THE_FLOW * (network == "diffusion"),
        rest=peak,
        measured=_measured(study, network, at_once, num_parts)
        if torch.cuda.is_available()
        else None,
    )


def _make_fake(model: nn.Module) -> None:
    """Put weights without numbers, but with a place in memory, into a model of the meta device."""
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            fake = torch.empty(weight.shape)
            if weight.requires_grad:
                setattr(module, name, nn.Parameter(fake))
            else:  # MemTracker waits for every parameter's gradient.
                delattr(module, name)
                module.register_buffer(name, fake)
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


def _measured(study: Settings, network: str, at_once: int, num_parts: int) -> int:
    """Take two steps on the GPU, and return the most that its allocator held."""
    with torch.device("cuda"):
        model, loss_of = (_autoencoder if network == "autoencoder" else _flow)(study, at_once)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = model.network.matrices() if isinstance(model, Denoiser) else []
    optimizers = optimizers_of(trained, matrices, 1e-6, 0.0, (0.9, 0.999))
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        for _ in range(num_parts):
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = loss_of("cuda")
            loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return torch.cuda.max_memory_allocated()


def _autoencoder(study: Settings, at_once: int) -> tuple[Autoencoder, Callable[[str], Tensor]]:
    channels = len(study.cohort.sequences) + study.cohort.has_mask
    model = Autoencoder(study.autoencoder, num_channels=channels, dims=len(study.grid.shape))

    def loss_of(device: str) -> Tensor:
        images = torch.rand((at_once, channels, *study.grid.shape), device=device)
        presence = torch.ones((at_once, channels), dtype=torch.bool, device=device)
        mean, std = model.encode(images, presence)
        decoded = model.decode(mean + std * torch.randn_like(mean))
        kl = (mean.float().square() + std.float().square() - 2 * std.float().log()).mean()
        loss = reconstruction_error(decoded.float(), images, presence) + 1e-6 * kl
        if study.autoencoder.perceptual is not None:
            loss = loss + texture_error(decoded.float(), images, presence)
        return loss

    return model, loss_of


def _flow(study: Settings, at_once: int) -> tuple[Denoiser, Callable[[str], Tensor]]:
    channels = len(study.cohort.sequences) + study.cohort.has_mask
    halvings = 2 ** (len(study.autoencoder.channels) - 1)
    grid = [
        size // (patch * halvings)
        for size, patch in zip(study.grid.shape, study.autoencoder.patch, strict=True)
    ]
    shape = (study.autoencoder.latent_channels, *grid)
    model = Denoiser(
        study.diffusion.for_scans(sys.maxsize),
        latent_shape=shape,
        num_classes=len(study.classes),
        num_channels=channels,
    )
    model.network.recomputes = study.compute.recompute_blocks

    def loss_of(device: str) -> Tensor:
        noisy, velocity = torch.randn((2, at_once, *shape), device=device)
        labels = torch.zeros(at_once, dtype=torch.long, device=device)
        presence = torch.ones((at_once, channels), dtype=torch.bool, device=device)
        predicted = model(noisy, torch.rand(at_once, device=device), Conditions(labels, presence))
        error: Tensor = (predicted.float() - velocity).square().mean()
        return error

    return model, loss_of


def main() -> None:
    """Print a table, and whether each network fits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=Path("studies/glioma-3d.yaml"))
    parser.add_argument("--gib", type=float, default=40.0, help="memory of the card")
    told = parser.parse_args()
    study = load_settings(told.study)
    print(
        "| | weights (million) | samples at once | optimizer (GiB) | copies | rest | total |"
        f" measured | fits {told.gib:g} GiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for network in ("autoencoder", "diffusion"):
        found = memory_of(study, network)
        parts = [found.optimizer, found.copies, found.rest, found.total]
        shown = " | ".join(f"{part / GIB:.1f}" for part in parts)
        measured = "" if found.measured is None else f"{found.measured / GIB:.1f}"
        fits = "yes" if found.total / GIB + HEADROOM_GIB <= told.gib else "no"
        print(
            f"| {network} | {found.num_weights / 1e6:.1f} | {found.at_once} | {shown} | {measured}"
            f" | {fits} |"
        )


if __name__ == "__main__":
    main()
