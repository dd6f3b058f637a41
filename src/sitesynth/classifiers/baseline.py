"""A baseline: a logistic regression on a few named facts, in a file that can be read by eye.

    score = intercept + sum of weight x (fact - centre) / spread

The score is the log odds of the positive class. Where a task predicts every class, each has a score
of its own, and probabilities are in proportion to their exponentials. Findings, told side by side,
have a score each, which is that finding's log odds.

A fact that is not known of a scan adds nothing, as the training scans' mean would. A word, such as
`sex = F`, is a fact of 1 or 0; one that training did not know is 0 for every word that it did.

Axes: n = scans, d = terms, c = classes of which a probability is predicted: the positive one, or
all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pandas as pd
from jaxtyping import Float64
from pydantic import Field
from scipy.special import expit, softmax

from sitesynth.classifiers.predictors import facts_of
from sitesynth.errors import MissingInputError
from sitesynth.images import ImageSet
from sitesynth.settings import Section
from sitesynth.storage import write_json


__all__ = ["Baseline", "Logistic", "Term", "read_baseline", "standardize", "write_baseline"]

FILE: Final = "baseline.json"


class Term(Section):
    """What one fact adds to the scores."""

    fact: str
    word: str | None
    """The word whose being there is 1; None for a number."""
    centre: float
    spread: float
    weights: tuple[float, ...]
    """For each score."""


class Logistic(Section):
    """Scores that are linear in facts: one, or one for each class."""

    intercepts: tuple[float, ...]
    """For each score."""
    terms: tuple[Term, ...]
    side_by_side: Annotated[bool, Field(exclude_if=lambda is_so: not is_so)] = False
    """Whether each score is the log odds of a finding of its own."""

    def predict(self, facts: pd.DataFrame) -> Float64[np.ndarray, "n c"]:
        """Return each scan's probability of the positive class, of every class or finding."""
        weights = np.array([term.weights for term in self.terms]).reshape(-1, len(self.intercepts))
        scores = np.array(self.intercepts) + standardize(facts, self.terms) @ weights
        chances: Float64[np.ndarray, "n c"] = (
            expit(scores)
            if len(self.intercepts) == 1 or self.side_by_side
            else softmax(scores, axis=1)
        )
        return chances


class Baseline(Section):
    """A logistic regression, and how it calls a scan."""

    strategy: str
    label: str
    classes: tuple[str, ...]
    positive: str | None
    """None where every class is predicted."""
    threshold: float | None
    """The probability from which a scan is called positive, chosen on validation; None where every
    class is predicted, and the most probable one called."""
    covariates: tuple[str, ...]
    """What the cohort called so."""
    strength: float | None
    """Inverse of the ridge penalty, chosen on validation; None where nothing is penalized."""
    logistic: Logistic

    def predict(self, images: ImageSet) -> Float64[np.ndarray, "n c"]:
        """Return each scan's probability of the positive class, or of every class."""
        return self.logistic.predict(
            facts_of(images, baseline=self.strategy, covariates=self.covariates)
        )


def standardize(facts: pd.DataFrame, terms: Sequence[Term]) -> Float64[np.ndarray, "n d"]:
    """Return the facts as numbers, in the units of the terms; 0 where one is not known."""
    columns = np.zeros((len(facts), len(terms)))
    for number, term in enumerate(terms):
        # Nothing is known of a sequence that no scan of the table has.
        if term.fact in facts:
            known = facts[term.fact]
            values = known if term.word is None else (known == term.word).where(known.notna())
            columns[:, number] = (values.to_numpy(dtype=float) - term.centre) / term.spread
    return np.nan_to_num(columns)


def write_baseline(folder: Path, baseline: Baseline) -> None:
    """Write a baseline."""
    write_json(folder / FILE, baseline.model_dump(mode="json"))


def read_baseline(folder: Path) -> Baseline:
    """Read a baseline.

    Raises:
        MissingInputError: If the folder holds none.
    """
    if not (folder / FILE).exists():
        raise MissingInputError(f"{folder} holds no baseline ({FILE}); run `dvc repro`.")
    return Baseline.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
