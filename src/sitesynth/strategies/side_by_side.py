"""Training the seeds of a strategy side by side.

A small classifier keeps one core busy and gives a second one little to do: on two cores, two
trainings of one thread each take a third less time than one after the other with two. What a
training computes depends on its number of threads, and not on who trains beside it.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TypeVar

import torch

from sitesynth.tracking import OnStep
from sitesynth.training import best_device


__all__ = ["threads_each", "train_side_by_side"]

T = TypeVar("T")


class _AbandonedError(Exception):
    """Another training has failed; this one need not go on."""


def threads_each(count: int) -> int:
    """Return how many threads a training has that has `count - 1` others beside it."""
    return torch.get_num_threads() // _at_once(count)


def _at_once(count: int) -> int:
    """Return how many of `count` trainings go on at once."""
    return min(count, torch.get_num_threads()) if best_device().type == "cpu" else 1


def train_side_by_side(
    train: Callable[[int, OnStep], T], count: int, *, on_step_of: Callable[[int], OnStep]
) -> list[T]:
    """Train members 0, 1, ... as many at once as there are threads; on an accelerator, in turn.

    Args:
        train: Trains one member, and tells its steps to the callback. Called from other threads.
        count: Members.
        on_step_of: Gives each member the callback to tell its steps to; one is told at a time.

    Returns:
        What each member became, in order.

    Raises:
        TrainingError: If a loss diverges; the others stop at their next step.
    """
    cores, workers = torch.get_num_threads(), _at_once(count)
    telling, failed = Lock(), Event()

    def train_one(member: int) -> T:
        tell = on_step_of(member)

        def on_step(step: int, losses: Mapping[str, float]) -> None:
            if failed.is_set():
                raise _AbandonedError
            with telling:
                tell(step, losses)

        try:
            return train(member, on_step)
        except BaseException:
            failed.set()
            raise

    torch.set_num_threads(threads_each(count))
    try:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(train_one, member) for member in range(count)]
            try:
                errors = [future.exception() for future in futures]
            except BaseException:
                failed.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(cores)
    for error in errors:
        if error is not None and not isinstance(error, _AbandonedError):
            raise error
    return [future.result() for future in futures]
