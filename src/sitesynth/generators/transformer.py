"""A diffusion transformer: patches of latents as tokens, conditions as scales and shifts.

The architecture of Peebles and Xie (2023) with their adaLN-Zero: each block starts as the identity,
and time and conditions reach it as a scale, a shift and a gate. Places are learned, one vector per
token, since scans lie on one grid in one orientation.

On the latents of some fifty scans it learns many times faster than a convolutional U-Net of the
same cost (ADR 14): every token sees every other from the first block on, and tells where it is.

Axes: n = samples, l = tokens, w = width, k = latent channels, h = those and the hints', then the
latent grid.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from sitesynth.generators.patches import fold, unfold


__all__ = ["Transformer", "attend", "in_turn", "zeroed"]

Layer = TypeVar("Layer", bound=nn.Module)

HEAD_WIDTHS = (64, 32)
"""Numbers per head of attention: the first that divides the width. Half as many heads are a fifth
of a training step less, at the same loss."""

NUM_FREQUENCIES = 64
MAX_FREQUENCY = 50.0
INITIAL_STD = 0.02

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Attention that keeps no weights, in order of preference."""


@final
class Transformer(nn.Module):
    """Maps noisy latents, their time and their conditions to one number per latent."""

    frequencies: Tensor

    def __init__(
        self,
        latent_shape: Sequence[int],
        *,
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
            patch: Places per axis that make up a token.
            width: Numbers per token.
            depth: Blocks.
            num_classes: Classes of the label.
            num_channels: Channels of a scan.
            num_hints: Sets of latents that it is shown beside the noisy ones.
            covariates: How many categories each has, 0 for a number.
        """
        super().__init__()
        channels, *grid = latent_shape
        self.patch, self.width = tuple(patch), width
        self.tokens = tuple(size // p for size, p in zip(grid, patch, strict=True))
        numbers = channels * math.prod(patch)
        self.first = nn.Linear((1 + num_hints) * numbers, width)
        self.place = nn.Parameter(INITIAL_STD * torch.randn(1, math.prod(self.tokens), width))
        self.time = nn.Sequential(
            nn.Linear(2 * NUM_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.label = nn.Embedding(num_classes + 1, width)
        nn.init.normal_(self.label.weight, std=INITIAL_STD)
        self.missing = nn.Linear(num_channels, width, bias=False)
        self.blocks = nn.ModuleList([_Block(width) for _ in range(depth)])
        self.modulate = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, numbers))
        # Last, so that everything else starts as it does without them.
        self.covariates = nn.ModuleList([_Covariate(size, width) for size in covariates])
        self.recomputes = False
        """Whether blocks keep their input only, and are computed again on the way back."""
        exponents = torch.arange(NUM_FREQUENCIES) / NUM_FREQUENCIES
        self.register_buffer("frequencies", MAX_FREQUENCY**exponents, persistent=False)

    def compile_blocks(self) -> None:
        """Let torch write code for the blocks: one kernel serves all, so that it takes seconds."""
        for block in self.blocks:
            block.compile()

    def matrices(self) -> list[nn.Parameter]:
        """Return the weights that map patches or tokens to tokens: those that Muon is made for."""
        layers = ("queries_keys_values", "project", "widen", "narrow")
        within = [(block, f"{layer}.weight") for block in self.blocks for layer in layers]
        return [module.get_parameter(name) for module, name in [(self.first, "weight"), *within]]

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
        return self.through(latents, self.condition(t, labels, presence, covariates))

    def condition(
        self,
        t: Float[Tensor, " n"],
        labels: Int[Tensor, " n"],
        presence: Bool[Tensor, "n c"],
        covariates: Float[Tensor, "n v"] | None = None,
    ) -> Float[Tensor, "n w"]:
        """Return the one vector that says time and conditions to every block."""
        angles = t[:, None] * self.frequencies
        condition = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        # Row 0 is the unknown label.
        condition = condition + self.label(labels + 1) + self.missing((~presence).float())
        for number, embed in enumerate(self.covariates):
            value = torch.full_like(t, math.nan) if covariates is None else covariates[:, number]
            condition = condition + embed(value)
        return functional.silu(condition)

    def through(
        self, latents: Float[Tensor, "n h ..."], condition: Float[Tensor, "n w"]
    ) -> Float[Tensor, "n k ..."]:
        """Return what `forward` does, given the vector of `condition`."""
        tokens = self.first(fold(latents, self.patch).flatten(2).transpose(1, 2)) + self.place
        tokens = in_turn(self.blocks, tokens, condition, recomputes=self.recomputes)
        scale, shift = self.modulate(condition).unsqueeze(1).chunk(2, dim=-1)
        tokens = self.last(_normalize(tokens) * (1 + scale) + shift)
        folded: Tensor = tokens.transpose(1, 2).unflatten(2, self.tokens)
        return unfold(folded, self.patch)


@final
class _Covariate(nn.Module):
    """A vector for unknown, and one per category; a number moves along a curve.

    A curve and not a line: where both the young and the old differ from the others, a line had
    learned nothing when a curve had learned all (ADR 28).
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.is_number = size == 0
        self.rows = nn.Embedding(1 + max(size, 1), width)
        nn.init.normal_(self.rows.weight, std=INITIAL_STD)
        if self.is_number:
            self.curve = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, value: Float[Tensor, " n"]) -> Float[Tensor, "n w"]:
        is_known, shown = ~value.isnan(), value.nan_to_num()
        if self.is_number:
            moved = self.curve(shown[:, None]).where(is_known[:, None], 0.0)
            vector: Tensor = self.rows(is_known.long()) + moved
            return vector
        # Row 0 is unknown.
        return self.rows(torch.where(is_known, shown + 1, 0).long())  # type: ignore[no-any-return]


@final
class _Block(nn.Module):
    """Attention, then two layers at each token; both scaled, shifted and gated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // next(each for each in HEAD_WIDTHS if width % each == 0)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.modulate = zeroed(nn.Linear(width, 6 * width))

    def forward(
        self, tokens: Float[Tensor, "n l w"], condition: Float[Tensor, "n w"]
    ) -> Float[Tensor, "n l w"]:
        scale, shift, gate, scale_2, shift_2, gate_2 = (
            self.modulate(condition).unsqueeze(1).chunk(6, dim=-1)
        )
        seen = self.queries_keys_values(_normalize(tokens) * (1 + scale) + shift)
        # n l (3 heads width/heads) -> 3 n heads l width/heads
        query, key, value = seen.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = attend(query, key, value)
        tokens = tokens + gate * self.project(attended.transpose(1, 2).flatten(2))
        hidden = self.widen(_normalize(tokens) * (1 + scale_2) + shift_2)
        changed: Tensor = self.narrow(functional.gelu(hidden))
        result: Tensor = tokens + gate_2 * changed
        return result


def attend(
    query: Float[Tensor, "n h l w"], key: Float[Tensor, "n h l w"], value: Float[Tensor, "n h l w"]
) -> Float[Tensor, "n h l w"]:
    """Return each token's mean of values, by how well its query fits their keys.

    On a few hundred tokens, a CPU's fused backward pass takes a third of a whole training step, and
    torch's plain one of bfloat16, in float32 between, twice as long as this.
    """
    if query.is_cuda or not torch.is_grad_enabled():
        with sdpa_kernel(FUSED):
            return functional.scaled_dot_product_attention(query, key, value)
    weights = ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(dim=-1)
    attended: Tensor = weights @ value
    return attended


def _normalize(tokens: Float[Tensor, "n l w"]) -> Float[Tensor, "n l w"]:
    return functional.layer_norm(tokens, tokens.shape[-1:])


def in_turn(
    blocks: Iterable[nn.Module],
    features: Tensor,
    condition: Float[Tensor, "n w"],
    *,
    recomputes: bool,
) -> Tensor:
    """Pass features through blocks that are told a condition; see `Transformer.recomputes`."""
    for block in blocks:
        if recomputes:
            features = checkpoint(
                block, features, condition, use_reentrant=False, preserve_rng_state=False
            )
        else:
            features = block(features, condition)
    return features


def zeroed(layer: Layer) -> Layer:
    """Let a layer return nothing until it has learned."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
