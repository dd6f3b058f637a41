"""The processes that train one network together, each on its share of every batch.

`torchrun` and `accelerate launch` start them, and tell each in its environment which one it is. All
of them draw the whole batch, from the generator that the step names, and compute their share of it;
what they find is added up. So two processes take the steps that one would take, but for the order
of the sums.
"""

import os
from dataclasses import dataclass
from typing import final

from sitesynth.errors import TrainingError


__all__ = ["ALONE", "Processes"]


@final
@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes there are, and which of them this one is."""

    number: int
    """From 0. The first one writes: checkpoints, outputs, MLflow."""

    count: int

    @classmethod
    def from_environment(cls) -> "Processes":
        """Return what the launcher has told; without one, a process is alone."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        return cls(int(os.environ["RANK"]), count) if count > 1 else ALONE

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.number == 0

    def parts(self, batch_size: int, *, at_once: int | None) -> list[slice]:
        """Return this process's share of a batch, in parts that are computed one after another.

        Args:
            batch_size: Samples of the whole batch, those of other processes included.
            at_once: Most samples of a part; None makes one part of the share.

        Raises:
            TrainingError: If there are more processes than samples.
        """
        if batch_size < self.count:
            raise TrainingError(
                f"a batch of {batch_size} leaves nothing to do for some of {self.count} processes; "
                "start fewer (torchrun --nproc-per-node), or raise batch_size."
            )
        start, stop = (batch_size * (self.number + end) // self.count for end in (0, 1))
        size = at_once or stop - start
        return [slice(begin, min(begin + size, stop)) for begin in range(start, stop, size)]


ALONE = Processes(0, 1)
