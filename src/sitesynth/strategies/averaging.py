"""The hub's half of a round: average the sites' weights, and step toward the average."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor


__all__ = ["Weights", "average_weights", "step_toward"]

Weights = Mapping[str, Tensor]
"""A classifier's weights by name."""


def average_weights(models: Sequence[Weights], counts: Sequence[float]) -> dict[str, Tensor]:
    """Average models weighted by `counts` (McMahan et al., 2017, Algorithm 1).

    Args:
        models: Weights by name; all with the same names and shapes.
        counts: What each model counts by, e.g. the scans that it has seen.

    Returns:
        New weights, each of the type of the first model's.
    """
    total = float(sum(counts))
    averages = {}
    for name, value in models[0].items():
        # In float64 and one after the other, so that neither float32 nor a tensor's layout in
        # memory decides the last digits.
        summed = torch.zeros(value.shape, dtype=torch.float64)
        for weights, count in zip(models, counts, strict=True):
            summed += weights[name].double() * (count / total)
        averages[name] = summed.to(value.dtype)
    return averages


def step_toward(
    average: Weights,
    weights: Weights,
    velocity: Weights,
    *,
    trained: Collection[str],
    learning_rate: float,
    momentum: float,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take the hub's step from `weights` along the average change (Reddi et al., 2021).

        velocity' = momentum * velocity + (average - weights)
        weights'  = weights + learning_rate * velocity'

    Args:
        average: The sites' average.
        weights: What the sites started from.
        velocity: The last step's, in float64; empty before the first.
        trained: Names of the weights that have gradients; others, such as the running statistics
            of a normalization, are averaged and not stepped.
        learning_rate: Of the hub.
        momentum: Of the hub.

    Returns:
        The new weights and the new velocity.
    """
    if learning_rate == 1.0 and momentum == 0.0:
        # Federated averaging: the average itself, not w + (average - w), which rounds.
        return dict(average), {}
    stepped, moving = dict(average), {}
    for name in sorted(trained):
        change = average[name].double() - weights[name].double()
        moving[name] = change + momentum * velocity[name] if name in velocity else change
        moved = weights[name].double() + learning_rate * moving[name]
        stepped[name] = moved.to(weights[name].dtype)
    return stepped, moving
