"""Spatial frequencies of latents, by the orthonormal cosine transform (DCT-II).

Orthonormal, so white noise stays white noise, and errors keep their size. The cosine transform, not
Fourier's, because latents do not repeat beyond the edge of their grid.

Axes: n = samples, k = latent channels, then the latent grid, or as many frequencies per axis; a
basis is square, of the size of its own axis.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


__all__ = ["cosine_basis", "from_frequencies", "to_frequencies"]


def cosine_basis(size: int) -> Float[Tensor, "size size"]:
    """Return the orthonormal DCT-II matrix: row f holds the cosine of frequency f."""
    place = torch.arange(size, dtype=torch.float64) + 0.5
    frequency = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi / size * frequency[:, None] * place[None])
    basis *= math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis.float()


def to_frequencies(
    latents: Float[Tensor, "n k ..."], bases: Sequence[Float[Tensor, "_ _"]]
) -> Float[Tensor, "n k ..."]:
    """Transform each axis of the grid; `bases` holds its cosine basis."""
    for axis, basis in enumerate(bases, start=2):
        latents = torch.tensordot(latents, basis, dims=([axis], [1])).movedim(-1, axis)
    return latents


def from_frequencies(
    frequencies: Float[Tensor, "n k ..."], bases: Sequence[Float[Tensor, "_ _"]]
) -> Float[Tensor, "n k ..."]:
    """Undo `to_frequencies`."""
    return to_frequencies(frequencies, [basis.T for basis in bases])
