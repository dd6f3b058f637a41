"""The one training loop: for autoencoders, flows and classifiers, in two and three dimensions.

A step's randomness is its own: the loss of step k draws from a generator derived from (seed, scope,
k). So a resumed run needs no generator's state, and takes the very steps an undisturbed one would.

A step's loss may come in parts, whose gradients are added up: parts of a batch that is too large
for the memory, and shares of it that several processes compute (`sitesynth.processes`).

Resuming is exact: weights, an opponent's too, averaged weights, the best ones so far, the
optimizers' moments and the step's number are kept; the learning rate is a function of the step. A
checkpoint is a safetensors file, written whole.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sitesynth.errors import TrainingError
from sitesynth.processes import ALONE, Processes
from sitesynth.storage import replacing
from sitesynth.tracking import OnStep


__all__ = [
    "Average",
    "Choice",
    "ExactThinConvolutions",
    "Losses",
    "Opponent",
    "agreed",
    "autocast",
    "best_device",
    "channels_last",
    "check_compiler",
    "joined",
    "judge_by",
    "learning_rate_at",
    "optimizers_of",
    "train",
]

Network = TypeVar("Network", bound=nn.Module)

Losses = Mapping[str, Tensor]
"""What a step measures; the one named `loss` is minimized."""

# Numbers below 1e-38 make a CPU ten times slower, and the moments of dying gradients are full of
# them. Set before torch starts its threads, which inherit it.
torch.set_flush_denormal(True)

MAX_GRADIENT_NORM = 1.0
WARMUP_FRACTION = 0.05
CHECKPOINT_EVERY_S = 20.0

OPPONENT_BETAS = (0.5, 0.999)
"""Of AdamW: long momentum follows where the other side no longer is (Radford et al., 2016)."""


def best_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Let processes hear each other within the block; one that is alone has nothing to do."""
    if processes.count == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def agreed(processes: Processes, values: Mapping[str, float]) -> dict[str, float]:
    """Return what the first process measured, so that all of them decide alike."""
    return _exchange(processes, values, lambda tensor: dist.broadcast(tensor, src=0))


def check_compiler() -> None:
    """Make sure that `torch.compile` will find what it needs.

    Raises:
        TrainingError: If there is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise TrainingError(
            f"compute.compile_blocks needs the C++ compiler '{compiler}', which is not on PATH; "
            "install one (apt-get install g++), name it in CXX, or set the knob to false."
        )


@contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 where the hardware has it; on a CPU without it, in float32.

    A CPU that only emulates bfloat16 is several times slower with it than without.
    """
    on_cpu = device.type == "cpu"
    enabled = not on_cpu or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001
    guard = ExactThinConvolutions() if on_cpu and enabled else nullcontext()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled), guard:
        yield


@final
class ExactThinConvolutions(TorchFunctionMode):
    """Keep 3D convolutions over a first axis of exactly two places in float32.

    On a CPU, torch 2.13 leaves parts of their bfloat16 weight gradient unwritten: what comes out is
    whatever the memory held, now and then NaN. `python -m benchmarks.bfloat16_gradients` shows for
    which grids.
    """

    def __torch_function__(  # noqa: D105
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv3d and args[0].shape[2] == 2:  # noqa: PLR2004
            args = tuple(a.float() if isinstance(a, Tensor) else a for a in args)
            with torch.autocast("cpu", enabled=False):
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def channels_last(model: nn.Module, dims: int) -> None:
    """Put a model's weights into the layout in which convolutions are fast.

    In the default layout, backward passes of 3D convolutions on a CPU are an order of magnitude
    slower.
    """
    layout = torch.channels_last_3d if dims == 3 else torch.channels_last  # noqa: PLR2004
    model.to(memory_format=layout)  # type: ignore[call-overload]


def learning_rate_at(step: int, *, num_steps: int, peak: float) -> float:
    """Return the step size of one step: linear warm-up, then half a cosine down to zero.

    Args:
        step: Number of the step, from 1.
        num_steps: Steps of the whole run.
        peak: Largest step size, reached at the end of the warm-up.
    """
    warmup = max(1, round(WARMUP_FRACTION * num_steps))
    if step <= warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


@final
class Average:
    """Exponential moving average of a model's weights, with a warm start.

    The decay of step k is min(decay, (1 + k) / (10 + k)), so that early weights are soon forgotten
    (as in Song et al., 2021, whose code does so).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average toward the model's weights after step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)


@final
class Choice:
    """Keeps the weights of the lowest held-out loss, and says when to wait no longer."""

    def __init__(
        self,
        judge: Callable[[Mapping[str, Tensor]], Mapping[str, float]],
        *,
        every: int,
        patience: int | None,
    ) -> None:
        """Look at the weights every so many steps.

        Args:
            judge: Returns the held-out losses of weights; the one named `validation_loss` decides.
            every: Steps between looks; the last step is looked at in any case.
            patience: Looks without a lower loss after which training ends; None takes all steps.
        """
        self.judge, self.every, self.patience = judge, every, patience
        self.weights: dict[str, Tensor] = {}
        self.loss, self.step, self.looks_since = math.inf, 0, 0

    @property
    def is_over(self) -> bool:
        """Whether training should end."""
        return self.patience is not None and self.looks_since >= self.patience

    def look(self, step: int, weights: Mapping[str, Tensor]) -> Mapping[str, float]:
        """Judge the weights after a step; keep a copy if none were better.

        Raises:
            TrainingError: If their loss is no finite number.
        """
        told = self.judge(weights)
        loss = told["validation_loss"]
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss on held-out scans after step {step} is {loss}, though the training's "
                "own is finite: check the range of the validation scans."
            )
        self.looks_since += 1
        if loss < self.loss:
            self.loss, self.step, self.looks_since = loss, step, 0
            self.weights = {name: value.detach().clone() for name, value in weights.items()}
        return told

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        told = torch.tensor([self.loss, self.step, self.looks_since], dtype=torch.float64)
        return {"told": told} | {f"weights/{name}": value for name, value in self.weights.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` returned."""
        loss, step, looks_since = state["told"].tolist()
        self.loss, self.step, self.looks_since = loss, int(step), int(looks_since)
        self.weights = {
            name.removeprefix("weights/"): value for name, value in state.items() if name != "told"
        }


@final
@dataclass(frozen=True, slots=True)
class Opponent:
    """A network that learns in the same steps, against the one that is trained.

    It has an optimizer of its own, and its gradients are clipped apart.
    """

    model: nn.Module
    """On its device."""
    learning_rate: float
    """Peak step size of AdamW, by the same schedule."""


def judge_by(
    model: Network,
    measure: Callable[[Network], Mapping[str, float]],
    *,
    num_held_out: int,
    site: str,
    knob: str,
    processes: Processes,
) -> Callable[[Mapping[str, Tensor]], Mapping[str, float]]:
    """Return the judge of a `Choice`: it puts weights into a copy of the model, and measures that.

    Args:
        model: The model that is trained, on its device.
        measure: Returns the held-out losses of the copy, which is in evaluation mode.
        num_held_out: Scans there are to measure by.
        site: Whose they are.
        knob: What asks for looks; named if there is no scan.
        processes: Those that train the model together, and have to choose alike.

    Raises:
        TrainingError: If there is nothing to choose by.
    """
    if not num_held_out:
        raise TrainingError(
            f"{site} has no validation scan to choose weights by; set split.validation_fraction "
            f"above 0, or {knob} to null."
        )
    judged = deepcopy(model).eval()

    def judge(weights: Mapping[str, Tensor]) -> Mapping[str, float]:
        judged.load_state_dict(weights)
        return agreed(processes, measure(judged))

    return judge


def train(
    model: nn.Module,
    losses_at: Callable[[int], Losses | Iterable[Losses]],
    *,
    num_steps: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    matrices: Sequence[nn.Parameter] = (),
    average: Average | None = None,
    choice: Choice | None = None,
    opponent: Opponent | None = None,
    processes: Processes = ALONE,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> None:
    """Take `num_steps` steps of AdamW on a model, in place; of Muon on some of its matrices.

    Muon (Jordan et al., 2024) steps along the momentum with all its singular values made equal. Its
    steps are scaled to the size of AdamW's (Liu et al., 2025, "Muon is scalable", equation 4), so
    that one step size serves both.

    Args:
        model: The model, on its device.
        losses_at: Computes the losses of step k (from 1), at once or part by part; parts are summed
            up, those of other processes too. Draws from generators of its own that depend on k
            alone.
        num_steps: Steps of the whole run, those before an interruption included.
        learning_rate: Peak step size; see `learning_rate_at`.
        weight_decay: Decoupled weight decay.
        betas: How long AdamW remembers gradients and their squares.
        matrices: Weights of two axes that Muon steps; AdamW steps all others.
        average: Follows the weights, if given.
        choice: Looks at the (averaged) weights, if given, and may end the training early.
        opponent: Learns from the same losses, if given, which keep the two apart; in steps where
            they have no gradient for it, it waits.
        processes: Those that take these steps together, `joined`; the first one keeps the state.
        checkpoint: Where the state is kept about every 20 seconds; continued from if it exists.
        on_step: Told each step's losses.

    Raises:
        TrainingError: If the loss is no longer a finite number, or processes would not go on from
            the same step.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizers = optimizers_of(trained, matrices, learning_rate, weight_decay, betas)
    players = {"model": _Player(model, trained, optimizers, learning_rate), **_against(opponent)}
    done = 0
    if checkpoint is not None and checkpoint.exists():
        done = _restore(checkpoint, players, average, choice)
    _check_agreement(processes, done)
    saved_at = time.monotonic()
    model.train()
    for step in range(done + 1, num_steps + 1):
        if choice is not None and choice.is_over:
            break
        for player in players.values():
            player.begin(learning_rate_at(step, num_steps=num_steps, peak=player.peak))
        values = _add_up(losses_at(step), players, processes)
        if not math.isfinite(values["loss"]):
            raise TrainingError(
                f"the loss of step {step} of {num_steps} is {values['loss']}. "
                "Lower learning_rate (a third is a good next try) and check the input's range."
            )
        for player in players.values():
            player.step()
        if average is not None:
            average.update(model, step)
        if choice is not None and (step % choice.every == 0 or step == num_steps):
            values |= choice.look(step, model.state_dict() if average is None else average.weights)
        on_step(step, values)
        is_due = time.monotonic() - saved_at > CHECKPOINT_EVERY_S
        if checkpoint is not None and processes.is_first and is_due:
            _save(checkpoint, players, average, choice, step=step)
            saved_at = time.monotonic()
    model.eval()


@final
@dataclass(frozen=True, slots=True)
class _Player:
    """A network with what steps it."""

    network: nn.Module
    weights: Sequence[nn.Parameter]
    optimizers: Sequence[torch.optim.Optimizer]
    peak: float
    """Largest step size."""

    def begin(self, rate: float) -> None:
        """Set the step size, and forget the gradients."""
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        self.network.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Step along the gradients, once they are clipped."""
        nn.utils.clip_grad_norm_(self.weights, MAX_GRADIENT_NORM)
        for optimizer in self.optimizers:
            optimizer.step()


def _against(opponent: Opponent | None) -> dict[str, _Player]:
    """Return the opponent as a player, if there is one."""
    if opponent is None:
        return {}
    weights, rate = list(opponent.model.parameters()), opponent.learning_rate
    optimizers = optimizers_of(weights, (), rate, 0.0, OPPONENT_BETAS)
    return {"opponent": _Player(opponent.model, weights, optimizers, rate)}


def _add_up(
    losses: Losses | Iterable[Losses], players: Mapping[str, _Player], processes: Processes
) -> dict[str, float]:
    """Add the gradients of all parts of a step's losses to the weights'; return their sums."""
    sums: dict[str, float] = {}
    for part in [losses] if isinstance(losses, Mapping) else losses:
        part["loss"].backward()
        for name, value in part.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
    if processes.count > 1:
        weights = [weight for player in players.values() for weight in player.weights]
        for gradient in (weight.grad for weight in weights if weight.grad is not None):
            dist.all_reduce(gradient)
    return _exchange(processes, sums, dist.all_reduce)


def _exchange(
    processes: Processes, values: Mapping[str, float], how: Callable[[Tensor], object]
) -> dict[str, float]:
    """Put numbers through a collective of torch, if there is anyone to exchange them with."""
    if processes.count == 1:
        return dict(values)
    device = best_device()
    told = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    how(told)
    return dict(zip(values, told.tolist(), strict=True))


def _check_agreement(processes: Processes, done: int) -> None:
    """Make sure that all processes go on from one step: collectives would mix up others."""
    first = int(agreed(processes, {"done": done})["done"])
    if done != first:
        raise TrainingError(
            f"process {processes.number} would go on from step {done}, process 0 from {first}: "
            "the folder `checkpoints` must be one that all processes see."
        )


def optimizers_of(
    trained: Sequence[nn.Parameter],
    matrices: Sequence[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
) -> list[torch.optim.Optimizer]:
    """Return what steps the weights: AdamW, and Muon for the matrices; see `train`."""
    apart = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in trained if id(parameter) not in apart]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            others, lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=True
        )
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                list(matrices),
                lr=learning_rate,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


def _optimizers(players: Mapping[str, _Player]) -> list[torch.optim.Optimizer]:
    return [optimizer for player in players.values() for optimizer in player.optimizers]


def _save(
    path: Path,
    players: Mapping[str, _Player],
    average: Average | None,
    choice: Choice | None,
    *,
    step: int,
) -> None:
    tensors = {
        f"{part}/{name}": value
        for part, player in players.items()
        for name, value in player.network.state_dict().items()
    }
    if average is not None:
        tensors |= {f"average/{name}": value for name, value in average.weights.items()}
    if choice is not None:
        tensors |= {f"choice/{name}": value for name, value in choice.state().items()}
    for number, optimizer in enumerate(_optimizers(players)):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{index}/{name}": t for name, t in state.items()}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata={"step": str(step)})


def _restore(
    path: Path,
    players: Mapping[str, _Player],
    average: Average | None,
    choice: Choice | None,
) -> int:
    """Put a saved state back, and return the number of the last step it has taken."""
    with safe_open(path, framework="pt") as file:
        step = int(file.metadata()["step"])
    parts: dict[str, dict[str, Tensor]] = {
        part: {} for part in (*players, "average", "choice", "optimizer")
    }
    for name, value in load_file(path).items():
        part, _, key = name.partition("/")
        parts[part][key] = value
    for part, player in players.items():
        player.network.load_state_dict(parts[part])
    if average is not None:
        for name, value in parts["average"].items():
            average.weights[name].copy_(value)
    if choice is not None:
        choice.restore(parts["choice"])
    optimizers = _optimizers(players)
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, value in parts["optimizer"].items():
        number, index, name = key.split("/")
        states[int(number)].setdefault(int(index), {})[name] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        laid = {index: _laid_like(weights[index], told) for index, told in state.items()}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": laid})
    return step


def _laid_like(weight: Tensor, told: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lay a weight's moments into memory as the weight lies; a fused step goes through both as one.

    A file knows the default layout only, see `channels_last`.
    """
    return {
        name: torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value
        for name, value in told.items()
    }
