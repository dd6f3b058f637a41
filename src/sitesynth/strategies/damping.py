"""What a site does to its update before it leaves: shorten it, and hide it in noise.

A site's change of the weights is scaled down to a norm of at most C, and each of its numbers gets
Gaussian noise of standard deviation z C, as in DP-FedAvg (McMahan et al., 2018). No epsilon is
claimed: running statistics leave as they are, a site is not sampled from many, and one of three
sites' noise is not the sum of thousands. It measures what such damping would cost.
"""

from collections.abc import Collection

import torch
from torch import Tensor

from sitesynth.strategies.answers import change_of
from sitesynth.strategies.averaging import Weights


__all__ = ["damp"]


def damp(
    there: Weights,
    here: Weights,
    *,
    trained: Collection[str],
    clip_norm: float,
    noise_multiplier: float,
    rng: torch.Generator,
) -> dict[str, Tensor]:
    """Return a site's weights with its change clipped and noised.

    Args:
        there: Where the site's training ended.
        here: What the hub has sent.
        trained: Names of the weights that have gradients; others are left as they are.
        clip_norm: C above.
        noise_multiplier: z above; 0 for none.
        rng: Source of the noise.
    """
    norm = change_of(there, here, trained)
    if norm <= clip_norm and noise_multiplier == 0:
        return dict(there)
    scale = min(1.0, clip_norm / norm) if norm > 0 else 1.0
    damped = dict(there)
    for name in sorted(trained):
        change = scale * (there[name].double() - here[name].double())
        noise = torch.randn(change.shape, generator=rng, dtype=torch.float64)
        moved = here[name].double() + change + noise_multiplier * clip_norm * noise
        damped[name] = moved.to(there[name].dtype)
    return damped
