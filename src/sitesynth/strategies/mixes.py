"""Mixes: how many synthetic scans of each site and class a classifier learns from.

A mix takes the first scans of the pool, which was drawn once: a larger mix contains a smaller one.
Classes count alike; within a class, a site counts by its number of scans. All sites' synthetic
scans together are drawn as often as all sites' real ones, where there are both.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch

from sitesynth.classifiers.training import Examples
from sitesynth.errors import TrainingError
from sitesynth.settings import STAGED


__all__ = [
    "EQUAL",
    "PROPORTIONAL",
    "TUNED",
    "Mix",
    "equal_mix",
    "fit_budget",
    "mix_of",
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


def pool_of(pool: Mapping[str, Examples], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count the pool, which bounds every mix."""
    return {
        site: {name: int((examples.labels == c).sum()) for c, name in enumerate(classes)}
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
    empty = [name for name in classes if not totals[name]]
    if empty:
        raise TrainingError(
            f"the mix {mix} has no scan of {empty}; a classifier needs scans of every class."
        )
    taken = {}
    for site, counts in mix.items():
        examples = pool[site]
        chosen = []
        for number, name in enumerate(classes):
            (found,) = (examples.labels == number).nonzero(as_tuple=True)
            if counts[name] > len(found):
                raise TrainingError(
                    f"the mix asks for {counts[name]} {name} scans of {site}, of which the pool "
                    f"has {len(found)}; run `dvc repro` to draw the pool and tune the mix anew."
                )
            chosen.append(found[: counts[name]])
        keep = torch.cat(chosen).sort().values
        if len(keep):
            labels = examples.labels[keep]
            sizes = torch.tensor([totals[name] for name in classes]).double()
            taken[site] = Examples(
                examples.images[keep], examples.presence[keep], labels, len(mix) / sizes[labels]
            )
    return taken
