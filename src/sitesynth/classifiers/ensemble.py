"""A strategy's classifier on disk: one set of weights per seed, and how to use them.

    classifier.json              architecture, input and decision; schema `ClassifierConfig`
    seed_<k>.safetensors         weights of each training

Its prediction is the mean of the members' probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, final

import torch
from jaxtyping import Float
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.stages import InStages, number_stages
from sitesynth.classifiers.training import predict
from sitesynth.errors import MissingInputError
from sitesynth.patterns import are_side_by_side
from sitesynth.settings import (
    ClassifierSettings,
    GridSettings,
    IntensitySettings,
    Section,
    StageSettings,
)
from sitesynth.storage import read_json, replacing, write_json


__all__ = ["ClassifierConfig", "Ensemble", "read_ensemble", "write_ensemble"]


class ClassifierConfig(Section):
    """What rebuilds a classifier and prepares scans for it."""

    strategy: str
    label: str
    classes: Annotated[tuple[str, ...], Field(strict=False)]
    """Classes in the order of their numbers."""
    positive: str | None
    """The class whose probability is predicted; None predicts every class."""
    threshold: float | None
    """Probability of `positive` from which a scan is called so; chosen on validation. None where
    every class is predicted, and the most probable one is called."""
    stages: Annotated[tuple[StageSettings, ...], Field(strict=False)] | None
    """The stages whose networks it is made of, as `task.stages`; None if it is one network."""
    sequences: Annotated[tuple[str, ...], Field(strict=False)]
    """Input channels in order."""
    grid: GridSettings
    mask_labels: Annotated[tuple[int, ...], Field(strict=False)] | None
    """Values of a mask that are inside it, where the grid is centred on it; None takes every value
    above 0."""
    intensity: IntensitySettings
    classifier: ClassifierSettings


@final
class Ensemble:
    """The classifiers of a strategy's seeds.

    Axes: n = scans, s = sequences, c = classes of which a probability is predicted.
    """

    def __init__(self, config: ClassifierConfig, members: Sequence[nn.Module]) -> None:
        self.config = config
        self.members = list(members)

    @property
    def predicted_classes(self) -> tuple[str, ...]:
        """Classes of which a probability is predicted: the positive one, or all."""
        positive = self.config.positive
        return self.config.classes if positive is None else (positive,)

    def predict_members(self, images: Float[Tensor, "n s ..."]) -> Float[Tensor, "members n c"]:
        """Return each member's probability of each of `predicted_classes`."""
        chosen = [self.config.classes.index(name) for name in self.predicted_classes]
        is_side_by_side = are_side_by_side(self.config.label)
        return torch.stack(
            [
                predict(member, images, side_by_side=is_side_by_side)[:, chosen]
                for member in self.members
            ]
        )


def write_ensemble(folder: Path, ensemble: Ensemble) -> None:
    """Write a strategy's classifier; the config comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, member in enumerate(ensemble.members):
        tensors = {name: value.contiguous() for name, value in member.state_dict().items()}
        with replacing(folder / f"seed_{number}.safetensors") as temporary:
            save_file(tensors, temporary)
    write_json(folder / "classifier.json", ensemble.config.model_dump(mode="json"))


def read_ensemble(folder: Path) -> Ensemble:
    """Read a strategy's classifier.

    Raises:
        MissingInputError: If the folder holds none.
    """
    if not (folder / "classifier.json").exists():
        raise MissingInputError(f"{folder} holds no classifier (classifier.json); run `dvc repro`.")
    config = ClassifierConfig.model_validate(read_json(folder / "classifier.json"))
    members = []
    for number in range(config.classifier.num_seeds):
        member = _untrained(config)
        member.load_state_dict(load_file(folder / f"seed_{number}.safetensors"), strict=True)
        members.append(member.eval())
    return Ensemble(config, members)


def _untrained(config: ClassifierConfig) -> nn.Module:
    """Return a member whose weights are yet to be read."""

    def network(num_classes: int) -> nn.Module:
        return build_classifier(
            config.classifier,
            num_sequences=len(config.sequences),
            num_classes=num_classes,
            dims=len(config.grid.shape),
            rng=seeds.generator(0, "overwritten"),
        )

    if config.stages is None:
        return network(len(config.classes))
    stages = number_stages(config.stages, config.classes)
    return InStages(stages, {stage.name: network(len(stage.groups)) for stage in stages})
