"""What each training site offers: to try models on its held-out scans, and to tell sums only.

This is the wall between a site and the hub. What is called on the hub's side is a `Validator`: a
function from models, one or several together, to a `ValidationScore`; the scans stay behind it.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from sitesynth.classifiers.training import (
    Examples,
    ValidationScore,
    Validator,
    examples_of,
    score,
)
from sitesynth.images import ImageSet


__all__ = ["load_held_out", "scores_of", "validator_of"]


def load_held_out(images: ImageSet, *, label: str, classes: Sequence[str]) -> Examples:
    """Load one site's held-out scans, at the site.

    Raises:
        TrainingError: If a class has none.
    """
    held_out = images.in_split("validation")
    return examples_of([held_out], label=label, classes=classes, origins=["real"])


def validator_of(held_out: Examples, *, classes: Sequence[str], positive: str | None) -> Validator:
    """Return the site's offer to try models on these scans.

    Args:
        held_out: The scans.
        classes: Classes of the task's label, in order.
        positive: The positive one; None where every class is predicted.
    """
    number = None if positive is None else classes.index(positive)

    def validate(models: Sequence[nn.Module]) -> ValidationScore:
        return score(models, held_out, positive=number)

    return validate


def scores_of(model: nn.Module, validators: Mapping[str, Validator]) -> dict[str, ValidationScore]:
    """Ask every site how a model does."""
    return {site: validate([model]) for site, validate in validators.items()}
