"""What a generator knows of its site's covariates, and covariates as numbers.

A covariate is a *number* (age) or one of some *categories* (sex, scanner). To the network it is one
number: a number in standard deviations from the site's mean, a category by its place in the list,
NaN where unknown. Missing values are normal, so unknown is a condition like any other.

How covariates occur together is a table of *cells* per class: how many patients share their
categories, and mean and standard deviation of their numbers. It leaves the site with the bundle, so
no cell has fewer than `MIN_PATIENTS` patients, and nothing of one patient is in it (ADR 28).

Axes: n = samples, v = covariates, d = columns: one per number, one per category.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, Self, final

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from sitesynth.settings import LABEL_SCORE, Section


__all__ = [
    "MIN_PATIENTS",
    "CategoryCovariate",
    "Cell",
    "Covariates",
    "Moments",
    "NumberCovariate",
    "as_number",
    "category_of",
    "score_names",
    "values_of",
]

MIN_PATIENTS = 5
"""Fewest patients of whom a category or a cell may tell."""

MOST = 1e9
"""No covariate is larger; a bundle that says so was not made by `package`."""

Word = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Bounded = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]
Spread = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]


@final
class NumberCovariate(Section):
    """A covariate that is a number at this site."""

    kind: Literal["number"]
    name: Word
    mean: Bounded
    std: Annotated[float, Field(ge=1e-9, le=MOST, allow_inf_nan=False)]
    bounds: Annotated[tuple[Bounded, Bounded], Field(strict=False)] | None
    """What is plausible anywhere, by the data contract and not by this site's patients."""

    @model_validator(mode="after")
    def _bounds_are_not_reversed(self) -> Self:
        if self.bounds is not None and self.bounds[0] > self.bounds[1]:
            raise ValueError(f"bounds {list(self.bounds)} must name the smaller first")
        return self


@final
class CategoryCovariate(Section):
    """A covariate that is one of some words at this site."""

    kind: Literal["category"]
    name: Word
    categories: Annotated[tuple[Word, ...], Field(strict=False, min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _categories_are_named_once(self) -> Self:
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"a category of {self.name} is named twice")
        return self


@final
class Moments(Section):
    """Mean and standard deviation of a number in a cell."""

    mean: Bounded
    std: Spread


@final
class Cell(Section):
    """Patients of one class who share their categories."""

    patients: Annotated[int, Field(ge=MIN_PATIENTS, le=10**9)]
    told: Annotated[tuple[Word | Moments | None, ...], Field(strict=False)]
    """By covariate, in order: the category they share, or the moments of their numbers; None where
    it is unknown, or would tell of too few."""


@final
class Covariates(Section):
    """The covariates that a generator is conditional on, and how they occur at its site."""

    columns: Annotated[
        tuple[Annotated[NumberCovariate | CategoryCovariate, Field(discriminator="kind")], ...],
        Field(strict=False, min_length=1, max_length=16),
    ]
    cells: Annotated[
        tuple[Annotated[tuple[Cell, ...], Field(strict=False, max_length=1000)], ...],
        Field(strict=False, min_length=1, max_length=100),
    ]
    """By class, in the order of the classes; a class without cells has none worth telling."""

    @model_validator(mode="after")
    def _cells_fit_the_columns(self) -> Self:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"a covariate is named twice in {list(self.names)}")
        for cell in (cell for cells in self.cells for cell in cells):
            if len(cell.told) != len(self.columns):
                raise ValueError(
                    f"a cell has {len(cell.told)} values for {len(self.columns)} covariates"
                )
            for column, value in zip(self.columns, cell.told, strict=True):
                if value is not None and not _fits(column, value):
                    raise ValueError(f"a cell's {column.name} must not be {value!r:.80}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The covariates in order."""
        return tuple(column.name for column in self.columns)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many categories each covariate has; 0 for a number."""
        return tuple(
            0 if isinstance(column, NumberCovariate) else len(column.categories)
            for column in self.columns
        )

    def encode(self, words: Mapping[str, str]) -> list[float]:
        """Return the numbers of one scan, NaN where unknown.

        Args:
            words: By covariate, as in a table; a category that this generator does not know, and an
                empty word, are unknown.
        """
        return [_encode(column, words[column.name]) for column in self.columns]

    def encode_table(self, table: pd.DataFrame) -> Float[Tensor, "n v"]:
        """Return the numbers of each of a table's scans."""
        words = zip(*(table[name] for name in self.names), strict=True)
        rows = [self.encode(dict(zip(self.names, row, strict=True))) for row in words]
        return torch.tensor(rows).reshape(len(table), len(self.names))

    def spread_out(self, values: Float[Tensor, "n v"]) -> Float[Tensor, "n d"]:
        """Return a column per number and per category: 1 where a scan is of it, NaN if unknown."""
        parts = []
        for size, value in zip(self.sizes, values.unbind(dim=1), strict=True):
            if size == 0:
                parts.append(value[:, None])
            else:
                of_each = torch.arange(size, device=value.device)
                is_it = (value[:, None] == of_each).float()
                parts.append(is_it.masked_fill(value.isnan()[:, None], float("nan")))
        return torch.cat(parts, dim=1)

    def expected(self) -> Float[Tensor, "_ d"]:
        """Return what `spread_out` is on average: over all classes, and then in each.

        From the cells alone, so that it says nothing that they do not.
        """
        told = [(number, cell) for number, cells in enumerate(self.cells) for cell in cells]
        if not told:
            return torch.zeros(len(self.cells) + 1, sum(max(size, 1) for size in self.sizes))
        means = self.spread_out(torch.tensor([self._middle_of(cell) for _, cell in told]))
        patients = torch.tensor([[float(cell.patients)] for _, cell in told])
        of_class = torch.tensor([number for number, _ in told])
        weights = patients * ~means.isnan()
        sums = weights * means.nan_to_num()
        everyone = sums.sum(dim=0) / weights.sum(dim=0).clamp_min(1)
        rows = [everyone]
        for number in range(len(self.cells)):
            # Weighted, not selected: a bundle is checked on tensors without values.
            inside = (of_class == number).float()[:, None]
            total = (inside * weights).sum(dim=0)
            average = (inside * sums).sum(dim=0) / total.clamp_min(1)
            rows.append(torch.where(total > 0, average, everyone))
        return torch.stack(rows)

    def _middle_of(self, cell: Cell) -> list[float]:
        words = [
            str(value.mean) if isinstance(value, Moments) else value or "" for value in cell.told
        ]
        return self.encode(dict(zip(self.names, words, strict=True)))


def score_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of the scores: of two classes one, of more one for each but the first."""
    if len(classes) == 2:  # noqa: PLR2004
        return (LABEL_SCORE,)
    return tuple(f"{LABEL_SCORE}_{name}" for name in classes[1:])


def values_of(covariates: Covariates | None, table: pd.DataFrame) -> Float[Tensor, "n v"] | None:
    """Return the covariates of a table's scans as numbers; None where there are none to tell."""
    return None if covariates is None else covariates.encode_table(table)


def category_of(word: str, categories: Iterable[str]) -> str | None:
    """Return the category that a word names, by its letters or else by its number: 3 is 3.0."""
    known = tuple(categories)
    if word in known:
        return word
    number = as_number(word)
    same = (category for category in known if as_number(category) == number)
    return None if number is None else next(same, None)


def as_number(word: str) -> float | None:
    """Return a word as a finite number, None if it is none."""
    try:
        number = float(word)
    except ValueError:
        return None
    return number if abs(number) <= MOST else None


def _encode(column: NumberCovariate | CategoryCovariate, word: str) -> float:
    if isinstance(column, NumberCovariate):
        number = as_number(word)
        return math.nan if number is None else (number - column.mean) / column.std
    category = category_of(word, column.categories)
    return math.nan if category is None else float(column.categories.index(category))


def _fits(column: NumberCovariate | CategoryCovariate, value: str | Moments) -> bool:
    if isinstance(column, NumberCovariate):
        return isinstance(value, Moments)
    return value in column.categories
