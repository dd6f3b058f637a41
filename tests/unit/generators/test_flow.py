"""Rectified flow, on velocities that are known in closed form."""

import torch

from sitesynth import seeds
from sitesynth.generators import flow


def test_times_go_from_one_to_zero_in_steps_that_sum_to_one() -> None:
    """Steps that do not sum to 1 leave noise in every sample."""
    for count in (1, 3, 8, 30):
        times = flow.time_grid(count)

        assert times[0] == 1.0
        assert times[-1] == 0.0
        assert len(times) == count + 1


def test_the_path_starts_at_data_and_ends_at_noise() -> None:
    """x_0 is the data, x_1 the noise, and the velocity takes one to the other in unit time."""
    data, noise = torch.tensor([[2.0], [2.0]]), torch.tensor([[-1.0], [-1.0]])
    mixed, velocity = flow.interpolate(data, noise, torch.tensor([0.0, 1.0]))

    assert torch.equal(mixed, torch.tensor([[2.0], [-1.0]]))
    assert torch.equal(data + velocity, noise)


def test_a_constant_velocity_is_followed_exactly() -> None:
    """On a straight path any number of steps lands on the data."""
    data = torch.tensor([[3.0, -1.0]])
    noise = torch.tensor([[0.5, 0.25]])
    for count in (1, 2, 7):
        reached = flow.integrate(lambda x, t: noise - data, noise, times=flow.time_grid(count))

        torch.testing.assert_close(reached, data)


def test_a_gaussian_is_sampled_with_its_own_spread() -> None:
    """For data N(0, s^2) the best velocity is known, and the flow maps noise e to s e.

    v(x, t) = E[e - x_0 | x_t] = x (t - (1 - t) s^2) / ((1 - t)^2 s^2 + t^2).
    """
    spread = 2.0
    noise = torch.linspace(-2, 2, 9).reshape(9, 1)

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        time = t.reshape(-1, 1)
        variance = (1 - time) ** 2 * spread**2 + time**2
        return x * (time - (1 - time) * spread**2) / variance

    reached = flow.integrate(velocity, noise, times=flow.time_grid(64))

    torch.testing.assert_close(reached, spread * noise, rtol=2e-3, atol=2e-3)


def test_heun_is_of_second_order_until_its_last_step() -> None:
    """Twice the steps give about a quarter of the error or less on a curved path."""

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (2 * t.reshape(-1, 1)) * x

    noise = torch.ones(1, 1)
    exact = torch.exp(torch.tensor(-1.0))
    errors = [
        float((flow.integrate(velocity, noise, times=flow.time_grid(n)) - exact).abs())
        for n in (8, 16)
    ]

    assert errors[1] < errors[0] / 3


def test_guidance_of_one_is_the_conditional_flow_and_zero_the_unconditional() -> None:
    """By the definition of classifier-free guidance; two goes as far again beyond."""
    conditional, unconditional = torch.tensor([3.0]), torch.tensor([1.0])

    assert flow.guided(conditional, unconditional, scale=1) == 3
    assert flow.guided(conditional, unconditional, scale=0) == 1
    assert flow.guided(conditional, unconditional, scale=2) == 5


def test_training_times_lie_between_data_and_noise() -> None:
    """The logit-normal has its median at one half and never reaches the ends."""
    times = flow.draw_times(2000, rng=seeds.generator(0, "times"))

    assert times.min() > 0
    assert times.max() < 1
    assert abs(float(times.median()) - 0.5) < 0.03


def test_a_network_of_zero_is_right_for_gaussian_data() -> None:
    """The factor on x_t is the regression of v on x_t, c_out what it leaves: both by sampling."""
    spread, mean, count = torch.tensor([0.5, 3.0]), torch.tensor([2.0, -1.0]), 200_000
    rng = seeds.generator(0, "gaussian")
    data = mean + spread * torch.randn(count, 2, generator=rng)
    noise = torch.randn(count, 2, generator=rng)
    for time in (0.2, 0.5, 0.9):
        mixed, velocity = flow.interpolate(data, noise, torch.full((count,), time))
        c_skip, c_out = flow.precondition(torch.tensor([time]), spread)
        centred = mixed - (1 - time) * mean
        slope = (centred * (velocity + mean)).mean(dim=0) / centred.square().mean(dim=0)
        rest = velocity - (slope * centred - mean)

        torch.testing.assert_close(c_skip[0], slope, atol=0.02, rtol=0.02)
        torch.testing.assert_close(c_out[0], rest.std(dim=0), atol=0.02, rtol=0.02)
        assert float(rest.mean().abs()) < 0.02
