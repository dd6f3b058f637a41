"""The average of several models' weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


__all__ = ["average_weights"]


def average_weights(
    models: Sequence[Mapping[str, Tensor]], counts: Sequence[float]
) -> dict[str, Tensor]:
    """Average models weighted by `counts` (McMahan et al., 2017, Algorithm 1).

    Args:
        models: Weights by name; all with the same names and shapes.
        counts: What each model counts by, e.g. the scans that it has seen.

    Returns:
        New weights, each of the type of the first model's.
    """
    total = float(sum(counts))
    # In float64, so that the order of the sites does not show in the last digits of float32.
    return {
        name: torch.stack(
            [
                weights[name].double() * (count / total)
                for weights, count in zip(models, counts, strict=True)
            ]
        )
        .sum(dim=0)
        .to(value.dtype)
        for name, value in models[0].items()
    }
