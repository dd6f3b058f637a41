"""Mixes: how many synthetic scans of each site and class a classifier learns from.

A mix takes the first scans of the pool, which was drawn once: a larger mix contains a smaller one.
Classes count alike; within a class, a site counts by its number of scans. All sites' synthetic
scans together are drawn as often as all sites' real ones, where there are both.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from sitesynth.classifiers.training import Examples
from sitesynth.errors import TrainingError
from sitesynth.patterns import ANY
from sitesynth.settings import STAGED


__all__ = [
    "EQUAL",
    "PROPORTIONAL",
    "TUNED",
    "Mix",
    "cells_of",
    "count_as",
    "equal_mix",
    "fit_budget",
    "mix_of",
    "mixes_without",
    "per_class",
    "pool_of",
    "proportional_mix",
    "take",
]

Mix = Mapping[str, Mapping[str, int]]
"""Number of scans by site and class."""

EQUAL, PROPORTIONAL, TUNED = "equal", "proportional", "tuned"


def mix_of(strategy: str) -> str:
    """Return the name of a strategy's mix: what stands after the hyphen, or else the tuned one."""
    _, _, name = strategy.removesuffix(STAGED).partition("-")
    return name or TUNED


def cells_of(examples: Examples, classes: Sequence[str]) -> dict[str, Tensor]:
    """Return which of a site's scans a mix counts together: those of a class.

    Findings do not exclude one another, so scans are counted whatever they have; they lie in an
    order whose every beginning has the site's patterns in proportion (`sampling.write_samples`).
    """
    if examples.labels.ndim > 1:
        return {ANY: torch.arange(len(examples))}
    return {
        name: (examples.labels == number).nonzero(as_tuple=True)[0]
        for number, name in enumerate(classes)
    }


def pool_of(pool: Mapping[str, Examples], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count the pool, which bounds every mix."""
    return {
        site: {name: len(found) for name, found in cells_of(examples, classes).items()}
        for site, examples in pool.items()
    }


def per_class(mix: Mix) -> dict[str, int]:
    """Return the scans of each class, all sites together."""
    classes = list(next(iter(mix.values())))
    return {name: sum(counts[name] for counts in mix.values()) for name in classes}


def equal_mix(pool: Mix, *, max_total: int) -> Mix:
    """Return the largest mix of as many scans from every site and class."""
    cells = [count for counts in pool.values() for count in counts.values()]
    count = min(max_total // len(cells), *cells)
    return {site: dict.fromkeys(counts, count) for site, counts in pool.items()}


def mixes_without(pool: Mix, *, max_total: int) -> dict[str, Mix]:
    """Return, by name, the equal mix of all sites but one, for each of them; of one site, none."""
    if len(pool) == 1:
        return {}
    mixes: dict[str, Mix] = {}
    for left_out in sorted(pool):
        others = {site: counts for site, counts in pool.items() if site != left_out}
        nothing = dict.fromkeys(pool[left_out], 0)
        equal = equal_mix(others, max_total=max_total)
        mixes[f"without-{left_out}"] = {site: equal.get(site, nothing) for site in pool}
    return mixes


def proportional_mix(pool: Mix, scans: Mix, *, max_total: int) -> Mix:
    """Return the largest mix in proportion to what each site's generator was trained on.

    Args:
        pool: What there is to take.
        scans: Training scans by site and class, as the bundles' cards say.
        max_total: The budget.
    """
    # Fractions, because 0.1 * 30 is not 3.
    scales = [
        Fraction(pool[site][name], count)
        for site, counts in scans.items()
        for name, count in counts.items()
        if count
    ]
    scale = min(Fraction(max_total, sum(per_class(scans).values())), *scales)
    return {
        site: {name: int(scans[site][name] * scale) for name in counts}
        for site, counts in pool.items()
    }


def count_as(pool: Mix, scans: Mix) -> Mix:
    """Return the scans that generators were trained on, in the cells of a pool."""
    return {
        site: {ANY: sum(counts.values())} if set(pool[site]) == {ANY} else counts
        for site, counts in scans.items()
    }


def fit_budget(mix: Mix, *, max_total: int) -> Mix:
    """Return a mix, shrunk evenly if it exceeds the budget."""
    total = sum(per_class(mix).values())
    if total <= max_total:
        return mix
    return {
        site: {name: count * max_total // total for name, count in counts.items()}
        for site, counts in mix.items()
    }


def take(pool: Mapping[str, Examples], mix: Mix, classes: Sequence[str]) -> dict[str, Examples]:
    """Take a mix out of the pool; a site that gives nothing to it is left out.

    Raises:
        TrainingError: If the mix asks for more than there is, or leaves a class without a scan.
    """
    totals = per_class(mix)
    empty = [name for name in totals if not totals[name]]
    if empty:
        raise TrainingError(
            f"the mix {mix} has no scan of {empty}; a classifier needs scans of every class."
        )
    taken = {}
    for site, counts in mix.items():
        examples = pool[site]
        chosen = []
        for name, found in cells_of(examples, classes).items():
            if counts[name] > len(found):
                raise TrainingError(
                    f"the mix asks for {counts[name]} {name} scans of {site}, of which the pool "
                    f"has {len(found)}; run `dvc repro` to draw the pool and tune the mix anew."
                )
            chosen.append(found[: counts[name]])
        keep = torch.cat(chosen).sort().values
        if len(keep):
            labels = examples.labels[keep]
            sizes = torch.tensor([*totals.values()]).double()
            of_cell = labels if labels.ndim == 1 else torch.zeros(len(labels), dtype=torch.long)
            taken[site] = Examples(
                examples.images[keep], examples.presence[keep], labels, len(mix) / sizes[of_cell]
            )
    return taken
