"""A classifier in stages: each tells groups of classes apart, and knows nothing of other classes.

Of a glioma's type, the first stage tells IDH wild type from mutant, and the second, among the
mutant, whether 1p/19q is codeleted. A class's probability is the product of those of its groups,
one a stage, so whoever reads probabilities of classes needs not know of stages.

Axes: n = scans, s = sequences, then the grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sitesynth.classifiers.training import Examples
from sitesynth.settings import StageSettings


__all__ = ["InStages", "Stage", "number_stages"]


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """One of the questions that are asked of a scan in turn."""

    name: str
    groups: tuple[tuple[int, ...], ...]
    """Numbers of the classes that the stage does not tell from each other, for each outcome."""

    def select(self, examples: Examples) -> Examples:
        """Return the scans that the question is about, with the number of the group for a label.

        Each keeps its weight: classes go on counting alike, so that products of probabilities are
        those of classes of equal prevalence, as a classifier of all classes at once learns them.
        """
        numbers = {name: number for number, group in enumerate(self.groups) for name in group}
        renamed = torch.tensor([numbers.get(name, -1) for name in examples.labels.tolist()])
        kept = renamed >= 0
        return Examples(
            examples.images[kept],
            examples.presence[kept],
            renamed[kept],
            examples.weights[kept],
        )


def number_stages(stages: Sequence[StageSettings], classes: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages of params.yaml, with the classes' numbers in the place of their names."""
    return tuple(
        Stage(
            stage.name,
            tuple(tuple(classes.index(one) for one in group) for group in stage.groups),
        )
        for stage in stages
    )


@final
class InStages(nn.Module):
    """The networks of the stages, as one classifier of all classes."""

    def __init__(self, stages: Sequence[Stage], networks: Mapping[str, nn.Module]) -> None:
        """Put networks together.

        Args:
            stages: The stages, in any order.
            networks: By stage: a network with one logit per group. A stage without one is as likely
                to answer one thing as another, which judges the other stages' networks alone.
        """
        super().__init__()
        self.stages = tuple(stages)
        self.networks = nn.ModuleDict(dict(networks))
        numbers = {name for stage in stages for group in stage.groups for name in group}
        self.num_classes = len(numbers)

    def forward(self, images: Float[Tensor, "n s ..."]) -> Float[Tensor, "n classes"]:
        """Return the logarithm of each class's probability."""
        total = images.new_zeros((len(images), self.num_classes), dtype=torch.float32)
        for stage in self.stages:
            if stage.name in self.networks:
                logits = self.networks[stage.name](images).float()
            else:
                logits = images.new_zeros((len(images), len(stage.groups)), dtype=torch.float32)
            chances = logits.log_softmax(dim=1)
            for number, group in enumerate(stage.groups):
                total[:, list(group)] += chances[:, number : number + 1]
        return total
