"""What weights tell, for flows in closed form."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sitesynth import seeds
from sitesynth.generators.denoiser import Conditions
from sitesynth.generators.rivals import Gan
from sitesynth.generators.samplers import Velocity
from sitesynth.generators.schedules import StraightSchedule
from sitesynth.privacy.membership import auc
from sitesynth.privacy.probes import (
    NOISE_LEVELS,
    inversion_errors,
    limits_of,
    membership_scores,
    velocity_errors,
)
from tests.unit.generators import tiny_latents
from tests.unit.tiny_models import tiny_generator


def gaussian(x: Tensor, t: Tensor) -> Tensor:
    """Return the velocity of the flow to N(0, 1), which has no training scan in it.

    For x_t = (1 - t) x + t e of independent standard normal x and e, E[e - x | x_t] is
    (2t - 1) / (t^2 + (1 - t)^2) x_t.
    """
    shaped = t.reshape(-1, 1)
    return (2 * shaped - 1) / (shaped**2 + (1 - shaped) ** 2) * x


def memorized(train: Tensor) -> Velocity:
    """Return the velocity that fits its training points perfectly: their posterior mean."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        shaped = t.reshape(-1, 1)
        apart = (x[:, None] - (1 - shaped[:, None]) * train[None]).square().sum(dim=2)
        expected = torch.softmax(-apart / (2 * shaped**2), dim=1) @ train
        return (x - (1 - shaped) * expected) / shaped - expected

    return velocity


@pytest.fixture
def points(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return 30 training points and 12 others of one distribution."""
    return torch.randn(30, 16, generator=rng), torch.randn(12, 16, generator=rng)


def errors(predict: Velocity, data: Tensor) -> np.ndarray:
    rng = torch.Generator().manual_seed(1)
    return velocity_errors(predict, data, schedule=StraightSchedule(), num_draws=4, rng=rng)


def test_the_error_of_a_known_flow_is_its_irreducible_part(rng: torch.Generator) -> None:
    """Var(e - x | x_t) = 1 / (t^2 + (1 - t)^2) per dimension."""
    found = errors(gaussian, torch.randn(400, 400, generator=rng)).mean(axis=0)

    expected = [1 / (t**2 + (1 - t) ** 2) for t in NOISE_LEVELS]
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_all_scans_meet_the_same_noise(rng: torch.Generator) -> None:
    """Equal scans have equal errors, wherever they stand."""
    found = errors(gaussian, torch.randn(1, 16, generator=rng).repeat(3, 1))

    np.testing.assert_allclose(found, found[:1].repeat(3, axis=0))


def test_a_memorized_scan_has_the_higher_score(points: tuple[Tensor, Tensor]) -> None:
    train, held_out = points
    predict = memorized(train)
    members, others = membership_scores(errors(predict, train), errors(predict, held_out))

    assert auc(members, others) > 0.95


def test_an_honest_flow_scores_members_like_others(points: tuple[Tensor, Tensor]) -> None:
    train, held_out = points
    members, others = membership_scores(errors(gaussian, train), errors(gaussian, held_out))

    assert abs(members.mean() - others.mean()) < members.std()


def test_a_missing_channels_error_does_not_count() -> None:
    """The other channel decides."""
    members, others = membership_scores(
        np.array([[1.0, np.nan], [1.0, 9.0]]), np.array([[2.0, 9.0], [2.0, 9.5]])
    )

    assert members.min() > others.max()


SHAPE = (2, 4, 4)


@pytest.fixture
def gan() -> Gan:
    """Return a GAN whose network does something, though it has learned nothing."""
    latents = tiny_latents.two_heaps(SHAPE, num_scans=20, seed=0)
    model = Gan(tiny_latents.untrained(SHAPE, latents, torch.zeros(20, dtype=torch.long)))
    with seeds.isolated(seeds.generator(0, "last")):
        torch.nn.init.normal_(model.network.last.weight, std=0.05)
    return model.eval()


def known(count: int) -> Conditions:
    return Conditions(torch.zeros(count, dtype=torch.long), torch.ones(count, 2, dtype=torch.bool))


def test_what_a_gan_drew_is_told_from_what_it_did_not(gan: Gan) -> None:
    """Draws are found again from likely noise; twice as far from the middle, they are not."""
    noise = torch.randn(30, *SHAPE, generator=seeds.generator(1, "noise"))
    with torch.no_grad():
        drawn = gan(noise, known(30))
    mine = inversion_errors(gan, drawn, known(30)).numpy()
    others = inversion_errors(gan, 2 * drawn, known(30)).numpy()

    assert auc(*membership_scores(mine, others)) > 0.95


def test_descent_finds_a_nearer_draw_than_the_gaussian_within(gan: Gan) -> None:
    """Where the network moves what the Gaussian draws, its noise misses; other noise does not."""
    noise = torch.randn(8, *SHAPE, generator=seeds.generator(1, "noise"))
    with torch.no_grad():
        drawn = gan(noise, known(8))
        at_start = (gan(gan.gaussian.whiten(drawn, known(8)), known(8)) - drawn).square()
    found = inversion_errors(gan, drawn, known(8))

    assert (found[:, 0] < 0.3 * at_start.flatten(1).mean(dim=1)).all()


def test_an_inversion_does_not_depend_on_its_company(gan: Gan) -> None:
    """To the last digits of sums; and the weights' gradients stay what they were: none."""
    data = torch.randn(6, *SHAPE, generator=seeds.generator(1, "data"))
    together = inversion_errors(gan, data, known(6))
    alone = inversion_errors(gan, data[2:4], known(2))

    torch.testing.assert_close(together[2:4], alone, rtol=1e-3, atol=1e-4)
    assert all(parameter.grad is None for parameter in gan.parameters())


def test_the_verdict_is_told_what_was_not_attacked() -> None:
    """Nothing for a flow on its own autoencoder; the critic, and a shared autoencoder."""
    config = tiny_generator((8, 8)).config
    other = config.model_copy(update={"variant": "gan", "latents_source": "phantom"})

    assert limits_of(config) == []
    assert ["critic" in limit for limit in limits_of(other)] == [True, False]
    assert ["phantoms" in limit for limit in limits_of(other)] == [False, True]
