"""Working on several things at once on a CPU, each with its share of the threads.

A small network keeps one core busy and gives a second one little to do: two of them side by side,
of one thread each, take a third less time than one after the other with two. What is computed
depends on its number of threads, and not on what goes on beside it. An accelerator is kept busy by
one.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

import torch

from sitesynth.training import best_device


__all__ = ["in_order", "share_threads", "threads_each"]

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_IN_ORDER: Final = 4
"""Results are held until it is their turn, and on many cores they would fill the memory."""


def _at_once(count: int) -> int:
    """Return how many of `count` things go on at once: as many as there are threads."""
    return min(count, torch.get_num_threads()) if best_device().type == "cpu" else 1


def threads_each(count: int) -> int:
    """Return how many threads a thing has that has `count - 1` others beside it."""
    return torch.get_num_threads() // _at_once(count)


@contextmanager
def share_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Offer a pool for `count` things, each with its share of the threads."""
    threads, workers = torch.get_num_threads(), _at_once(count)
    torch.set_num_threads(threads_each(count))
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item]
) -> Generator[Result, None, None]:
    """Work on items side by side; yield what becomes of them in their order, as soon as may be.

    Args:
        work: Called from other threads.
        items: What it is called with.
    """
    workers = _at_once(min(len(items), MOST_IN_ORDER)) if items else 0
    if workers <= 1:
        yield from map(work, items)
        return
    with share_threads(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # An error, or whoever listens no longer, leaves no work behind.
            for future in waiting:
                future.cancel()
