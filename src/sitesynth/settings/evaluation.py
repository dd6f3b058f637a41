"""Knobs of how classifiers are compared, and of when one may be champion."""

from typing import Annotated

from pydantic import Field, field_validator

from sitesynth.settings.fields import Fraction, Section, named_once


class EvaluationSettings(Section):
    """How strategies are compared on the external sites."""

    num_resamples: Annotated[int, Field(ge=200)]
    """Bootstrap resamples of patients behind each 95 % interval."""

    margin: Annotated[float, Field(gt=0.0, lt=0.5)]
    """Largest loss of AUC against centralized that still counts as not inferior."""

    min_subgroup: Annotated[int, Field(ge=2)]
    """Least patients of each class in a subgroup (sex, age band, scanner) that is judged."""


class RegistrySettings(Section):
    """When a registered classifier may be called champion."""

    min_auc: Fraction
    """The lower end of the external AUC's 95 % interval must lie above this."""

    max_ece: Fraction
    """The upper end of the external calibration error's (ECE) 95 % interval must lie below this;
    with few patients it is high by chance."""

    min_recall: Fraction
    """The lower end of every class's external recall's 95 % interval must lie above this."""

    candidates: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    """Strategies that may become champion: those whose training a consortium would accept."""

    @field_validator("candidates")
    @classmethod
    def _candidates_arenamed_once(cls, candidates: tuple[str, ...]) -> tuple[str, ...]:
        return named_once(candidates, "candidate")
