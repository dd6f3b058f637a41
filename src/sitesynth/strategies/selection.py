"""Keeping the best weights of a training by its sites' validation, told as sums."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from sitesynth.classifiers.training import Validator, pool_scores


__all__ = ["BestWeights"]


@final
class BestWeights:
    """Remembers the weights whose pooled validation loss was lowest; of equals, the earliest."""

    def __init__(self, validators: Sequence[Validator]) -> None:
        self.validators = validators
        self.loss = float("inf")
        self.weights: dict[str, Tensor] = {}

    def look(self, model: nn.Module) -> float:
        """Ask every site how the model does, remember it if it is the best, return the loss."""
        loss = pool_scores([validate([model]) for validate in self.validators]).loss
        if loss < self.loss:
            self.loss = loss
            self.weights = {
                name: value.detach().clone() for name, value in model.state_dict().items()
            }
        return loss

    def restore(self, model: nn.Module) -> None:
        """Put the best weights into the model."""
        model.load_state_dict(self.weights)
