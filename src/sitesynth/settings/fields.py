"""What the sections of params.yaml are made of: kinds of values, and their common base."""

from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


Count = Annotated[int, Field(gt=0)]

Positive = Annotated[float, Field(gt=0.0)]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

MultipleOf8 = Annotated[int, Field(gt=0, multiple_of=8)]

Percentile = Annotated[float, Field(ge=0.0, le=100.0)]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""A word that is safe as a folder, a DVC stage name and an MLflow tag."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""Of a file that the study needs and does not bring along."""

Landmarks = Annotated[tuple[Fraction, ...], Field(strict=False, min_length=9, max_length=9)]
"""Deciles, 10 % to 90 %."""

Names = Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]

MASK_CHANNEL = "mask"
"""Column and channel of the mask, which no sequence may be called."""

FINDINGS = "findings"
"""The label whose classes are labels themselves, of which a scan may have several."""

LABEL_SCORE = "label_score"
"""How the names of the covariates begin that `diffusion.label_score` adds."""

PRESENCE = "has_"
"""How the columns of a table of images begin that say which channels a scan has."""

BRAIN_MASK_COLUMN = "brain_mask"
"""Column of the brain's masks, which no sequence may be called either."""


class Section(BaseModel):
    """Base of every section: immutable, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


def named_once(names: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Return the names if each occurs once."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(
            f"{twice} are named more than once in {list(names)}; name each {kind} once"
        )
    return names
