"""Schedules: exact at their ends, undone exactly, and right for Gaussian data at once."""

import math

import pytest
import torch

from sitesynth import seeds
from sitesynth.generators.schedules import (
    CosineSchedule,
    Schedule,
    StraightSchedule,
    precondition,
    schedule_named,
)


BOTH = pytest.mark.parametrize(
    "schedule", [StraightSchedule(), CosineSchedule()], ids=["straight", "cosine"]
)


@BOTH
def test_a_schedule_starts_at_data_and_ends_at_noise(schedule: Schedule) -> None:
    """Exactly: what is left of the other would be in every sample, or missing from training."""
    data, noise = torch.tensor([[2.0], [2.0]]), torch.tensor([[-1.0], [-1.0]])
    mixed, _ = schedule.mix(data, noise, torch.tensor([0.0, 1.0]))

    assert mixed.tolist() == [[2.0], [-1.0]]


@BOTH
def test_the_slope_is_the_derivative_at_unit_speed(schedule: Schedule) -> None:
    """By central differences."""
    data, noise = torch.tensor([[1.5, -2.0]]).double(), torch.tensor([[0.3, 1.0]]).double()
    for time in (0.0, 0.25, 0.5, 1.0):
        near = [torch.tensor([time + shift], dtype=torch.float64) for shift in (-1e-5, 1e-5)]
        before, after = (schedule.mix(data, noise, t)[0] for t in near)
        _, slope = schedule.mix(data, noise, torch.tensor([time], dtype=torch.float64))

        torch.testing.assert_close(schedule.speed * slope, (after - before) / 2e-5)


@BOTH
def test_splitting_undoes_mixing(schedule: Schedule) -> None:
    """At every time, the ends included."""
    rng = seeds.generator(0, "split")
    data, noise = torch.randn(5, 2, 3, generator=rng), torch.randn(5, 2, 3, generator=rng)
    t = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
    found = schedule.split(*schedule.mix(data, noise, t), t)

    torch.testing.assert_close(found, (data, noise), atol=1e-5, rtol=1e-5)


def test_the_cosine_keeps_the_variance_of_scaled_data() -> None:
    """a^2 + b^2 = 1; halfway, data and noise weigh sqrt(1/2) each."""
    t = torch.linspace(0, 1, 11)
    a, b = CosineSchedule().weights(t)

    torch.testing.assert_close(a.square() + b.square(), torch.ones(11))
    assert float(a[5]) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(("name", "slack"), [("straight", 0.03), ("cosine", 0.03)])
def test_training_times_lie_between_data_and_noise(name: str, slack: float) -> None:
    """Both have their median at one half."""
    schedule = schedule_named(name)  # type: ignore[arg-type]
    times = schedule.draw_times(2000, rng=seeds.generator(0, "times"))

    assert times.min() >= 0
    assert times.max() < 1
    assert abs(float(times.median()) - 0.5) < slack


@BOTH
def test_a_network_of_zero_is_right_for_gaussian_data(schedule: Schedule) -> None:
    """The factor on x_t is the regression of v on x_t, c_out what it leaves: both by sampling."""
    spread, mean, count = torch.tensor([0.5, 3.0]), torch.tensor([2.0, -1.0]), 200_000
    rng = seeds.generator(0, "gaussian")
    data = mean + spread * torch.randn(count, 2, generator=rng)
    noise = torch.randn(count, 2, generator=rng)
    for time in (0.2, 0.5, 0.9):
        mixed, velocity = schedule.mix(data, noise, torch.full((count,), time))
        (a, _), (da, _) = (f(torch.tensor(time)) for f in (schedule.weights, schedule.slopes))
        c_skip, c_out = precondition(schedule, torch.tensor([time]), spread)
        centred = mixed - a * mean
        slope = (centred * (velocity - da * mean)).mean(dim=0) / centred.square().mean(dim=0)
        rest = velocity - (slope * centred + da * mean)

        torch.testing.assert_close(c_skip[0], slope, atol=0.02, rtol=0.02)
        torch.testing.assert_close(c_out[0], rest.std(dim=0), atol=0.02, rtol=0.02)
        assert float(rest.mean().abs()) < 0.02
