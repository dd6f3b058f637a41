"""Samplers: from noise at time 1 back to data at time 0.

A `Velocity` is all that a sampler knows of a network, so that samplers can be tested on velocities
in closed form. What it returns is the v of `generators.schedules`, at unit speed. No sampler draws
anything: a sample is a function of its starting noise.

| sampler | calls of the network in k steps | order |
|---|---|---|
| euler | k | 1 |
| ddim (Song et al., 2021) | k | 1; on the straight schedule it is Euler's method |
| heun | 2 k - 1 | 2, its last step 1 |
| multistep (Adams and Bashforth's method of two steps) | k | 2, its first and last step 1 |

The last step is Euler's or DDIM's in all of them: a network is never trained on data without noise.

Axes: n = samples, then anything.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth.generators.schedules import Schedule


__all__ = [
    "Sampler",
    "SamplerName",
    "Velocity",
    "ddim",
    "euler",
    "guided",
    "heun",
    "multistep",
    "sampler_named",
    "time_grid",
]

SamplerName = Literal["euler", "heun", "multistep", "ddim"]


@runtime_checkable
class Velocity(Protocol):
    """The direction in which x_t moves with time."""

    def __call__(self, x: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return v of each sample at its own time."""
        ...


Sampler = Callable[[Schedule, Velocity, Float[Tensor, "n ..."], Sequence[float]], Tensor]
"""Given a schedule, a velocity, samples at the first of decreasing times, and those times, returns
the samples at the last of them."""


def time_grid(num_steps: int) -> list[float]:
    """Return num_steps + 1 times from exactly 1 to exactly 0, equally spaced."""
    return [1 - step / num_steps for step in range(num_steps + 1)]


def sampler_named(name: SamplerName) -> Sampler:
    """Return the sampler of a name."""
    match name:
        case "euler":
            return euler
        case "heun":
            return heun
        case "multistep":
            return multistep
        case "ddim":
            return ddim


def euler(
    schedule: Schedule, velocity: Velocity, noise: Float[Tensor, "n ..."], times: Sequence[float]
) -> Float[Tensor, "n ..."]:
    """Step along the velocity."""
    x = noise
    for now, then in pairwise(times):
        x = x + schedule.speed * (then - now) * velocity(x, _at(now, x))
    return x


def ddim(
    schedule: Schedule, velocity: Velocity, noise: Float[Tensor, "n ..."], times: Sequence[float]
) -> Float[Tensor, "n ..."]:
    """Guess data and noise, and mix them anew for the next time."""
    x = noise
    for now, then in pairwise(times):
        data, rest = schedule.split(x, velocity(x, _at(now, x)), _at(now, x))
        x, _ = schedule.mix(data, rest, _at(then, x))
    return x


def heun(
    schedule: Schedule, velocity: Velocity, noise: Float[Tensor, "n ..."], times: Sequence[float]
) -> Float[Tensor, "n ..."]:
    """Step along the mean of the velocity here and the one that a step of Euler's would meet."""
    x = noise
    for now, then in pairwise(times):
        step = schedule.speed * (then - now)
        slope = velocity(x, _at(now, x))
        ahead = x + step * slope
        if then > 0:
            slope_ahead = velocity(ahead, _at(then, x))
            ahead = x + step * (slope + slope_ahead) / 2
        x = ahead
    return x


def multistep(
    schedule: Schedule, velocity: Velocity, noise: Float[Tensor, "n ..."], times: Sequence[float]
) -> Float[Tensor, "n ..."]:
    """Step along the velocity in the middle of the step, as the last two calls foretell it."""
    x, before, previous = noise, None, 0.0
    for now, then in pairwise(times):
        step = then - now
        slope = velocity(x, _at(now, x))
        foretold = slope
        if before is not None and then > 0:
            foretold = slope + step / (2 * previous) * (slope - before)
        x = x + schedule.speed * step * foretold
        before, previous = slope, step
    return x


def guided(
    conditional: Float[Tensor, "n ..."], unconditional: Float[Tensor, "n ..."], *, scale: float
) -> Float[Tensor, "n ..."]:
    """Combine two velocities (Ho and Salimans, 2022): 0 ignores the condition, 1 obeys it."""
    return unconditional + scale * (conditional - unconditional)


def _at(time: float, x: Tensor) -> Float[Tensor, " n"]:
    return torch.full((len(x),), time, device=x.device)
