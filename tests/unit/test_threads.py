"""Things done side by side come out in order, and leave nothing behind."""

import threading
from contextlib import closing

import pytest
import torch

from sitesynth.threads import MOST_IN_ORDER, in_order, threads_each


def test_a_thing_gets_its_share_of_the_threads(threads: int) -> None:
    """Of three threads, one of four has one, and one alone all three."""
    told = [threads_each(count) for count in (1, 2, 4)]

    assert told == ([1, 1, 1] if threads == 1 else [3, 1, 1])
    assert torch.get_num_threads() == threads


def test_they_come_in_order(threads: int) -> None:
    """Whichever is ready first, and with one thread each."""
    later = threading.Event()

    def work(item: int) -> tuple[int, int]:
        if threads > 1 and item == 0:
            assert later.wait(timeout=10)
        later.set()
        return item, torch.get_num_threads()

    assert list(in_order(work, range(9))) == [(item, 1) for item in range(9)]
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads")
def test_of_nothing_nothing_comes() -> None:
    """An audit of no scan draws none."""
    assert list(in_order(str, [])) == []


@pytest.mark.usefixtures("threads")
def test_only_some_are_begun_before_they_are_wanted() -> None:
    """Results are held in memory, and a study of volumes has hundreds of them."""
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        return item

    with closing(in_order(work, range(100))) as results:
        assert next(results) == 0
    assert len(begun) <= MOST_IN_ORDER + 1


def test_an_error_comes_out_in_its_turn_and_ends_the_rest(threads: int) -> None:
    """What lies before it was good, and is had."""

    def work(item: int) -> int:
        if item == 2:
            raise ValueError("of the second")
        return item

    results = in_order(work, range(100))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="of the second"):
        next(results)
    assert torch.get_num_threads() == threads
