"""Which part of a batch is whose."""

import pytest

from sitesynth.errors import TrainingError
from sitesynth.processes import ALONE, Processes


def test_shares_cover_a_batch_once() -> None:
    """Seven samples by two processes, three and four, at most two at once."""
    assert Processes(0, 2).parts(7, at_once=2) == [slice(0, 2), slice(2, 3)]
    assert Processes(1, 2).parts(7, at_once=2) == [slice(3, 5), slice(5, 7)]
    assert Processes(1, 2).parts(7, at_once=None) == [slice(3, 7)]
    assert ALONE.parts(7, at_once=None) == [slice(0, 7)]


def test_a_process_without_work_is_refused() -> None:
    with pytest.raises(TrainingError, match="a batch of 2 leaves nothing to do for some of 3"):
        Processes(0, 3).parts(2, at_once=None)


def test_the_launcher_says_who_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Processes.from_environment() == ALONE
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert Processes.from_environment() == Processes(2, 4)
    assert not Processes(2, 4).is_first
