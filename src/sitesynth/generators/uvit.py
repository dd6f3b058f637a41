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
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sitesynth.generators.transformer import Transformer, zeroed


__all__ = ["UViT"]

KERNEL = 3
NORM_GROUPS = 8


@final
class UViT(nn.Module):
    """Maps noisy latents, their time and their conditions to one number per latent."""

    def __init__(
        self,
        latent_shape: Sequence[int],
        *,
        feature_maps: int,
        num_blocks: int,
        patch: Sequence[int],
        width: int,
        depth: int,
        num_classes: int,
        num_channels: int,
        num_hints: int = 0,
        covariates: Sequence[int] = (),
    ) -> None:
        """Build it.

        Args:
            latent_shape: Latent channels, then the latent grid.
            feature_maps: Of each convolution; a multiple of `NORM_GROUPS`.
            num_blocks: Residual blocks before the transformer, and as many after it.
            patch: Places per axis that make up a token of the transformer.
            width: Numbers per token.
            depth: Blocks of the transformer.
            num_classes: Classes of the label.
            num_channels: Channels of a scan.
            num_hints: Sets of latents that it is shown beside the noisy ones.
            covariates: How many categories each has, 0 for a number.
        """
        super().__init__()
        channels, *grid = latent_shape
        dims = len(grid)
        self.transformer = Transformer(
            (feature_maps, *grid),
            patch=patch,
            width=width,
            depth=depth,
            num_classes=num_classes,
            num_channels=num_channels,
            covariates=covariates,
        )
        self.first = _Convolution((1 + num_hints) * channels, feature_maps, dims)
        self.before, self.after = (
            nn.ModuleList([_Residual(feature_maps, width, dims) for _ in range(num_blocks)])
            for _ in range(2)
        )
        self.modulate = zeroed(nn.Linear(width, 2 * feature_maps))
        self.last = zeroed(_Convolution(feature_maps, channels, dims))
        self.recomputes = False
        """As the transformer's: whether blocks are computed again on the way back."""

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

    def forward(
        self,
        latents: Float[Tensor, "n h ..."],
        t: Float[Tensor, " n"],
        labels: Int[Tensor, " n"],
        presence: Bool[Tensor, "n c"],
        covariates: Float[Tensor, "n v"] | None = None,
    ) -> Float[Tensor, "n k ..."]:
        """Return one number per latent; all zero before training.

        Args:
            latents: Noisy latents, and the hints as further channels.
            t: Their times in [0, 1].
            labels: Class numbers; -1 is unknown.
            presence: Which channels each scan has.
            covariates: As `Covariates.encode` says them, NaN where unknown; None if all are.
        """
        self.transformer.recomputes = self.recomputes
        condition = self.transformer.condition(t, labels, presence, covariates)
        features = self._through(self.before, self.first(latents), condition)
        features = features + self.transformer.through(features, condition)
        features = self._through(self.after, features, condition)
        scale, shift = _spread(self.modulate(condition), features).chunk(2, dim=1)
        said: Tensor = self.last(_activate(features, scale, shift))
        return said

    def _through(self, blocks: nn.ModuleList, features: Tensor, condition: Tensor) -> Tensor:
        for block in blocks:
            if self.recomputes:
                features = checkpoint(
                    block, features, condition, use_reentrant=False, preserve_rng_state=False
                )
            else:
                features = block(features, condition)
        return features


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
