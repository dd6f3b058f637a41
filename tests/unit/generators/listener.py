"""Who listens to a training, and may interrupt it."""

from collections.abc import Mapping
from typing import final


__all__ = ["Listener"]


@final
class Listener:
    """Keeps what it is told at each step, and interrupts the training that goes on too long."""

    def __init__(self, stop_after: int) -> None:
        self.stop_after = stop_after
        self.told: list[dict[str, float]] = []

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        """Listen to one step.

        Raises:
            KeyboardInterrupt: After a step beyond `stop_after`, as if someone had pressed Ctrl-C.
        """
        self.told.append(dict(losses))
        if step > self.stop_after:
            raise KeyboardInterrupt
