"""For which grids torch computes wrong bfloat16 gradients of 3 x 3 x 3 convolutions on this CPU.

Compares the weight gradient under bfloat16 autocast with that in float32; rounding explains a
relative difference below one percent. Freed memory is filled with NaN first, so that a gradient
which is left unwritten shows. With torch 2.13 on a CPU that has AVX512-BF16, every 3D grid whose
first axis has two places is wrong, and no other. Reason for `training.ExactThinConvolutions`.

    python -m benchmarks.bfloat16_gradients

Half a minute.
"""

import itertools
import sys
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from sitesynth import seeds


__all__ = ["main", "relative_error"]

CHANNELS: Final = 16
REPEATS: Final = 6
ROUNDING: Final = 0.03


def relative_error(grid: Sequence[int]) -> float:
    """Return the worst relative difference between the two gradients; infinite if one is NaN."""
    convolution_type = {2: nn.Conv2d, 3: nn.Conv3d}[len(grid)]
    rng = seeds.generator(0, "bfloat16", *grid)
    with seeds.isolated(rng):
        convolution = convolution_type(CHANNELS, CHANNELS, 3, padding=1, bias=False)
    images = torch.randn(8, CHANNELS, *grid, generator=rng)

    def gradient(*, enabled: bool) -> torch.Tensor:
        convolution.zero_grad(set_to_none=True)
        _fill_freed_memory()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            said = convolution(images)
        slope = torch.linspace(0, 1, said.numel()).reshape(said.shape)
        (said.float() * slope).sum().backward()
        return convolution.get_parameter("weight").grad.clone()  # type: ignore[union-attr]

    exact = gradient(enabled=False)
    errors = [float((gradient(enabled=True) - exact).norm() / exact.norm()) for _ in range(REPEATS)]
    return max(error if error == error else float("inf") for error in errors)  # noqa: PLR0124


def _fill_freed_memory() -> None:
    for size in (64, 256, 1024, 4096, 6912, 13824, 27648):
        torch.full((size,), float("nan"))


def main() -> None:
    """Print the grids whose gradient is wrong."""
    for dims in (2, 3):
        grids = list(itertools.product((1, 2, 3, 4, 5), repeat=dims))
        wrong = [grid for grid in grids if relative_error(grid) > ROUNDING]
        sys.stdout.write(f"{dims}D: {len(wrong)} of {len(grids)} grids are wrong: {wrong}\n")


if __name__ == "__main__":
    main()
