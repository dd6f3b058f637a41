"""Schedules: how data becomes noise, and what a network has to predict on the way.

A schedule mixes data x and noise e by time t, from 0 (data) to 1 (noise), exactly so at both ends:

    x_t = a(t) x + b(t) e,        a(0) = b(1) = 1,    a(1) = b(0) = 0.

The network predicts v = (a'(t) x + b'(t) e) / speed, the direction of x_t with time at unit speed.

- straight (rectified flow; Liu et al., 2023; Lipman et al., 2023): a = 1 - t, b = t, so v = e - x.
- cosine (the variance-preserving diffusion of DDPM with the cosine schedule of Nichol and Dhariwal,
  2021, and the v-prediction of Salimans and Ho, 2022): a = cos(pi t / 2), b = sin(pi t / 2), so
  v = a e - b x.

On both, a b' - a' b is the speed at every time, which is what makes x, e and v easy to get from one
another: that is all that a sampler needs to know of a schedule.

Axes: n = samples, then anything.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor


__all__ = [
    "CosineSchedule",
    "Schedule",
    "ScheduleName",
    "StraightSchedule",
    "precondition",
    "schedule_named",
]

ScheduleName = Literal["straight", "cosine"]


class Schedule(ABC):
    """How data becomes noise; `slopes` are the derivatives of `weights`, at unit speed."""

    speed: float
    """Length of the path: dx_t / dt = speed * v."""

    @abstractmethod
    def weights(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return a(t) and b(t)."""

    @abstractmethod
    def slopes(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return a'(t) / speed and b'(t) / speed."""

    @abstractmethod
    def draw_times(self, count: int, *, rng: torch.Generator) -> Float[Tensor, " n"]:
        """Draw training times."""

    def mix(
        self, data: Float[Tensor, "n ..."], noise: Float[Tensor, "n ..."], t: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n ..."]]:
        """Return x_t and the v that the network has to predict there."""
        time = _like(t, data)
        (a, b), (da, db) = self.weights(time), self.slopes(time)
        return a * data + b * noise, da * data + db * noise

    def split(
        self,
        mixed: Float[Tensor, "n ..."],
        predicted: Float[Tensor, "n ..."],
        t: Float[Tensor, " n"],
    ) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n ..."]]:
        """Return the data and the noise that x_t and v tell of: `mix` undone."""
        time = _like(t, mixed)
        (a, b), (da, db) = self.weights(time), self.slopes(time)
        return db * mixed - b * predicted, a * predicted - da * mixed


@final
class StraightSchedule(Schedule):
    """Rectified flow."""

    speed = 1.0

    def weights(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return 1 - t and t."""
        return 1 - t, t

    def slopes(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return -1 and 1."""
        return -torch.ones_like(t), torch.ones_like(t)

    def draw_times(self, count: int, *, rng: torch.Generator) -> Float[Tensor, " n"]:
        """Draw from the logit-normal, which favours the middle of the path.

        Esser et al. (2024, Section 3.1) find it better than uniform times.
        """
        return torch.randn(count, generator=rng).sigmoid()


@final
class CosineSchedule(Schedule):
    """Variance-preserving diffusion: a quarter of a circle from data to noise."""

    speed = math.pi / 2

    def weights(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return the cosine and the sine; both as a sine, which is 0 where it has to be."""
        return (math.pi / 2 * (1 - t)).sin(), (math.pi / 2 * t).sin()

    def slopes(self, t: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return minus the sine, and the cosine."""
        a, b = self.weights(t)
        return -b, a

    def draw_times(self, count: int, *, rng: torch.Generator) -> Float[Tensor, " n"]:
        """Draw from the uniform distribution, as DDPM does."""
        return torch.rand(count, generator=rng)


def schedule_named(name: ScheduleName) -> Schedule:
    """Return the schedule of a name."""
    match name:
        case "straight":
            return StraightSchedule()
        case "cosine":
            return CosineSchedule()


def precondition(
    schedule: Schedule, t: Float[Tensor, " n"], spread: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n ..."]]:
    """Return what turns a network F into a v that is right for Gaussian data from the start.

    If the data were N(mu, s^2), number by number, the best v would be linear in x_t. With slopes
    a' and b' at unit speed, and m = a^2 s^2 + b^2, the variance of x_t,

        E[v | x_t] = c_skip (x_t - a mu) + a' mu,     c_skip = (a a' s^2 + b b') / m,
        Var[v | x_t] = s^2 (a b' - a' b)^2 / m = s^2 / m =: c_out^2.

    So v = E[v | x_t] + c_out F leaves the network a target of unit variance: what is not Gaussian
    (Karras et al., 2022, Section 5, on any schedule and with a spread per number).

    Args:
        schedule: From data to noise.
        t: Times in [0, 1].
        spread: Standard deviation of each number of a sample, above 0.

    Returns:
        c_skip and c_out of each sample and number.
    """
    time = t.reshape(-1, *([1] * spread.ndim))
    (a, b), (da, db) = schedule.weights(time), schedule.slopes(time)
    variance = spread[None].square()
    total = a.square() * variance + b.square()
    return (b * db + a * da * variance) / total, (variance / total).sqrt()


def _like(t: Float[Tensor, " n"], samples: Float[Tensor, "n ..."]) -> Tensor:
    return t.reshape(-1, *([1] * (samples.ndim - 1)))
