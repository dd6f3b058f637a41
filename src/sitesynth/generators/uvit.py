"""A transformer between convolutions: the first sees the whole head, the second every detail.

The shape of the U-ViT of Hoogeboom et al. (2023, "simple diffusion", Section 3.4), with one level
of convolutions. Residual blocks at every place of the latent grid, then the transformer over
patches of what they found, whose answer is added to it, and residual blocks again. Convolutions do
alike everywhere, so they learn what tissue looks like from every place of every scan, and patches
of the transformer leave no edges behind.

Time and conditions scale and shift each normalized feature map (Dhariwal and Nichol, 2021), by the
transformer's own vector of them.

Axes: n = samples, c = feature maps, w = width of the transformer, k = latent channels, h = those
and the hints', then the latent grid.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sitesynth.generators.transformer import Transformer, in_turn, zeroed


__all__ = ["UViT"]

KERNEL = 3
NORM_GROUPS = 8


@final
class UViT(nn.Module):
    """Maps noisy latents, their time and their conditions to one number per latent."""

    def __init__(
        self,
        latent_shape: Sequence[int],
        build: Callable[[Sequence[int]], Transformer],
        *,
        feature_maps: int,
        num_blocks: int,
        num_hints: int = 0,
    ) -> None:
        """Build it.

        Args:
            latent_shape: Latent channels, then the latent grid.
            build: Builds the transformer for features: their number, then the latent grid.
            feature_maps: Of each convolution; a multiple of `NORM_GROUPS`.
            num_blocks: Residual blocks before the transformer, and as many after it.
            num_hints: Sets of latents that are shown beside the noisy ones.
        """
        super().__init__()
        channels, *grid = latent_shape
        dims = len(grid)
        self.transformer = build((feature_maps, *grid))
        width = self.transformer.width
        self.first = _Convolution((1 + num_hints) * channels, feature_maps, dims)
        self.before, self.after = (
            nn.ModuleList([_Residual(feature_maps, width, dims) for _ in range(num_blocks)])
            for _ in range(2)
        )
        self.modulate = zeroed(nn.Linear(width, 2 * feature_maps))
        self.last = zeroed(_Convolution(feature_maps, channels, dims))

    @property
    def recomputes(self) -> bool:
        """As the transformer's: whether blocks are computed again on the way back."""
        return self.transformer.recomputes

    @recomputes.setter
    def recomputes(self, value: bool) -> None:
        self.transformer.recomputes = value

    def compile_blocks(self) -> None:
        """Let torch write code for the transformer's blocks."""
        self.transformer.compile_blocks()

    def matrices(self) -> list[nn.Parameter]:
        """Return the weights that map features to features: those that Muon is made for."""
        inner = [
            block.get_parameter(f"{layer}.weight")
            for block in (*self.before, *self.after)
            for layer in ("first", "second")
        ]
        return [*self.transformer.matrices(), *inner]

    def forward(self, latents: Float[Tensor, "n h ..."], *told: Any) -> Float[Tensor, "n k ..."]:
        """Return one number per latent; all zero before training.

        Args:
            latents: Noisy latents, and the hints as further channels.
            told: Time and conditions, as `Transformer.condition` takes them.
        """
        condition = self.transformer.condition(*told)
        again = self.recomputes
        features = in_turn(self.before, self.first(latents), condition, recomputes=again)
        features = features + self.transformer.through(features, condition)
        features = in_turn(self.after, features, condition, recomputes=again)
        scale, shift = _spread(self.modulate(condition), features).chunk(2, dim=1)
        said: Tensor = self.last(_activate(features, scale, shift))
        return said


@final
class _Convolution(nn.Module):
    """A convolution over 3 places per axis, whose weight is a matrix, as Muon wants it."""

    def __init__(self, num_in: int, num_out: int, dims: int) -> None:
        super().__init__()
        numbers = num_in * KERNEL**dims
        self.kernel = (num_out, num_in, *([KERNEL] * dims))
        self.weight = nn.Parameter(torch.randn(num_out, numbers) / math.sqrt(numbers))
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, features: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c2 ..."]:
        convolve = {4: functional.conv2d, 5: functional.conv3d}[features.ndim]
        return convolve(features, self.weight.view(self.kernel), self.bias, padding=KERNEL // 2)


@final
class _Residual(nn.Module):
    """Two convolutions beside the identity, which it starts as."""

    def __init__(self, feature_maps: int, width: int, dims: int) -> None:
        super().__init__()
        self.first = _Convolution(feature_maps, feature_maps, dims)
        self.second = zeroed(_Convolution(feature_maps, feature_maps, dims))
        self.modulate = zeroed(nn.Linear(width, 4 * feature_maps))

    def forward(
        self, features: Float[Tensor, "n c ..."], condition: Float[Tensor, "n w"]
    ) -> Float[Tensor, "n c ..."]:
        told = _spread(self.modulate(condition), features)
        scale, shift, scale_2, shift_2 = told.chunk(4, dim=1)
        hidden = self.first(_activate(features, scale, shift))
        changed: Tensor = self.second(_activate(hidden, scale_2, shift_2))
        return features + changed


def _spread(told: Float[Tensor, "n c"], features: Tensor) -> Tensor:
    """Let what is told of a sample hold at every place."""
    return told.reshape(*told.shape, *([1] * (features.ndim - 2)))


def _activate(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normal = functional.group_norm(features, NORM_GROUPS)
    return functional.silu(torch.addcmul(shift, normal, 1 + scale))
