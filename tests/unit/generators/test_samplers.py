"""Samplers, on velocities that are known in closed form."""

import pytest
import torch
from torch import Tensor

from sitesynth.generators.samplers import (
    SamplerName,
    Velocity,
    ddim,
    euler,
    follow,
    guided,
    heun,
    multistep,
    num_draws,
    sde,
    time_grid,
)
from sitesynth.generators.schedules import CosineSchedule, Schedule, StraightSchedule, precondition


NAMES: tuple[SamplerName, ...] = ("euler", "heun", "multistep", "ddim", "sde")
STRAIGHT, COSINE = StraightSchedule(), CosineSchedule()

ALL = pytest.mark.parametrize("name", NAMES)
BOTH = pytest.mark.parametrize("schedule", [STRAIGHT, COSINE], ids=["straight", "cosine"])


def gaussian(schedule: Schedule, spread: float) -> Velocity:
    """Return the best velocity for data N(0, spread^2), which maps noise e to spread e."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        c_skip, _ = precondition(schedule, t, torch.full((1,), spread, dtype=x.dtype))
        return c_skip * x

    return velocity


def reach(
    name: SamplerName, schedule: Schedule, velocity: Velocity, noise: Tensor, times: list[float]
) -> Tensor:
    """Sample without any noise but the starting one."""
    silent = torch.zeros_like(noise)
    draws = num_draws(name, num_steps=len(times) - 1)
    stacked = torch.stack([noise, *[silent] * (draws - 1)], dim=1)
    return follow(name, schedule, velocity, stacked, times, eta_at=lambda time: 0.0)


def error(name: SamplerName, schedule: Schedule, count: int, *, spread: float = 0.5) -> float:
    """Return how far a Gaussian's sample ends from where it should."""
    noise = torch.ones(1, 1, dtype=torch.float64)
    reached = reach(name, schedule, gaussian(schedule, spread), noise, time_grid(count))
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
        reached = reach(name, STRAIGHT, lambda x, t: noise - data, noise, time_grid(count))

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


@BOTH
def test_foretelling_the_data_makes_ddim_a_method_of_order_two(schedule: Schedule) -> None:
    """Four times the steps, 256 for 64: a sixteenth of the error, nearly, where DDIM has 1/4."""
    assert error("sde", schedule, 256) < error("sde", schedule, 64) / 8
    assert error("ddim", schedule, 256) > error("ddim", schedule, 64) / 5


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


@pytest.mark.parametrize("name", ["euler", "ddim", "multistep", "sde"])
def test_a_step_costs_one_call_and_heuns_two(name: SamplerName) -> None:
    """The table in the module's docstring: Heun's last step is Euler's."""
    counted: list[float] = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        counted.append(float(t[0]))
        return x

    reach(name, STRAIGHT, velocity, torch.ones(1, 1), time_grid(6))
    assert len(counted) == 6
    assert 0.0 not in counted
    counted.clear()
    heun(STRAIGHT, velocity, torch.ones(1, 1), time_grid(6))
    assert len(counted) == 11
    assert 0.0 not in counted


@BOTH
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 1.3])
def test_fresh_noise_leaves_a_gaussian_its_spread(schedule: Schedule, eta: float) -> None:
    """All is linear, so a sample is a sum of its draws; its variance is that of their weights."""
    count, spread = 100, 0.5
    one_each = torch.eye(count, dtype=torch.float64).unsqueeze(-1)
    weights = sde(
        schedule, gaussian(schedule, spread), one_each, time_grid(count), eta_at=lambda time: eta
    )

    assert float(weights.square().sum().sqrt()) == pytest.approx(spread, rel=0.02)
    assert bool((weights[1:].abs() > 0).any()) is (eta > 0)


@BOTH
@pytest.mark.parametrize("eta", [1.0, 4.0])
def test_data_of_one_place_is_reached_through_any_noise(schedule: Schedule, eta: float) -> None:
    """The guess of the data is right from the start, and no fresh noise is left in it."""
    data = torch.tensor([3.0, -1.0])
    noise = torch.randn(5, 6, 2, generator=torch.Generator().manual_seed(1))

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        time = t[:, None]
        (a, b), (da, db) = schedule.weights(time), schedule.slopes(time)
        return da * data + db * (x - a * data) / b

    reached = sde(schedule, velocity, noise, time_grid(6), eta_at=lambda time: eta)

    torch.testing.assert_close(reached, data.expand(5, 2))


def test_without_fresh_noise_the_second_step_is_ddims() -> None:
    """From time 1 the step in log(a / b) has no end, so there is nothing to foretell by."""
    noise = torch.linspace(-2, 2, 9).reshape(9, 1)
    velocity, times = gaussian(STRAIGHT, 2.0), time_grid(3)

    torch.testing.assert_close(
        reach("sde", STRAIGHT, velocity, noise, times), ddim(STRAIGHT, velocity, noise, times)
    )
    assert not torch.equal(
        reach("sde", STRAIGHT, velocity, noise, time_grid(4)),
        ddim(STRAIGHT, velocity, noise, time_grid(4)),
    )


def test_guidance_of_one_is_the_conditional_flow_and_zero_the_unconditional() -> None:
    """By the definition of classifier-free guidance; two goes as far again beyond."""
    conditional, unconditional = torch.tensor([3.0]), torch.tensor([1.0])

    assert guided(conditional, unconditional, scale=1) == 3
    assert guided(conditional, unconditional, scale=0) == 1
    assert guided(conditional, unconditional, scale=2) == 5
