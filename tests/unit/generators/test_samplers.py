"""Samplers, on velocities that are known in closed form."""

import pytest
import torch
from torch import Tensor

from sitesynth.generators.samplers import (
    SamplerName,
    Velocity,
    ddim,
    euler,
    guided,
    heun,
    multistep,
    sampler_named,
    time_grid,
)
from sitesynth.generators.schedules import CosineSchedule, Schedule, StraightSchedule, precondition


NAMES: tuple[SamplerName, ...] = ("euler", "heun", "multistep", "ddim")
STRAIGHT, COSINE = StraightSchedule(), CosineSchedule()

ALL = pytest.mark.parametrize("name", NAMES)
BOTH = pytest.mark.parametrize("schedule", [STRAIGHT, COSINE], ids=["straight", "cosine"])


def gaussian(schedule: Schedule, spread: float) -> Velocity:
    """Return the best velocity for data N(0, spread^2), which maps noise e to spread e."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        c_skip, _ = precondition(schedule, t, torch.full((1,), spread, dtype=x.dtype))
        return c_skip * x

    return velocity


def error(name: SamplerName, schedule: Schedule, count: int, *, spread: float = 0.5) -> float:
    """Return how far a Gaussian's sample ends from where it should."""
    noise = torch.ones(1, 1, dtype=torch.float64)
    reached = sampler_named(name)(schedule, gaussian(schedule, spread), noise, time_grid(count))
    return float((reached - spread).abs())


def test_times_go_from_one_to_zero_in_steps_that_sum_to_one() -> None:
    """Steps that do not sum to 1 leave noise in every sample."""
    for count in (1, 3, 8, 30):
        times = time_grid(count)

        assert times[0] == 1.0
        assert times[-1] == 0.0
        assert len(times) == count + 1


@ALL
def test_a_constant_velocity_is_followed_exactly(name: SamplerName) -> None:
    """On a straight line any number of steps lands on the data."""
    data = torch.tensor([[3.0, -1.0]])
    noise = torch.tensor([[0.5, 0.25]])
    for count in (1, 2, 7):
        reached = sampler_named(name)(STRAIGHT, lambda x, t: noise - data, noise, time_grid(count))

        torch.testing.assert_close(reached, data)


@BOTH
@ALL
def test_a_gaussian_is_sampled_with_its_own_spread(name: SamplerName, schedule: Schedule) -> None:
    """The known velocity maps noise e to s e; 200 steps come within a hundredth."""
    assert error(name, schedule, 200) < 0.01


@BOTH
@pytest.mark.parametrize(("name", "shrinks_by"), [("euler", 1.8), ("heun", 3.4), ("multistep", 3)])
def test_twice_the_steps_halve_the_error_or_quarter_it(
    name: SamplerName, schedule: Schedule, shrinks_by: float
) -> None:
    """Order 1 halves it, order 2 quarters it, nearly: on a curved path, with spread 0.5."""
    assert error(name, schedule, 32) < error(name, schedule, 16) / shrinks_by


def test_ddim_follows_data_of_one_place_exactly_on_any_schedule() -> None:
    """If all data is x0, noise is never guessed wrong: one step is enough, a quarter circle."""
    data, noise = torch.tensor([[3.0, -1.0]]), torch.tensor([[0.5, 0.25]])

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return COSINE.mix(data, noise, t)[1]

    for count in (1, 5):
        torch.testing.assert_close(ddim(COSINE, velocity, noise, time_grid(count)), data)
    assert float((euler(COSINE, velocity, noise, time_grid(1)) - data).abs().max()) > 0.1


def test_ddim_on_the_straight_schedule_is_eulers_method() -> None:
    """Mixing the guessed data and noise anew is the same step."""
    noise = torch.linspace(-2, 2, 9).reshape(9, 1)
    velocity, times = gaussian(STRAIGHT, 2.0), time_grid(5)

    torch.testing.assert_close(
        ddim(STRAIGHT, velocity, noise, times), euler(STRAIGHT, velocity, noise, times)
    )


def test_the_multistep_is_adams_and_bashforths_by_hand() -> None:
    """With dx/dt = t, three steps of 1/3 from 1: slopes 1, 2/3, 1/3.

    Euler first, 1 - 1/3; then 3/2 * 2/3 - 1/2 * 1 = 1/2, so 1/2; then Euler, 1/2 - 1/9 = 7/18.
    """
    reached = multistep(STRAIGHT, lambda x, t: t.reshape(-1, 1), torch.ones(1, 1), time_grid(3))

    assert float(reached) == pytest.approx(7 / 18)


def test_the_multistep_knows_steps_of_unequal_length() -> None:
    """With dx/dt = t, a slope that is a straight line is foretold without error after one step.

    From 1 over 0.7 and 0.4 to 0.2: Euler -0.3; then -(0.7^2 - 0.4^2) / 2 and -(0.4^2 - 0.2^2) / 2
    exactly; the last step, to 0, is Euler's again: -0.2 * 0.2.
    """
    times = [1.0, 0.7, 0.4, 0.2, 0.0]
    reached = multistep(STRAIGHT, lambda x, t: t.reshape(-1, 1), torch.ones(1, 1), times)

    assert float(reached) == pytest.approx(1 - 0.3 - 0.165 - 0.06 - 0.04)


@pytest.mark.parametrize(("name", "calls"), [("euler", 6), ("ddim", 6), ("multistep", 6)])
def test_a_step_costs_one_call_and_heuns_two(name: SamplerName, calls: int) -> None:
    """The table in the module's docstring: Heun's last step is Euler's."""
    counted: list[float] = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        counted.append(float(t[0]))
        return x

    sampler_named(name)(STRAIGHT, velocity, torch.ones(1, 1), time_grid(6))
    assert len(counted) == calls
    assert 0.0 not in counted
    counted.clear()
    heun(STRAIGHT, velocity, torch.ones(1, 1), time_grid(6))
    assert len(counted) == 11
    assert 0.0 not in counted


def test_guidance_of_one_is_the_conditional_flow_and_zero_the_unconditional() -> None:
    """By the definition of classifier-free guidance; two goes as far again beyond."""
    conditional, unconditional = torch.tensor([3.0]), torch.tensor([1.0])

    assert guided(conditional, unconditional, scale=1) == 3
    assert guided(conditional, unconditional, scale=0) == 1
    assert guided(conditional, unconditional, scale=2) == 5
