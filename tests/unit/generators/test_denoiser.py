"""What the denoiser's Gaussian tells the network, and how errors weigh: known answers."""

import math

import pytest
import torch

from sitesynth import seeds
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.schedules import precondition
from sitesynth.generators.spectrum import from_frequencies, to_frequencies
from tests.unit.generators.tiny_latents import diffusion


SHAPE = (2, 4, 3, 2)
COUNT = 4000


def denoiser(**changed: object) -> Denoiser:
    """Return an untrained denoiser."""
    settings = diffusion().model_copy(update=changed)
    return Denoiser(settings, latent_shape=SHAPE, num_classes=1, num_channels=1)


def noise(scope: str, *shape: int) -> torch.Tensor:
    """Draw standard normal numbers."""
    return torch.randn(*shape, generator=seeds.generator(0, scope))


def planted() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return latents that vary along two directions, these directions, and how much."""
    directions = torch.linalg.qr(noise("directions", math.prod(SHAPE), 2)).Q.T
    spread = torch.tensor([3.0, 1.5])
    along = noise("along", COUNT, 2) * spread
    latents = along @ directions + 0.1 * noise("around", COUNT, math.prod(SHAPE))
    return latents.reshape(COUNT, *SHAPE), directions, spread


def fitted(latents: torch.Tensor, **changed: object) -> Denoiser:
    """Return a denoiser whose Gaussian has seen some latents of one class."""
    model = denoiser(**changed)
    model.fit_gaussian(latents, torch.zeros(len(latents), dtype=torch.long))
    return model


def hints_at(model: Denoiser, data: torch.Tensor, time: float) -> list[torch.Tensor]:
    """Return the hints that noisy latents give, whose mean is nearly 0."""
    t = torch.full((len(data),), time)
    mixed, _ = model.schedule.mix(data, noise("mix", *data.shape), t)
    return model.hints(mixed, to_frequencies(mixed, model.bases), t)


def test_planted_components_are_found() -> None:
    """Both directions, whatever their sign, in order, with their spreads."""
    latents, directions, spread = planted()
    model = fitted(latents)
    found = model.components.flatten(1)

    torch.testing.assert_close((found @ directions.T).abs(), torch.eye(2), atol=0.05, rtol=0)
    torch.testing.assert_close(model.component_spread, spread, atol=0.1, rtol=0)


@pytest.mark.parametrize("time", [0.3, 0.7, 0.95])
def test_hints_are_nearer_to_the_data_than_any_multiple_of_what_is_seen(time: float) -> None:
    """Both filters know more than one number for all; components know what there is to know."""
    data, _, _ = planted()
    model = fitted(data)
    smooth, by_components = hints_at(model, data, time)
    t = torch.full((len(data),), time)
    mixed, _ = model.schedule.mix(data, noise("mix", *data.shape), t)
    best = (mixed * data).sum() / mixed.square().sum()

    def error(guess: torch.Tensor) -> float:
        return float((guess - data).square().mean())

    assert error(by_components) < error(smooth) < error(best * mixed)


def test_without_noise_latents_are_what_is_expected_and_in_pure_noise_nothing_is() -> None:
    """The ends of the path: t = 0 gives the data back, t = 1 their mean, which is 0 here."""
    data, _, _ = planted()
    model = fitted(data)
    smooth, _ = hints_at(model, data[:8], 0.0)
    nothing = hints_at(model, data[:8], 1.0)

    torch.testing.assert_close(smooth, data[:8], atol=1e-4, rtol=1e-4)
    for hint in nothing:
        assert torch.equal(hint, torch.zeros_like(hint))


def test_more_components_than_latents_leave_the_rest_silent() -> None:
    """Three scans have two directions at most; what cannot be found says nothing."""
    few = planted()[0][:3]
    model = fitted(few, components=6)

    assert not model.components[3:].any()
    assert all(hint.isfinite().all() for hint in hints_at(model, few, 0.5))


def test_no_components_are_no_hint() -> None:
    """The network then has one input less."""
    with_some, with_none = denoiser(), denoiser(components=0)
    more, fewer = (
        model.network.get_parameter("first.weight").shape[1] for model in (with_some, with_none)
    )

    assert more == fewer * 3 / 2
    conditions = Conditions(torch.tensor([0]), torch.ones(1, 1, dtype=torch.bool))
    said = with_none(noise("x", 1, *SHAPE), torch.tensor([0.5]), conditions)
    assert said.shape == (1, *SHAPE)


def test_detail_weighs_frequencies_by_what_the_gaussian_leaves_open() -> None:
    """An error of one frequency counts 1 / c_out^2 at detail 1, and 1 at detail 0."""
    t = torch.tensor([0.4])
    for detail in (0.0, 0.5, 1.0):
        model = denoiser(detail=detail)
        model.spread.copy_(0.1 + noise("spread", *SHAPE).abs())
        place = (0, 1, 2, 1, 0)
        error = torch.zeros(1, *SHAPE)
        error[place] = 2.0
        velocity = noise("velocity", 1, *SHAPE)
        loss = model.loss(velocity + from_frequencies(error, model.bases), velocity, t)
        c_out = precondition(model.schedule, t, model.spread)[1][place]
        expected = 4.0 / error.numel() / float(c_out) ** (2 * detail)

        assert float(loss) == pytest.approx(expected, rel=1e-4)
