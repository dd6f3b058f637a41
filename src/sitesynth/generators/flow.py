"""Rectified flow: straight paths from noise to data (Liu et al., 2023; Lipman et al., 2023).

At time t in [0, 1] a latent lies on the line between data x and noise e,

    x_t = (1 - t) x + t e,        dx_t / dt = e - x =: v.

A network learns the velocity v from (x_t, t); sampling starts at t = 1 with noise and follows the
learned velocity back to t = 0. A `Velocity` is all that the two halves share, so that a sampler can
be tested on a velocity in closed form.

Axes: n = samples, then anything.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


__all__ = [
    "Velocity",
    "draw_times",
    "guided",
    "integrate",
    "interpolate",
    "precondition",
    "time_grid",
]


@runtime_checkable
class Velocity(Protocol):
    """The direction in which x_t moves with time."""

    def __call__(self, x: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return dx/dt of each sample at its own time."""
        ...


def interpolate(
    data: Float[Tensor, "n ..."], noise: Float[Tensor, "n ..."], t: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n ..."]]:
    """Return x_t and the velocity that the network has to learn there."""
    shaped = t.reshape(-1, *([1] * (data.ndim - 1)))
    return (1 - shaped) * data + shaped * noise, noise - data


def precondition(
    t: Float[Tensor, " n"], spread: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n ..."]]:
    """Return what turns a network F into a velocity that is right for Gaussian data from the start.

    If the data were N(mu, s^2), number by number, the best velocity would be linear in x_t. With
    m = (1 - t)^2 s^2 + t^2, the variance of x_t,

        E[v | x_t] = c_skip (x_t - (1 - t) mu) - mu,     c_skip = (t - (1 - t) s^2) / m,
        Var[v | x_t] = s^2 / m =: c_out^2.

    So v = E[v | x_t] + c_out F leaves the network a target of unit variance: what is not Gaussian
    (Karras et al., 2022, Section 5, for rectified flow and with a spread per number).

    Args:
        t: Times in [0, 1].
        spread: Standard deviation of each number of a sample, above 0.

    Returns:
        c_skip and c_out of each sample and number.
    """
    time = t.reshape(-1, *([1] * spread.ndim))
    variance = spread[None].square()
    total = (1 - time).square() * variance + time.square()
    return (time - (1 - time) * variance) / total, (variance / total).sqrt()


def draw_times(count: int, *, rng: torch.Generator) -> Float[Tensor, " n"]:
    """Draw training times from the logit-normal, which favours the middle of the path.

    Esser et al. (2024, Section 3.1) find it better than uniform times.
    """
    return torch.randn(count, generator=rng).sigmoid()


def time_grid(num_steps: int) -> list[float]:
    """Return num_steps + 1 times from exactly 1 to exactly 0, equally spaced."""
    return [1 - step / num_steps for step in range(num_steps + 1)]


def integrate(
    velocity: Velocity, noise: Float[Tensor, "n ..."], *, times: Sequence[float]
) -> Float[Tensor, "n ..."]:
    """Follow a velocity from noise to data, by Heun's method.

    The last step is Euler's: the velocity at t = 0 is never trained on noise-free input.

    Args:
        velocity: The field to follow.
        noise: Samples at time `times[0]`.
        times: Decreasing times, from 1 to 0.
    """
    x = noise
    for now, then in pairwise(times):
        step = then - now
        slope = velocity(x, torch.full((len(x),), now, device=x.device))
        ahead = x + step * slope
        if then > 0:
            slope_ahead = velocity(ahead, torch.full((len(x),), then, device=x.device))
            ahead = x + step * (slope + slope_ahead) / 2
        x = ahead
    return x


def guided(
    conditional: Float[Tensor, "n ..."], unconditional: Float[Tensor, "n ..."], *, scale: float
) -> Float[Tensor, "n ..."]:
    """Combine two velocities (Ho and Salimans, 2022): 0 ignores the condition, 1 obeys it."""
    return unconditional + scale * (conditional - unconditional)
