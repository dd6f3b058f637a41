"""Training the seeds of a strategy side by side; see `sitesynth.threads`."""

from collections.abc import Callable, Mapping
from threading import Event, Lock
from typing import TypeVar

from sitesynth.threads import share_threads
from sitesynth.tracking import OnStep


__all__ = ["train_side_by_side"]

T = TypeVar("T")


class _AbandonedError(Exception):
    """Another training has failed; this one need not go on."""


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

    with share_threads(count) as pool:
        futures = [pool.submit(train_one, member) for member in range(count)]
        try:
            errors = [future.exception() for future in futures]
        except BaseException:
            failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for error in errors:
        if error is not None and not isinstance(error, _AbandonedError):
            raise error
    return [future.result() for future in futures]
