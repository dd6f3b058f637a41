"""What one patient can do to a step is bounded; without bound and noise, it is the plain step."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.diffusion import train_flow
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.generators.private_gradients import (
    PrivateBatches,
    clipped_sum,
    losses_with_noise,
    step_rngs,
    with_gradients,
)
from sitesynth.settings import ConvolutionSettings, DiffusionSettings, PrivateTraining


SHAPE = (2, 4, 4)
NUM_SCANS = 6
PATIENTS = ("a", "b", "b", "c", "d", "e")
SCALE = LatentScale((0.0, 0.0), 1.0)
LABELS = torch.tensor([0, 1, 1, 0, -1, 1])


def private(*, noise: float, clip: float) -> PrivateTraining:
    """Return settings, without noise too, which the file of params does not allow."""
    return PrivateTraining.model_construct(noise_multiplier=noise, clip_norm=clip, delta=1e-3)


def settings(batch_size: int) -> DiffusionSettings:
    return DiffusionSettings(
        schedule="straight",
        patch=(2, 2),
        width=32,
        depth=1,
        convolutions=None,
        sizes=(),
        components=2,
        detail=0.5,
        num_views=1,
        warp=0.0,
        label_score=False,
        condition_dropout=0.0,
        ema_decay=0.9,
        dp=PrivateTraining(noise_multiplier=1.0, clip_norm=0.1, delta=1e-3),
        learning_rate=1e-3,
        batch_size=batch_size,
        num_steps=2,
        covariates=(),
        validate_every=None,
        patience_looks=None,
    )


def latents() -> Latents:
    mean = torch.randn(NUM_SCANS, 1, *SHAPE, generator=seeds.generator(0, "latents"))
    known = torch.ones(NUM_SCANS, 2, dtype=torch.bool)
    return Latents(mean, torch.zeros_like(mean), known)


CONVOLUTIONS = ConvolutionSettings(feature_maps=8, num_blocks=1)


@pytest.fixture
def model() -> Denoiser:
    return awake_model(settings(2), transformer="")


def awake_model(asked: DiffusionSettings, *, transformer: str) -> Denoiser:
    with seeds.isolated(seeds.generator(0, "weights")):
        made = Denoiser(asked, latent_shape=SHAPE, num_classes=2, num_channels=2)
        # A flow's way out begins at zero, where most gradients are.
        torch.nn.init.normal_(made.network.get_parameter("last.weight"), std=0.1)
        torch.nn.init.normal_(
            made.network.get_parameter(f"{transformer}blocks.0.modulate.weight"), std=0.1
        )
    return made


def losses(
    model: Denoiser, batch_size: int, *, noise: float, clip: float, secret: str | None = None
) -> Callable[[int], Mapping[str, Tensor]]:
    return losses_with_noise(
        model,
        latents(),
        LABELS,
        SCALE,
        PrivateBatches.of(PATIENTS, batch_size=batch_size),
        settings=settings(batch_size),
        private=private(noise=noise, clip=clip),
        rng_at=step_rngs(0, "alder", secret),
    )


def gradients(model: Denoiser, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


def test_single_gradients_are_clipped_and_added() -> None:
    """The gradient of w.x is x: (3, 4) is scaled to (0.6, 0.8), and (0.3, 0) is left."""
    examples = torch.tensor([[3.0, 4.0], [0.3, 0.0]])
    total, loss = clipped_sum(
        lambda weights, x: weights["w"] @ x, {"w": torch.ones(2)}, [examples], clip_norm=1.0
    )

    torch.testing.assert_close(total["w"], torch.tensor([0.9, 0.8]))
    assert float(loss) == pytest.approx((7.0 + 0.3) / 2)


def test_a_loss_can_be_given_its_gradients() -> None:
    """Its value is as it was."""
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    loss = with_gradients(torch.tensor(5.0), {"w": weight}, {"w": torch.tensor([7.0, -1.0])})
    loss.backward()

    assert float(loss.detach()) == 5.0
    assert weight.grad is not None
    assert weight.grad.tolist() == [7.0, -1.0]


@pytest.mark.parametrize("convolutions", [None, CONVOLUTIONS])
def test_without_noise_or_bound_it_is_the_plain_gradient(
    convolutions: ConvolutionSettings | None,
) -> None:
    """All five patients take part, each with one scan: the mean of their squared errors."""
    model = awake_model(
        settings(2).model_copy(update={"convolutions": convolutions}),
        transformer="" if convolutions is None else "transformer.",
    )
    told = losses(model, 5, noise=0.0, clip=1e9)(1)["loss"]
    found = gradients(model, told)

    rng = step_rngs(0, "alder", None)(1)
    chosen = PrivateBatches.of(PATIENTS, batch_size=5).draw(rng)
    data = latents().draw(chosen, rng=rng)
    conditions = Conditions(LABELS[chosen], torch.ones(5, 2, dtype=torch.bool))
    conditions = conditions.hide_labels(probability=0.0, rng=rng)
    t = model.schedule.draw_times(5, rng=rng)
    mixed, velocity = model.schedule.mix(data, torch.randn(data.shape, generator=rng), t)
    plain = model.loss(model(mixed, t, conditions), velocity, t)

    assert float(told.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    for name, expected in gradients(model, plain).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-5)


def test_no_patient_moves_a_step_by_more_than_the_bound(model: Denoiser) -> None:
    """The sum with and without one patient differs by the clip norm, since theirs is larger."""
    x = torch.randn(3, *SHAPE, generator=seeds.generator(0, "x"))
    t, v = torch.tensor([0.2, 0.5, 0.8]), torch.ones(3, *SHAPE)

    def loss_of(weights: dict[str, Tensor], mixed: Tensor, time: Tensor, wanted: Tensor) -> Tensor:
        told = Conditions(torch.zeros(1, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool))
        predicted: Tensor = torch.func.functional_call(
            model, weights, (mixed[None], time[None], told)
        )
        return (predicted[0] - 100 * wanted).square().mean()

    weights: dict[str, Tensor] = {}
    weights.update(model.named_parameters())
    for clip in (0.1, 2.0):
        everyone, _ = clipped_sum(loss_of, weights, [x, t, v], clip_norm=clip)
        others, _ = clipped_sum(loss_of, weights, [x[:2], t[:2], v[:2]], clip_norm=clip)
        moved = torch.cat([(everyone[name] - others[name]).flatten() for name in weights])

        assert float(moved.norm()) == pytest.approx(clip, rel=1e-4)


def test_noise_has_the_stated_size(model: Denoiser) -> None:
    """Sigma 3 and clip norm 0.5 over 2 patients expected: 0.75 on each of thousands of weights."""
    quiet = gradients(model, losses(model, 2, noise=0.0, clip=0.5)(4)["loss"])
    noisy = gradients(model, losses(model, 2, noise=3.0, clip=0.5)(4)["loss"])
    noise = torch.cat([(noisy[name] - quiet[name]).flatten() for name in quiet])

    assert noise.numel() > 10_000
    assert float(noise.std()) == pytest.approx(0.75, rel=0.03)


def test_a_step_is_its_own_and_only_the_secret_tells_its_noise(model: Denoiser) -> None:
    """Step 3 is step 3 whatever was before it, as a resumed run needs; not without the secret."""
    at = losses(model, 2, noise=1.0, clip=0.5, secret="of the site")  # noqa: S106
    straight = [gradients(model, at(step)["loss"])["network.last.bias"] for step in (1, 2, 3)]
    resumed = gradients(model, at(3)["loss"])["network.last.bias"]
    guessed = gradients(model, losses(model, 2, noise=1.0, clip=0.5)(3)["loss"])

    assert torch.equal(straight[2], resumed)
    assert not torch.equal(straight[1], straight[2])
    assert not torch.allclose(guessed["network.last.bias"], resumed)


def test_patients_take_part_independently_and_with_one_scan() -> None:
    """Poisson's rule: 0.4 each, so sizes vary; the patient with two scans is no likelier."""
    batches = PrivateBatches.of(PATIENTS, batch_size=2)
    rng = seeds.generator(0, "draws")
    drawn = [batches.draw(rng).tolist() for _ in range(4000)]
    counts = torch.bincount(torch.tensor([scan for scans in drawn for scan in scans]), minlength=6)

    assert batches.rate == pytest.approx(0.4)
    assert {len(scans) for scans in drawn} == {0, 1, 2, 3, 4, 5}
    assert not any({1, 2} <= set(scans) for scans in drawn)
    for of_patient in (counts[0], counts[1] + counts[2], counts[3], counts[4], counts[5]):
        assert float(of_patient) / 4000 == pytest.approx(0.4, abs=0.035)
    assert float(counts[1]) / 4000 == pytest.approx(0.2, abs=0.03)


def test_more_patients_than_there_are_is_an_error() -> None:
    """A rate above 1 has no accountant."""
    with pytest.raises(TrainingError, match="batch_size 6 asks for more patients"):
        PrivateBatches.of(PATIENTS, batch_size=6)


def test_a_private_flow_starts_from_no_statistics_of_patients() -> None:
    """Its Gaussian is the standard one, which tells nothing; and it is trained."""
    flow = train_flow(
        latents(),
        LABELS,
        SCALE,
        settings=settings(2),
        num_classes=2,
        seed=0,
        site="alder",
        patients=PATIENTS,
    )

    assert torch.equal(flow.mean, torch.zeros_like(flow.mean))
    assert torch.equal(flow.spread, torch.ones_like(flow.spread))
    assert flow.network.last.weight.abs().max().item() > 0
