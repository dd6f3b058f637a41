"""What every participant of a federation must know, and may: knobs and names, no path, no scan."""

from typing import Annotated

from pydantic import Field

from sitesynth.settings import ClassifierSettings, FederatedSettings, Names, Section


__all__ = ["Plan"]


class Plan(Section):
    """A federated training, as the hub announces it to the sites."""

    sites: Names
    """Who takes part, in the order of their names."""

    label: str
    """The label to learn; a column of the sites' tables."""

    classes: Names
    """Its classes, in order."""

    positive: str | None
    """The class whose probability is predicted; None predicts every class."""

    sequences: Names
    """Input channels, in order."""

    dims: int
    """Axes of the grid: 2 or 3."""

    trained: Annotated[tuple[str, ...], Field(strict=False)]
    """Names of the weights that have gradients."""

    classifier: ClassifierSettings
    federated: FederatedSettings

    seed: int
    """Root seed of the study."""

    @property
    def is_resumable(self) -> bool:
        """Whether sites keep nothing from round to round that an interruption would lose."""
        return self.federated.normalization == "shared"
