"""Samplers: from noise at time 1 back to data at time 0.

A `Velocity` is all that a sampler knows of a network, so that samplers can be tested on velocities
in closed form. What it returns is the v of `generators.schedules`, at unit speed. No sampler draws
anything: a sample is a function of its noise, the starting one and, for `sde`, one a step.

| sampler | calls of the network in k steps | order |
|---|---|---|
| euler | k | 1 |
| ddim (Song et al., 2021) | k | 1; on the straight schedule it is Euler's method |
| heun | 2 k - 1 | 2, its last step 1 |
| multistep (Adams and Bashforth's method of two steps) | k | 2, its first and last step 1 |
| sde (SDE-DPM-Solver++(2M) of Lu et al., 2022, at eta 1) | k | 2, its first two and last step 1 |

The last step is Euler's or DDIM's in all of them: a network is never trained on data without noise.

Axes: n = samples, d = draws of noise, then anything.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, Protocol, assert_never, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth.generators.schedules import Schedule


__all__ = [
    "EtaAt",
    "Sampler",
    "SamplerName",
    "Velocity",
    "ddim",
    "euler",
    "follow",
    "guided",
    "heun",
    "multistep",
    "num_draws",
    "sde",
    "time_grid",
]

SamplerName = Literal["euler", "heun", "multistep", "ddim", "sde"]


@runtime_checkable
class Velocity(Protocol):
    """The direction in which x_t moves with time."""

    def __call__(self, x: Float[Tensor, "n ..."], t: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        """Return v of each sample at its own time."""
        ...


Sampler = Callable[[Schedule, Velocity, Float[Tensor, "n ..."], Sequence[float]], Tensor]
"""Given a schedule, a velocity, samples at the first of decreasing times, and those times, returns
the samples at the last of them."""

EtaAt = Callable[[float], float]
"""How much noise a step draws anew, by the time at which it begins."""


def time_grid(num_steps: int) -> list[float]:
    """Return num_steps + 1 times from exactly 1 to exactly 0, equally spaced."""
    return [1 - step / num_steps for step in range(num_steps + 1)]


def num_draws(name: SamplerName, *, num_steps: int) -> int:
    """Return how many draws of noise a sample takes: the last step of `sde` needs none."""
    return num_steps if name == "sde" else 1


def follow(
    name: SamplerName,
    schedule: Schedule,
    velocity: Velocity,
    noise: Float[Tensor, "n d ..."],
    times: Sequence[float],
    *,
    eta_at: EtaAt,
) -> Float[Tensor, "n ..."]:
    """Sample by the sampler of a name.

    Args:
        name: Which one.
        schedule: From data to noise.
        velocity: What the network says.
        noise: Samples at the first of the times, and as many fresh draws as `num_draws` says.
        times: Decreasing ones.
        eta_at: See `sde`; the others do not look at it.
    """
    match name:
        case "euler":
            sampler: Sampler = euler
        case "heun":
            sampler = heun
        case "multistep":
            sampler = multistep
        case "ddim":
            sampler = ddim
        case "sde":
            return sde(schedule, velocity, noise, times, eta_at=eta_at)
        case _:
            assert_never(name)
    return sampler(schedule, velocity, noise[:, 0], times)


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


def sde(
    schedule: Schedule,
    velocity: Velocity,
    noise: Float[Tensor, "n d ..."],
    times: Sequence[float],
    *,
    eta_at: EtaAt,
) -> Float[Tensor, "n ..."]:
    """Guess the data, and mix it anew with less of the guessed noise and some fresh one.

    With h the step in log(a / b), half the log of the signal-to-noise ratio, a share exp(-h) of the
    guessed noise is older than the step, if x_t is; eta^2 (1 - exp(-2 h)) of the variance is drawn
    anew, all of it at most. At eta 1 that is the reverse diffusion, at 0 DDIM. The guess of the
    data is that in the middle of the step, as the last two calls foretell it. Fresh noise takes the
    place of what the network has got wrong before, which a deterministic sampler carries along
    (Karras et al., 2022, Section 4).

    Args:
        schedule: From data to noise.
        velocity: What the network says.
        noise: The samples at the first of the times, then a fresh draw for each step but the last.
        times: Decreasing ones, down to 0.
        eta_at: How much is drawn anew by the step that begins at a time, at least 0.
    """
    x, *fresh = noise.unbind(1)
    guess = x
    before, previous = None, math.inf
    for step, (now, then) in enumerate(pairwise(times)):
        at_now = _at(now, x)
        guess, _ = schedule.split(x, velocity(x, at_now), at_now)
        if then == 0:
            break
        (a, b), (a_then, b_then) = _weights(schedule, now), _weights(schedule, then)
        # At time 1 there is no signal yet, and the step in log(a / b) has no end.
        length = math.inf if a == 0 else math.log(a_then / b_then) - math.log(a / b)
        data = guess
        if before is not None and math.isfinite(previous):
            data = guess + length / (2 * previous) * (guess - before)
        rest = (x - a * data) / b
        renewed = b_then * min(1.0, eta_at(now) * math.sqrt(-math.expm1(-2 * length)))
        kept = math.sqrt(b_then**2 - renewed**2)
        x = a_then * data + kept * rest + renewed * fresh[step]
        before, previous = guess, length
    return guess


def _weights(schedule: Schedule, time: float) -> tuple[float, float]:
    a, b = schedule.weights(torch.tensor(time, dtype=torch.float64))
    return float(a), float(b)


def guided(
    conditional: Float[Tensor, "n ..."], unconditional: Float[Tensor, "n ..."], *, scale: float
) -> Float[Tensor, "n ..."]:
    """Combine two velocities (Ho and Salimans, 2022): 0 ignores the condition, 1 obeys it."""
    return unconditional + scale * (conditional - unconditional)


def _at(time: float, x: Tensor) -> Float[Tensor, " n"]:
    return torch.full((len(x),), time, device=x.device)
