"""What a strategy is, and what it may know of each site."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from torch import nn

from sitesynth.classifiers.training import Examples, Validator
from sitesynth.tracking import OnStep


__all__ = ["Consortium", "Learner", "Site", "Strategy"]

Learner = Callable[[int], nn.Module]
"""Builds the untrained classifier of one seed; every strategy starts from the same weights."""


@final
@dataclass(frozen=True)
class Site:
    """A training site, as a strategy sees it."""

    real: Examples | None
    """The site's training scans; None where the strategy must not see them."""
    synthetic: Examples | None
    """What the hub sampled from the site's bundle; None where the strategy does not use it."""
    validate: Validator
    """Tries models on the site's held-out scans, and tells sums only."""


Consortium = Mapping[str, Site]
"""The training sites by name; a strategy's result does not depend on their order."""


@runtime_checkable
class Strategy(Protocol):
    """A way to learn one classifier from several sites."""

    def fit(
        self, sites: Consortium, build: Learner, *, seed: int, member: int, on_step: OnStep
    ) -> nn.Module:
        """Learn one classifier.

        Args:
            sites: The training sites.
            build: Builds the untrained classifier of a member.
            seed: Root seed of the study.
            member: Number of this training among the strategy's seeds, from 0.
            on_step: Told each step's losses.

        Returns:
            The classifier of best pooled validation loss, in evaluation mode, on the CPU.
        """
        ...
