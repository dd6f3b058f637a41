"""Covariates of synthetic scans: drawn from what a bundle tells of its site, or as asked for.

A scan's covariates come from (seed, site, class, index) alone, like its noise, so that they are the
same in any batch. Cells are taken in a sequence of low discrepancy: the first n scans of a class
have the site's mix to within a scan or two, for every n.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Final

from sitesynth import seeds
from sitesynth.errors import SitesynthError
from sitesynth.generators.covariates import (
    MIN_PATIENTS,
    Cell,
    Covariates,
    Moments,
    NumberCovariate,
    as_number,
    category_of,
)


__all__ = ["check_asked", "draw_covariates"]

GOLDEN: Final = (math.sqrt(5) - 1) / 2
"""Multiples of it modulo 1 fill the interval evenly, however many there are."""

MAX_DRAWN: Final = 2.0
"""Standard deviations from a cell's mean within which numbers are drawn."""

MAX_ASKED: Final = 3.0
"""Standard deviations from a site's mean beyond which a generator has learned nothing."""

DIGITS: Final = 3
"""Significant digits of what is drawn; the network is told what the table says."""


def check_asked(
    covariates: Covariates | None, asked: Mapping[str, str], *, site: str
) -> dict[str, str]:
    """Return what is asked for in the generator's own words.

    Args:
        covariates: What the generator knows; None if it knows none.
        asked: By covariate: a number, a category, or "" for unknown.
        site: Whose generator it is, for messages.

    Raises:
        SitesynthError: If the generator does not know the covariate, or has not learned the value.
    """
    columns = {column.name: column for column in covariates.columns} if covariates else {}
    told = {}
    for name, word in asked.items():
        if name not in columns:
            raise SitesynthError(
                f"the generator of {site} knows the covariates {list(columns)}, not '{name}'."
            )
        column = columns[name]
        if isinstance(column, NumberCovariate):
            told[name] = _check_number(column, word, site)
        elif word and category_of(word, column.categories) is None:
            raise SitesynthError(
                f"the generator of {site} knows {name} as one of {list(column.categories)}, not "
                f"'{word}'; values of fewer than {MIN_PATIENTS} patients are withheld."
            )
        else:
            told[name] = category_of(word, column.categories) or ""
    return told


def draw_covariates(
    covariates: Covariates,
    asked: Mapping[str, str],
    *,
    number: int,
    index: int,
    seed: int,
    site: str,
    name: str,
) -> dict[str, str]:
    """Draw the covariates of one synthetic scan, as words of a table; "" is unknown.

    Categories that are asked for narrow the cells, if the class has a cell of them; what is not
    asked for is drawn.

    Args:
        covariates: What the generator knows.
        asked: By covariate; see `check_asked`.
        number: The number of the scan's class.
        index: Which scan of that class.
        seed: Root seed.
        site: Whose generator it is; names the randomness, as do `name` and `index`.
        name: The scan's class.
    """
    of_class = seeds.numpy_generator(seed, "covariates", site, name)
    of_scan = seeds.numpy_generator(seed, "covariates", site, name, index)
    place = (float(of_class.random()) + index * GOLDEN) % 1
    cell = _cell_at(place, _matching(covariates, covariates.cells[number], asked))
    drawn = {}
    for position, column in enumerate(covariates.columns):
        uniform = float(of_scan.random())
        value = cell.told[position] if cell else None
        if column.name in asked:
            drawn[column.name] = asked[column.name]
        elif isinstance(column, NumberCovariate) and isinstance(value, Moments):
            drawn[column.name] = _draw_number(column, value, uniform)
        else:
            drawn[column.name] = value if isinstance(value, str) else ""
    return drawn


def _check_number(column: NumberCovariate, word: str, site: str) -> str:
    if not word:
        return ""
    low, high = (column.mean + side * MAX_ASKED * column.std for side in (-1, 1))
    if column.bounds is not None:
        low, high = max(low, column.bounds[0]), min(high, column.bounds[1])
    number = as_number(word)
    if number is None or not low <= number <= high:
        raise SitesynthError(
            f"the generator of {site} has learned {column.name} around {column.mean:g} (standard "
            f"deviation {column.std:g}): it takes a number from {low:g} to {high:g}, not '{word}'."
        )
    return word


def _matching(
    covariates: Covariates, cells: Sequence[Cell], asked: Mapping[str, str]
) -> Sequence[Cell]:
    """Return the cells that have the categories asked for; all, if none has."""
    wanted = [
        (position, asked[column.name] or None)
        for position, column in enumerate(covariates.columns)
        if column.name in asked and not isinstance(column, NumberCovariate)
    ]
    having = [cell for cell in cells if all(cell.told[p] == word for p, word in wanted)]
    return having or cells


def _cell_at(place: float, cells: Sequence[Cell]) -> Cell | None:
    """Return the cell at a place in [0, 1) when each takes a length by its patients."""
    ends = list(accumulate(cell.patients for cell in cells))
    return next(
        (cell for cell, end in zip(cells, ends, strict=True) if place * ends[-1] < end), None
    )


def _draw_number(column: NumberCovariate, moments: Moments, uniform: float) -> str:
    normal = NormalDist()
    least = normal.cdf(-MAX_DRAWN)
    value = moments.mean + moments.std * normal.inv_cdf(least + uniform * (1 - 2 * least))
    if column.bounds is not None:
        value = min(max(value, column.bounds[0]), column.bounds[1])
    return f"{float(f'{value:.{DIGITS}g}'):g}"
