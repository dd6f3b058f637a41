"""Training a flow: what is kept when it starts to remember its scans."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sitesynth import seeds, training
from sitesynth.errors import TrainingError
from sitesynth.generators import diffusion
from sitesynth.generators.denoiser import Denoiser
from sitesynth.generators.diffusion import VALIDATION_TIMES, held_out_losses, train_flow
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.processes import ALONE, Processes
from sitesynth.settings import ComputeSettings, ConvolutionSettings, DiffusionSettings
from tests.unit.generators.listener import Listener
from tests.unit.generators.tiny_generator import PLAIN


SHAPE = (6, 2, 2)
SCALE = LatentScale((0.0,) * 6, 1.0)
NUM_STEPS = 60
CONVOLUTIONS = ConvolutionSettings(feature_maps=16, num_blocks=1)
LOOK_EVERY = 6


def scans(count: int, name: str) -> tuple[Latents, Tensor]:
    """Return latents of pure chance: there is nothing to learn but the scans themselves."""
    mean = torch.randn(count, 1, *SHAPE, generator=seeds.generator(0, "scans", name))
    presence = torch.ones(count, 1, dtype=torch.bool)
    return Latents(mean, torch.zeros_like(mean), presence), torch.arange(count) % 2


HELD_OUT = scans(12, "held out")


def fit(
    of: tuple[Latents, Tensor],
    *,
    held_out: tuple[Latents, Tensor] = HELD_OUT,
    every: int | None,
    patience: int | None = None,
    learning_rate: float = 2e-2,
    num_steps: int = NUM_STEPS,
    convolutions: ConvolutionSettings | None = None,
    compute: ComputeSettings = PLAIN,
    processes: Processes = ALONE,
    checkpoint: Path | None = None,
    stop_after: int = NUM_STEPS,
) -> tuple[Denoiser, list[dict[str, float]]]:
    """Train for up to 60 steps; return the flow and what was told at each step."""
    listener = Listener(stop_after)
    settings = DiffusionSettings(
        schedule="straight",
        patch=(1, 1),
        width=64,
        depth=2,
        convolutions=convolutions,
        sizes=(),
        components=2,
        detail=0.5,
        num_views=1,
        warp=0.0,
        covariates=(),
        dp=None,
        label_score=False,
        condition_dropout=0.0,
        ema_decay=0.5,
        learning_rate=learning_rate,
        batch_size=64,
        num_steps=num_steps,
        validate_every=every,
        patience_looks=patience,
    )
    flow = train_flow(
        *of,
        SCALE,
        settings=settings,
        compute=compute,
        num_classes=2,
        held_out=None if held_out is None else (*held_out, None),
        seed=1,
        site="alder",
        processes=processes,
        checkpoint=checkpoint,
        on_step=listener,
    )
    return flow, listener.told


def mean_loss(flow: Denoiser, of: tuple[Latents, Tensor]) -> float:
    losses = held_out_losses(flow, *of, SCALE, seed=1, site="alder")
    return sum(losses.values()) / len(losses)


def looks(told: list[dict[str, float]]) -> list[float]:
    return [losses["validation_loss"] for losses in told if "validation_loss" in losses]


def test_sixty_steps_on_four_scans_are_caught() -> None:
    """Left alone, the flow learns the four by heart; with looks, it stops and keeps better weights.

    Held-out scans gain nothing from what is learned of four others, so that their loss rises, and a
    flow that knew nothing but that latents are standard normal would have 1.57, the mean over the
    five levels of 1 / (t^2 + (1 - t)^2).
    """
    four = scans(4, "training")
    spoiled, alone = fit(four, every=None)
    kept, watched = fit(four, every=LOOK_EVERY, patience=3)

    assert len(alone) == NUM_STEPS
    assert looks(alone) == []
    assert mean_loss(spoiled, HELD_OUT) > 2 * mean_loss(spoiled, four)
    assert mean_loss(spoiled, HELD_OUT) > 2 * 1.57
    assert len(watched) < NUM_STEPS
    assert mean_loss(kept, HELD_OUT) == pytest.approx(min(looks(watched)))
    assert mean_loss(kept, HELD_OUT) < 0.7 * mean_loss(spoiled, HELD_OUT)
    assert {f"validation_loss_at_{time}" for time in VALIDATION_TIMES} < set(
        watched[LOOK_EVERY - 1]
    )


def test_looking_leaves_an_honest_training_alone() -> None:
    """The steps are those of no look at all; with 400 scans the last look is about the best.

    Of four scans, the last is nearly twice the best.
    """
    many, four = scans(400, "many"), scans(4, "training")
    _, unseen = fit(many, every=None, learning_rate=2e-3)
    _, seen = fit(many, every=LOOK_EVERY, learning_rate=2e-3)
    _, caught = fit(four, every=LOOK_EVERY)

    assert [losses["loss"] for losses in seen] == [losses["loss"] for losses in unseen]
    assert looks(seen)[-1] < 1.1 * min(looks(seen))
    assert looks(caught)[-1] > 1.5 * min(looks(caught))


@pytest.mark.parametrize("convolutions", [None, CONVOLUTIONS])
def test_a_killed_training_remembers_its_best_look(
    convolutions: ConvolutionSettings | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in step 40, long after the best look: the same weights as undisturbed, bit for bit."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    four = scans(4, "training")
    straight, told = fit(four, every=LOOK_EVERY, convolutions=convolutions)
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(four, every=LOOK_EVERY, convolutions=convolutions, checkpoint=state, stop_after=39)
    resumed, rest = fit(four, every=LOOK_EVERY, convolutions=convolutions, checkpoint=state)

    assert LOOK_EVERY * (1 + looks(told).index(min(looks(told)))) < 40
    assert rest == told[39:]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_choice_without_validation_scans_is_refused() -> None:
    """Nothing to choose by is no reason to choose the first."""
    with pytest.raises(TrainingError, match=r"alder has no validation scan .*diffusion\.valid"):
        fit(scans(4, "training"), held_out=scans(0, "none"), every=5)


def gradients(**how: Any) -> Tensor:
    """Return the gradient of the third step on 16 scans, by when all weights have one."""
    flow, _ = fit(scans(16, "training"), every=None, num_steps=3, learning_rate=1e-3, **how)
    flat = [weight.grad.flatten() for weight in flow.parameters() if weight.grad is not None]
    assert len(flat) == len(list(flow.parameters()))
    return torch.cat(flat)


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave bfloat16 out of it: its last bit is a hundredth."""
    monkeypatch.setattr(diffusion, "autocast", lambda device: nullcontext())


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("convolutions", [None, CONVOLUTIONS])
def test_parts_of_a_batch_and_recomputed_blocks_give_the_same_gradient(
    convolutions: ConvolutionSettings | None,
) -> None:
    """Parts add in another order; what is computed again is what was computed, bit for bit."""
    whole = gradients(convolutions=convolutions)
    at_once, again = {"diffusion_at_once": 24}, {"recompute_blocks": True}
    parts, recomputed = (
        gradients(convolutions=convolutions, compute=PLAIN.model_copy(update=knobs))
        for knobs in (at_once, again)
    )

    assert 0 < distance(parts, whole) < 1e-3
    assert torch.equal(recomputed, whole)
