"""The training loop: exact resume, averages, learning rate, divergence."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sitesynth import seeds, training
from sitesynth.errors import TrainingError
from sitesynth.training import (
    Average,
    Choice,
    ExactThinConvolutions,
    Opponent,
    check_compiler,
    learning_rate_at,
    train,
)


def model_of(scope: str) -> nn.Module:
    """Return a small network with weights of its own."""
    with seeds.isolated(seeds.generator(0, scope)):
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def losses_for(
    model: nn.Module, *, stop_at: int | None = None
) -> Callable[[int], dict[str, Tensor]]:
    """Return a regression loss whose step k draws from a generator of its own."""

    def losses_at(step: int) -> dict[str, Tensor]:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=seeds.generator(0, "step", step))
        return {"loss": (model(x) - x.sum(dim=1, keepdim=True)).square().mean()}

    return losses_at


def parts_for(
    model: nn.Module, *, stop_at: int | None = None
) -> Callable[[int], Iterator[dict[str, Tensor]]]:
    """Return the same loss in two parts, of three and of five samples."""

    def losses_at(step: int) -> Iterator[dict[str, Tensor]]:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=seeds.generator(0, "step", step))
        for part in (x[:3], x[3:]):
            error = (model(part) - part.sum(dim=1, keepdim=True)).square()
            yield {"loss": error.sum() / 8}

    return losses_at


def matrices_of(model: nn.Module) -> list[nn.Parameter]:
    """Return the network's inner matrix."""
    return [model.get_parameter("0.weight")]


@pytest.mark.parametrize("losses", [losses_for, parts_for], ids=["whole", "parts"])
@pytest.mark.parametrize("matrices", [lambda model: [], matrices_of], ids=["adamw", "muon"])
def test_a_killed_training_continues_to_the_same_weights(
    matrices: Callable[[nn.Module], list[nn.Parameter]],
    losses: Callable[..., Callable[[int], Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights, averages, moments and the learning rate all come back: equality is bit for bit."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    straight = model_of("weights")
    average = Average(straight, 0.9)
    train(
        straight,
        losses(straight),
        num_steps=12,
        learning_rate=1e-2,
        matrices=matrices(straight),
        average=average,
    )

    checkpoint = tmp_path / "state.safetensors"
    killed = model_of("weights")
    with pytest.raises(KeyboardInterrupt):
        train(
            killed,
            losses(killed, stop_at=8),
            num_steps=12,
            learning_rate=1e-2,
            matrices=matrices(killed),
            average=Average(killed, 0.9),
            checkpoint=checkpoint,
        )
    resumed = model_of("other weights")
    resumed_average = Average(resumed, 0.9)
    steps: list[int] = []
    train(
        resumed,
        losses(resumed),
        num_steps=12,
        learning_rate=1e-2,
        matrices=matrices(resumed),
        average=resumed_average,
        checkpoint=checkpoint,
        on_step=lambda step, values: steps.append(step),
    )

    assert steps == [8, 9, 10, 11, 12]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])
        assert torch.equal(average.weights[name], resumed_average.weights[name])


def test_an_opponent_is_clipped_and_stepped_apart() -> None:
    """However large its gradients are, the other side takes the very steps it takes alone."""
    alone, model, other = model_of("weights"), model_of("weights"), model_of("other")
    start = {name: value.clone() for name, value in other.state_dict().items()}
    losses_at = losses_for(model)

    def both(step: int) -> dict[str, Tensor]:
        if step < 3:
            return losses_at(step)
        return {"loss": losses_at(step)["loss"] + 1e6 * other(torch.ones(1, 3)).sum()}

    seen: dict[int, bool] = {}
    train(alone, losses_for(alone), num_steps=4, learning_rate=1e-2)
    train(
        model,
        both,
        num_steps=4,
        learning_rate=1e-2,
        opponent=Opponent(other, 1e-2),
        on_step=lambda step, _: seen.update(
            {step: all(torch.equal(v, start[n]) for n, v in other.state_dict().items())}
        ),
    )

    assert seen == {1: True, 2: True, 3: False, 4: False}
    for name, value in alone.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_parts_of_a_batch_step_like_the_whole() -> None:
    """Their losses are summed up, and so are their gradients; only rounding differs."""
    whole, parts = model_of("weights"), model_of("weights")
    told: list[list[float]] = [[], []]

    def fit(model: nn.Module, losses_at: Callable[[int], Any], told: list[float]) -> None:
        train(
            model,
            losses_at,
            num_steps=10,
            learning_rate=1e-2,
            on_step=lambda step, values: told.append(values["loss"]),
        )

    fit(whole, losses_for(whole), told[0])
    fit(parts, parts_for(parts), told[1])

    assert told[0] == pytest.approx(told[1], rel=1e-5)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, parts.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise torch would say so minutes later, in a page of its own code."""
    monkeypatch.setenv("CXX", "no-such-compiler")

    with pytest.raises(TrainingError, match=r"compile_blocks needs .* 'no-such-compiler'"):
        check_compiler()


def test_muon_steps_the_same_way_in_every_direction() -> None:
    """A gradient diag(3, 1) would move a matrix three times as far along its first axis.

    Muon makes both singular values about 1 (five Newton-Schulz steps leave 0.7 to 1.2), and AdamW's
    first step moves each number of the bias by the step size.
    """
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    slopes = torch.tensor([[3.0, 0.0], [0.0, 1.0]])

    def losses_at(step: int) -> dict[str, Tensor]:
        return {"loss": (model.weight * slopes).sum() + model.bias.sum()}

    train(
        model, losses_at, num_steps=1, learning_rate=1.0, matrices=[model.get_parameter("weight")]
    )

    along = -model.weight.detach().diagonal()
    assert 0.5 < float(along[0] / along[1]) < 2.0
    assert torch.allclose(model.bias.detach(), torch.tensor(-1.0), atol=1e-4)


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    """The error names the step, so that a log need not be searched."""
    model = nn.Linear(1, 1)

    def losses_at(step: int) -> dict[str, Tensor]:
        loss = model(torch.ones(1, 1)).sum()
        return {"loss": loss if step < 3 else loss * float("nan")}

    with pytest.raises(TrainingError, match="step 3 of 9"):
        train(model, losses_at, num_steps=9, learning_rate=1e-3)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    """A twentieth of 100 steps is warm-up: 1/5 of the peak at step 1, all of it at step 5."""
    rates = [learning_rate_at(step, num_steps=100, peak=1.0) for step in range(1, 101)]

    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[4] == 1.0
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_average_forgets_its_start() -> None:
    """With decay 0.5 from step 8 on, twenty steps at weight 1 leave 2^-20 of the start."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, 0.5)
    nn.init.ones_(model.weight)
    for step in range(8, 28):
        average.update(model, step)

    assert float(average.weights["weight"]) == pytest.approx(1 - 2**-20, abs=1e-7)


def test_thin_convolutions_stay_exact_under_bfloat16() -> None:
    """Their weight gradient is the float32 one, bit for bit; other grids are still rounded.

    torch leaves the bfloat16 gradient of such a grid partly unwritten on CPUs that have bfloat16.
    """
    convolution = nn.Conv3d(4, 4, 3, padding=1)
    for grid, exact in (((2, 2, 2), True), ((4, 2, 2), False)):
        images = torch.randn(2, 4, *grid, generator=seeds.generator(0, "images"))
        gradients = []
        for enabled in (False, True):
            convolution.zero_grad()
            with (
                torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled),
                ExactThinConvolutions(),
            ):
                said = convolution(images)
            said.float().square().sum().backward()
            gradients.append(convolution.get_parameter("weight").grad)

        assert gradients[0] is not None
        assert gradients[1] is not None
        assert torch.equal(gradients[0], gradients[1]) == exact


def falling_then_rising(*losses: float) -> Callable[[Mapping[str, Tensor]], Mapping[str, float]]:
    """Return a judge that tells one loss after the other."""
    coming = iter(losses)
    return lambda weights: {"validation_loss": next(coming)}


def test_the_weights_of_the_lowest_held_out_loss_are_kept() -> None:
    """Looks at steps 2, 4, 6, 8: the second is best, and two worse ones end it at 8 of 20."""
    model = model_of("weights")
    choice = Choice(falling_then_rising(3.0, 1.0, 2.0, 2.0, 0.0), every=2, patience=2)
    seen: dict[int, dict[str, Tensor]] = {}
    told: dict[int, Mapping[str, float]] = {}

    def on_step(step: int, losses: Mapping[str, float]) -> None:
        seen[step] = {name: value.clone() for name, value in model.state_dict().items()}
        told[step] = dict(losses)

    train(
        model,
        losses_for(model),
        num_steps=20,
        learning_rate=1e-2,
        choice=choice,
        on_step=on_step,
    )

    assert max(seen) == 8
    assert (choice.step, choice.loss) == (4, 1.0)
    assert [step for step in told if "validation_loss" in told[step]] == [2, 4, 6, 8]
    for name, value in choice.weights.items():
        assert torch.equal(value, seen[4][name])
        assert not torch.equal(value, model.state_dict()[name])


def test_a_killed_training_remembers_its_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in step 5, after the looks at 2 and 4; goes on to the looks at 6, which ends it."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    checkpoint = tmp_path / "state.safetensors"
    killed = model_of("weights")
    first = Choice(falling_then_rising(1.0, 2.0), every=2, patience=2)
    with pytest.raises(KeyboardInterrupt):
        train(
            killed,
            losses_for(killed, stop_at=5),
            num_steps=20,
            learning_rate=1e-2,
            choice=first,
            checkpoint=checkpoint,
        )
    resumed, second = model_of("other"), Choice(falling_then_rising(1.5), every=2, patience=2)
    steps: list[int] = []
    train(
        resumed,
        losses_for(resumed),
        num_steps=20,
        learning_rate=1e-2,
        choice=second,
        checkpoint=checkpoint,
        on_step=lambda step, losses: steps.append(step),
    )

    assert steps == [5, 6]
    assert (second.step, second.loss) == (2, 1.0)
    for name, value in first.weights.items():
        assert torch.equal(value, second.weights[name])
