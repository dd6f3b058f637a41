"""How many synthetic scans a point of the curve takes.

An amount is a percentage of the real training scans, cell by cell: of each site and class in
proportion to how many real ones the site has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from sitesynth.errors import TrainingError


__all__ = ["Amount", "Counts", "amounts_of", "check_pool", "scans_of"]

Counts = Mapping[str, Mapping[str, int]]
"""Number of scans by site and class."""


@final
@dataclass(frozen=True, slots=True)
class Amount:
    """One point of the curve."""

    kind: Literal["added", "alone"]
    """Whether the real scans are there too."""
    percentage: int
    """Synthetic scans, in percent of the real ones."""

    @property
    def name(self) -> str:
        """How files and runs call it."""
        return f"{self.kind}-{self.percentage}"


def amounts_of(percentages: Sequence[int]) -> list[Amount]:
    """Return the points of the curve: each percentage added to real scans, and each alone."""
    alone = [Amount("alone", percentage) for percentage in percentages if percentage]
    return [Amount("added", percentage) for percentage in percentages] + alone


def scans_of(real: Counts, percentage: int) -> dict[str, dict[str, int]]:
    """Return how many synthetic scans that is of each site and class, rounded up."""
    return {
        site: {name: -(-count * percentage // 100) for name, count in counts.items()}
        for site, counts in real.items()
    }


def check_pool(real: Counts, pool: Counts, *, most: int) -> None:
    """Check that the pool holds the largest amount asked for.

    Args:
        real: Real training scans by site and class.
        pool: Synthetic scans by site and class.
        most: The largest percentage.

    Raises:
        TrainingError: If it does not; says how many would do.
    """
    asked = scans_of(real, most)
    short = [
        f"{site}/{name} has {pool[site][name]} of {count}"
        for site, counts in asked.items()
        for name, count in counts.items()
        if count > pool[site][name]
    ]
    if short:
        needed = max(count for counts in asked.values() for count in counts.values())
        raise TrainingError(
            f"supplementation.percentages asks for {most} % of the real scans, but the synthetic "
            f"pool is too small: {'; '.join(short)}. Set sampling.num_per_class to {needed} or "
            "more, or take smaller percentages."
        )
