"""A GAN on latents whose distribution is known."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.generators import adversarial
from sitesynth.generators.adversarial import Critic, gradient_penalty, train_gan
from sitesynth.generators.denoiser import Conditions
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.generators.rivals import Gan
from sitesynth.training import train
from tests.unit.generators import tiny_latents


def scale(shape: tuple[int, ...]) -> LatentScale:
    return LatentScale((0.0,) * shape[0], 1.0)


def trained(shape: tuple[int, ...], num_steps: int, checkpoint: Path | None = None) -> Gan:
    latents = tiny_latents.two_heaps(shape, num_scans=64, seed=0)
    labels = torch.zeros(64, dtype=torch.long)
    model, _ = train_gan(
        tiny_latents.untrained(shape, latents, labels),
        latents,
        labels,
        scale(shape),
        settings=tiny_latents.gan(num_steps),
        diffusion=tiny_latents.diffusion(len(shape) - 1),
        seed=1,
        site="alder",
        checkpoint=checkpoint,
    )
    return model


@torch.no_grad()
def share_in_a_heap(model: Callable[..., torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    """Return the share of draws whose mean lies within 0.4 of +1, and of -1."""
    noise = torch.randn(400, *shape, generator=seeds.generator(2, "draws"))
    some = Conditions(torch.zeros(400, dtype=torch.long), torch.ones(400, 2, dtype=torch.bool))
    means = model(noise, some).flatten(1).mean(dim=1)
    return torch.stack([((means - side).abs() < 0.4).float().mean() for side in (1, -1)])


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 2, 2)], ids=["2D", "3D"])
def test_two_heaps_are_learned_that_a_gaussian_cannot_tell(shape: tuple[int, ...]) -> None:
    """Of a Gaussian of spread 1, a fifth of the means lie that near to either heap."""
    model = trained(shape, 240)
    before = share_in_a_heap(model.gaussian, shape)
    after = share_in_a_heap(model, shape)

    expected = 0.5 * (math.erf(1.4 / 2**0.5) - math.erf(0.6 / 2**0.5))
    torch.testing.assert_close(before, torch.full((2,), expected), atol=0.07, rtol=0)
    assert (after > 0.3).all()
    assert after.sum() > 0.8


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    """Its slope is its weight everywhere: (5 - 1)^2 for (3, 4)."""
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    rng = seeds.generator(0, "points")
    real, drawn = torch.randn(6, 2, generator=rng), torch.randn(6, 2, generator=rng)
    penalty = gradient_penalty(lambda x: x @ weight, real, drawn, shares=torch.rand(6))
    (slope,) = torch.autograd.grad(penalty, weight)

    assert float(penalty.detach()) == pytest.approx(16.0)
    # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(slope, 2 * 4 * torch.tensor([0.6, 0.8]))


def test_the_penalty_looks_where_it_is_told() -> None:
    """The slope of x^2 at x is 2x: between 1 and 3, a quarter of the way, 2 * 1.5 - 1, squared."""
    penalty = gradient_penalty(
        lambda x: x.square().sum(dim=1),
        torch.tensor([[1.0]]),
        torch.tensor([[3.0]]),
        shares=torch.tensor([0.25]),
    )

    assert float(penalty.detach()) == pytest.approx(4.0)


def test_the_critic_hears_class_and_missing_channels() -> None:
    """The same latents score differently when something else was asked for."""
    with seeds.isolated(seeds.generator(0, "critic")):
        critic = Critic((2, 3, 3), width=4, num_classes=2, num_channels=2)
        latents = torch.randn(1, 2, 3, 3).repeat(3, 1, 1, 1)
    asked = Conditions(
        torch.tensor([0, 1, 0]), torch.tensor([[True, True], [True, True], [True, False]])
    )
    first, other_class, other_channels = critic(latents, asked).tolist()

    assert first != other_class
    assert first != other_channels


def test_a_gan_untrained_is_its_gaussian() -> None:
    """The network's last layer starts at zero."""
    shape = (2, 2, 2)
    latents = tiny_latents.two_heaps(shape, num_scans=8, seed=0)
    model = Gan(tiny_latents.untrained(shape, latents, torch.zeros(8, dtype=torch.long)))
    noise = torch.randn(4, *shape, generator=seeds.generator(0, "noise"))
    some = Conditions(torch.tensor([0, 1, -1, 0]), torch.ones(4, 2, dtype=torch.bool))

    assert torch.equal(model(noise, some), model.gaussian(noise, some))


def test_a_killed_training_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at a step that was the generator's, and once before it ever moved."""
    shape, path = (2, 2, 2), tmp_path / "state.safetensors"
    undisturbed = trained(shape, 8).state_dict()
    monkeypatch.setattr("sitesynth.training.CHECKPOINT_EVERY_S", 0.0)
    for killed_at in (2, 7):

        def dies(step: int, losses: object, at: int = killed_at) -> None:
            if step == at:
                raise KeyboardInterrupt

        latents = tiny_latents.two_heaps(shape, num_scans=64, seed=0)
        labels = torch.zeros(64, dtype=torch.long)
        with pytest.raises(KeyboardInterrupt):
            train_gan(
                tiny_latents.untrained(shape, latents, labels),
                latents,
                labels,
                scale(shape),
                settings=tiny_latents.gan(8),
                diffusion=tiny_latents.diffusion(2),
                seed=1,
                site="alder",
                checkpoint=path,
                on_step=dies,
            )
        assert path.exists()
    resumed = trained(shape, 8, path).state_dict()

    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_a_generator_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every second turn its own, it moves in every second step."""
    seen: list[torch.Tensor] = []

    def watched(model: torch.nn.Module, *args: object, **kwargs: object) -> None:
        network = model.get_submodule("gan.network")
        kwargs["on_step"] = lambda step, losses: seen.append(
            network.get_parameter("last.bias").detach().clone()
        )
        train(model, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(adversarial, "train", watched)
    trained((2, 2, 2), 6)

    assert [bool(bias.any()) for bias in seen[:2]] == [False, True]
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])


def test_a_loss_that_is_no_number_stops_with_a_word() -> None:
    """One latent is infinite."""
    shape = (2, 2, 2)
    latents = tiny_latents.two_heaps(shape, num_scans=4, seed=0)
    labels = torch.zeros(4, dtype=torch.long)
    flow = tiny_latents.untrained(shape, latents, labels)
    broken = Latents(latents.mean * float("inf"), latents.std, latents.presence)

    with pytest.raises(TrainingError, match=r"the loss of step 1 of 3 is nan\. Lower"):
        train_gan(
            flow,
            broken,
            labels,
            scale(shape),
            settings=tiny_latents.gan(3),
            diffusion=tiny_latents.diffusion(2),
            seed=1,
            site="alder",
        )
