"""Members trained side by side are the members that would have been trained in turn."""

import threading

import pytest
import torch

from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.strategies.side_by_side import train_side_by_side
from sitesynth.tracking import OnStep
from sitesynth.training import train


def train_member(member: int, on_step: OnStep) -> torch.Tensor:
    with seeds.isolated(seeds.generator(0, "member", member)):
        model = torch.nn.Linear(64, 64)
    data = torch.randn(64, 64, generator=seeds.generator(0, "data"))
    train(
        model,
        lambda step: {"loss": (model(data) - data).square().mean() / step},
        num_steps=5,
        learning_rate=1e-2,
        on_step=on_step,
    )
    return model.weight.detach()


def forget(member: int) -> OnStep:
    return lambda step, losses: None


@pytest.mark.usefixtures("threads")
def test_each_member_is_what_it_would_be_alone() -> None:
    """To the bit, initial weights from the global generator included; in order of number."""
    together = train_side_by_side(train_member, 4, on_step_of=forget)

    torch.set_num_threads(1)
    for member, weight in enumerate(together):
        assert torch.equal(weight, train_member(member, forget(member)))


def test_they_train_at_once_where_there_are_threads(threads: int) -> None:
    """Members wait for each other: with three threads all three arrive, with one none would."""
    meeting = threading.Barrier(threads)

    def meet(member: int, on_step: OnStep) -> int:
        meeting.wait(timeout=10)
        return torch.get_num_threads()

    assert train_side_by_side(meet, 3, on_step_of=forget) == [1, 1, 1]
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads")
def test_one_is_told_at_a_time() -> None:
    """Callbacks share files and bars."""
    inside = threading.Lock()
    told: list[tuple[int, int]] = []

    def on_step_of(member: int) -> OnStep:
        def tell(step: int, losses: object) -> None:
            assert inside.acquire(blocking=False)
            told.append((member, step))
            inside.release()

        return tell

    train_side_by_side(train_member, 3, on_step_of=on_step_of)

    for member in range(3):
        assert [step for who, step in told if who == member] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("failing", [0, 2])
def test_one_failure_stops_the_others_and_is_told(threads: int, failing: int) -> None:
    """Its own error comes out, not that of those who were told to stop."""
    last = 10**6
    steps = dict.fromkeys(range(3), 0)

    def train_until_told(member: int, on_step: OnStep) -> None:
        for step in range(1, last + 1):
            if member == failing and step == 3:
                raise TrainingError("the loss of step 3 is nan")
            on_step(step, {})
            steps[member] = step
            if threads == 1 and member < failing:
                return

    with pytest.raises(TrainingError, match="step 3 is nan"):
        train_side_by_side(train_until_told, 3, on_step_of=forget)
    assert max(steps.values()) < last
