"""Which synthetic scans a replicate takes, and how often each scan is drawn in training.

Every scan counts alike within its class, real or synthetic, so that a larger amount thins the real
scans out, as a larger data set would. (A mix, by contrast, is drawn as often as the real scans
whatever its size; see `strategies.mixes`.)
"""

from collections.abc import Iterable, Mapping, Sequence

import torch

from sitesynth.classifiers.training import Examples
from sitesynth.supplementation.amounts import Counts


__all__ = ["draw_scans", "weigh_alike"]


def draw_scans(
    pool: Mapping[str, Examples], counts: Counts, classes: Sequence[str], *, rng: torch.Generator
) -> dict[str, Examples]:
    """Draw synthetic scans from the pool, without replacement, in the order of sites and classes.

    Args:
        pool: What the hub drew from each site's bundle.
        counts: How many scans of each site and class.
        classes: The classes in the order of their numbers.
        rng: Source of the choice; another replicate has another one.
    """
    drawn = {}
    for site in sorted(pool):
        examples, chosen = pool[site], []
        for number, name in enumerate(classes):
            (found,) = (examples.labels == number).nonzero(as_tuple=True)
            order = torch.randperm(len(found), generator=rng)
            chosen.append(found[order[: counts[site][name]]])
        keep = torch.cat(chosen).sort().values
        if len(keep):
            drawn[site] = Examples(
                examples.images[keep],
                examples.presence[keep],
                examples.labels[keep],
                examples.weights[keep],
            )
    return drawn


def weigh_alike(parts: Iterable[Examples], *, num_classes: int) -> list[Examples]:
    """Return the same scans, drawn so that classes count alike, and within a class all scans."""
    listed = list(parts)
    labels = torch.cat([part.labels for part in listed])
    weights = 1.0 / labels.bincount(minlength=num_classes).double()
    return [
        Examples(part.images, part.presence, part.labels, weights[part.labels]) for part in listed
    ]
