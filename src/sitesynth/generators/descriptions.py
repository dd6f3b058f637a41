"""Describing a site's covariates so that the hub can draw from them, and no patient is told of.

A covariate is a number if every known word is one and there are more than `MOST_VALUES` different
ones, as in subgroups (ADR 24); else its words are categories. What is told is counted by patient
and thresholded (ADR 28):

1. a category of fewer than `MIN_PATIENTS` training patients is withheld: the generator takes it
   for unknown, in training too;
2. a cell of fewer gives up its last category, then the one before, until it has as many together
   with others that did; what is still smaller in the end is not told;
3. means and spreads are rounded to about a tenth of the site's spread, so that the difference of
   two tables does not tell of the patients between them.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sitesynth.errors import CohortError
from sitesynth.generators.covariates import (
    MIN_PATIENTS,
    CategoryCovariate,
    Cell,
    Covariates,
    Moments,
    NumberCovariate,
    as_number,
    category_of,
)


__all__ = ["describe_covariates"]

MOST_VALUES = 6
"""A covariate of numbers with no more different values than this is one of categories."""

DIGITS = 9
"""Decimals kept: floating-point dust is not."""

STEPS_PER_SPREAD = 5.0
"""Least steps of rounding in a standard deviation; at 5, a step is 0.08 to 0.2 of it."""

Bounds = Mapping[str, tuple[float, float]]
Column = NumberCovariate | CategoryCovariate


def describe_covariates(
    training: pd.DataFrame,
    names: Sequence[str],
    *,
    label: str,
    classes: Sequence[str],
    site: str,
    bounds: Bounds,
) -> Covariates:
    """Describe the covariates of a site's training scans.

    Args:
        training: Table of the training scans, every cell a string.
        names: Covariates, the most important first: the last are the first to be given up.
        label: The task's label column.
        classes: Its classes, in order.
        site: Whose they are, for messages.
        bounds: By covariate: what is plausible anywhere.

    Raises:
        CohortError: If nothing of a covariate may be told, because it is unknown for all training
            scans or no value of it is of enough patients.
    """
    # A patient of several scans counts by the first, in each class.
    rows = training.drop_duplicates(["patient_id", label])
    columns = [_describe_column(rows, name, site=site, bounds=bounds.get(name)) for name in names]
    return Covariates(
        columns=tuple(columns),
        cells=tuple(tuple(_find_cells(rows[rows[label] == name], columns)) for name in classes),
    )


def _describe_column(
    rows: pd.DataFrame, name: str, *, site: str, bounds: tuple[float, float] | None
) -> Column:
    known = rows.loc[rows[name] != "", ["patient_id", name]].drop_duplicates("patient_id")
    words = [str(word) for word in known[name]]
    hint = (
        f"Fill it in, or leave it out at this site: overrides.{site}.diffusion.covariates. An "
        "unknown value in some scans is fine."
    )
    num_patients = rows["patient_id"].nunique()
    if not words:
        raise CohortError(
            f"diffusion.covariates names {name}, but it is unknown for all {num_patients} training "
            f"patients of {site}. {hint}"
        )
    numbers = [number for word in words if (number := as_number(word)) is not None]
    if len(numbers) == len(words) and len(set(numbers)) > MOST_VALUES:
        moments = _moments(numbers, step=_step_of(float(np.std(numbers))))
        return NumberCovariate(
            kind="number", name=name, mean=moments.mean, std=moments.std, bounds=bounds
        )
    categories = _categories_of(words)
    if not categories:
        raise CohortError(
            f"diffusion.covariates names {name}, but none of its values is of {MIN_PATIENTS} or "
            f"more of the {num_patients} training patients of {site}; of fewer none is told. {hint}"
        )
    return CategoryCovariate(kind="category", name=name, categories=categories)


def _categories_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of enough patients; 3 and 3.0 are one."""
    counts: Counter[str] = Counter()
    for word in sorted(words):
        counts[category_of(word, counts) or word] += 1
    return tuple(word for word, count in sorted(counts.items()) if count >= MIN_PATIENTS)


def _find_cells(rows: pd.DataFrame, columns: Sequence[Column]) -> list[Cell]:
    """Return the cells of one class; `rows` has one row per patient."""
    places = [n for n, column in enumerate(columns) if isinstance(column, CategoryCovariate)]
    keys = [
        [
            category_of(str(row[column.name]), column.categories)
            if isinstance(column, CategoryCovariate)
            else None
            for column in columns
        ]
        for row in rows.to_dict("records")
    ]
    for place in reversed(places):
        counts = Counter(map(tuple, keys))
        for key in keys:
            if counts[tuple(key)] < MIN_PATIENTS:
                key[place] = None
    cells = []
    counts = Counter(map(tuple, keys))
    for shared, count in sorted(counts.items(), key=str):
        if count >= MIN_PATIENTS:
            inside = rows[[tuple(key) == shared for key in keys]]
            told = [
                _moments_of(inside[column.name], column)
                if isinstance(column, NumberCovariate)
                else word
                for column, word in zip(columns, shared, strict=True)
            ]
            cells.append(Cell(patients=count, told=tuple(told)))
    return cells


def _moments_of(words: pd.Series, column: NumberCovariate) -> Moments | None:
    known = [number for word in words if (number := as_number(word)) is not None]
    if len(known) < MIN_PATIENTS:
        return None
    return _moments(known, step=_step_of(column.std))


def _moments(numbers: Sequence[float], *, step: float) -> Moments:
    """Return rounded moments; the spread is never told to be 0, as if all patients were equal."""
    mean, std = (
        round(round(float(value) / step) * step, DIGITS)
        for value in (np.mean(numbers), np.std(numbers))
    )
    return Moments(mean=mean, std=max(std, step))


def _step_of(std: float) -> float:
    """Return the largest of 1, 2, 5, 10, ... that is at most a `STEPS_PER_SPREAD` of a spread."""
    most = std / STEPS_PER_SPREAD
    power = 10.0 ** math.floor(math.log10(most))
    return max(nice * power for nice in (1.0, 2.0, 5.0) if nice * power <= most or nice == 1.0)
