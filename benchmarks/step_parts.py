"""What parts of a training step take, beside what could have been in their place (ADR 73).

On numbers drawn at random, in the sizes of params.yaml's study, one thread. Milliseconds of
processor time; each pair alternates, so that a busy machine hits both.

    python -m benchmarks.step_parts

Half a minute.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from sitesynth import seeds
from sitesynth.classifiers.training import NOTHING, draw_noise
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.transformer import attend
from sitesynth.settings import Settings, load_settings
from sitesynth.training import autocast


__all__ = ["main"]

ROUNDS: Final = 5
REPEATS: Final = 12
TOKENS: Final = 144
HEADS: Final = 2
HEAD_WIDTH: Final = 64

Part = Callable[[], Any]
CPU: Final = torch.device("cpu")


def milliseconds(part: Part) -> float:
    """Return the processor time of one call."""
    part()
    started = time.process_time()
    for _ in range(REPEATS):
        part()
    return (time.process_time() - started) / REPEATS * 1e3


def there_and_back(change: Callable[..., Tensor], *inputs: Tensor) -> Part:
    """Return what calls a function and goes back through it."""

    def step() -> None:
        said = change(*inputs)
        torch.autograd.grad(said, inputs, torch.ones_like(said))

    return step


def attend_by(kernel: SDPBackend) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return attention by one of torch's kernels."""

    def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(kernel):
            return functional.scaled_dot_product_attention(query, key, value)

    return attended


def without_gradients(attended: Callable[..., Tensor], *inputs: Tensor) -> Part:
    """Return what calls a function as sampling does."""

    def step() -> None:
        with torch.no_grad():
            attended(*inputs)

    return step


def parts_of(study: Settings) -> dict[str, tuple[Part, Part]]:
    """Return each part by name: as it is done, and otherwise."""
    rng = seeds.generator(0, "step parts")
    sequences = len(study.cohort.sequences)
    scans = torch.rand((study.classifier.batch_size, sequences, *study.grid.shape), generator=rng)
    power = 0.7 + torch.rand((len(scans), sequences, *[1] * (scans.ndim - 2)), generator=rng)

    batch = study.diffusion.batch_size
    shape = (batch, HEADS, TOKENS, HEAD_WIDTH)
    exact = [torch.randn(shape, generator=rng) for _ in range(3)]
    rounded = [each.bfloat16().requires_grad_() for each in exact]
    hidden = torch.randn((batch, TOKENS, 4 * HEADS * HEAD_WIDTH), generator=rng)
    hidden = hidden.bfloat16().requires_grad_()

    channels = sequences + study.cohort.has_mask
    with seeds.isolated(rng):
        encoder = Autoencoder(
            study.autoencoder, num_channels=channels, dims=len(study.grid.shape)
        ).eval()
    views = torch.rand((batch, channels, *study.grid.shape), generator=rng)

    def encode_in(precision: Callable[[], AbstractContextManager[None]]) -> Part:
        def step() -> None:
            with torch.no_grad(), precision():
                encoder.encode(views, torch.ones(len(views), channels, dtype=torch.bool))

        return step

    return {
        "noise of bytes, or normal": (
            lambda: draw_noise(scans.shape, rng=rng),
            lambda: torch.randn(scans.shape, generator=rng),
        ),
        "a power by its logarithm, or by pow": (
            lambda: scans.clone().clamp_min_(NOTHING).log_().mul_(power).exp_(),
            lambda: scans.clone().pow_(power),
        ),
        "GELU, or its approximation": (
            there_and_back(functional.gelu, hidden),
            there_and_back(lambda x: functional.gelu(x, approximate="tanh"), hidden),
        ),
        "attention in training, or torch's plain one": (
            there_and_back(attend, *rounded),
            there_and_back(attend_by(SDPBackend.MATH), *rounded),
        ),
        "attention in training, or torch's fused one": (
            there_and_back(attend, *rounded),
            there_and_back(attend_by(SDPBackend.FLASH_ATTENTION), *rounded),
        ),
        "attention in sampling, or torch's plain one": (
            without_gradients(attend, *exact),
            without_gradients(attend_by(SDPBackend.MATH), *exact),
        ),
        "scans encoded under autocast, or in float32": (
            encode_in(lambda: autocast(CPU)),
            encode_in(nullcontext),
        ),
    }


def main() -> None:
    """Print a row per part."""
    torch.set_num_threads(1)
    sys.stdout.write("| part | as it is, ms | otherwise, ms | ratio |\n|---|---|---|---|\n")
    for name, (ours, other) in parts_of(load_settings(Path("params.yaml"))).items():
        rounds = [(milliseconds(ours), milliseconds(other)) for _ in range(ROUNDS)]
        mine, theirs = (min(each) for each in zip(*rounds, strict=True))
        sys.stdout.write(f"| {name} | {mine:.2f} | {theirs:.2f} | {theirs / mine:.1f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
