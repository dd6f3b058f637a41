"""Weights as whole numbers, whose sums are exact.

    site   r_i = n_i * round(2^30 w_i)        w: a weight, n: what the site counts by
    hub    sum of r_i, modulo MODULUS
    sites  sum of r_i / (2^30 * sum of n_i)   the average (McMahan et al., 2017)

Before the weights stand what lets every site judge a sum that nobody saw the parts of:

    one number a site   n_i at the site's own place, else 0: who is in the sum, and how often
    one number          n_i * |r_i| of all weights, so that their sum is no shorter than the sum
                        of the weights (the triangle inequality)

A number that is not finite, or that could leave the modulus in a sum of all sites, is refused.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from sitesynth.errors import TrainingError
from sitesynth.strategies.averaging import Weights


__all__ = ["MODULUS", "average_of", "count_numbers", "numbers_of"]

MODULUS: Final = 72_057_594_037_641_217
"""The largest prime below 2^56 that is 1 modulo 8192, as batches of 4096 numbers need it."""

FRACTION_BITS: Final = 30
MOST_SCANS: Final = 10**7
"""More than any site counts by: what is above was not opened but garbled."""

ROUNDING: Final = 1e-9


def count_numbers(like: Weights, num_sites: int) -> int:
    """Return how many numbers weights become."""
    return num_sites + 1 + sum(value.numel() for value in like.values())


def numbers_of(
    weights: Weights, *, count: int, place: int, num_sites: int
) -> Int64[np.ndarray, " numbers"]:
    """Return what a site gives to a sum.

    Args:
        weights: The site's weights.
        count: What they count by.
        place: The site's number among the sites, from 0.
        num_sites: Sites of the federation.

    Raises:
        TrainingError: If a weight is not finite, or too large to be summed.
    """
    if not 1 <= count <= MOST_SCANS:
        raise TrainingError(
            f"weights that count by {count} cannot be summed unseen: 1 to {MOST_SCANS} is allowed. "
            "Correct the site's scans, or set federated.weighting to equal."
        )
    room = MODULUS // 2 // num_sites
    parts = []
    for name in sorted(weights):
        whole = _scaled(weights[name])
        bad = int((~np.isfinite(whole)).sum())
        if bad:
            raise TrainingError(f"its {name} holds {bad} numbers not finite; nothing is sent.")
        largest = float(np.abs(whole).max(initial=0.0))
        if largest * count > room:
            raise TrainingError(
                f"its {name} holds {largest / _unit(weights[name]):.3g}, which, counted by {count} "
                f"scans, is too large for a sum of {num_sites} sites; nothing is sent. Set "
                "federated.encryption to none, or find why weights grow so."
            )
        parts.append(whole)
    values = np.concatenate(parts)
    norm = math.ceil(float(np.linalg.norm(values)) * (1 + ROUNDING))
    if norm * count > room:
        raise TrainingError(
            f"its weights are together too long ({norm / 2**FRACTION_BITS:.3g}) for a sum of "
            f"{num_sites} sites counted by {count} scans; nothing is sent. Set "
            "federated.encryption to none, or find why weights grow so."
        )
    head = np.zeros(num_sites + 1, np.int64)
    head[place], head[-1] = 1, norm
    return np.concatenate([head, values.astype(np.int64)]) * count


def average_of(
    numbers: Int64[np.ndarray, " numbers"], *, like: Weights, sites: Sequence[str], needed: int
) -> dict[str, Tensor]:
    """Return the average that a sum of several sites' numbers stands for.

    Args:
        numbers: The sum.
        like: Weights of the same names, shapes and types.
        sites: Names of the federation's sites, in order.
        needed: Sites that must be in it.

    Raises:
        TrainingError: If the sum is not one of the sites' numbers, or of too few.
    """
    counts, norm = numbers[: len(sites)], int(numbers[len(sites)])
    values = numbers[len(sites) + 1 :].astype(np.float64)
    if (counts < 0).any() or (counts > MOST_SCANS).any():
        raise TrainingError(
            "the hub's sum opens to no weights: it was sealed with another key, or garbled. Give "
            "all sites the same key, and run it again."
        )
    present = [site for site, count in zip(sites, counts, strict=True) if count > 0]
    if len(present) < needed:
        raise TrainingError(
            f"the hub's sum holds the weights of {len(present)} sites {present}, and a round needs "
            f"{needed}. Find why the hub left the others out; federated.min_sites allows it to."
        )
    length = float(np.linalg.norm(values))
    if length > norm * (1 + ROUNDING):
        raise TrainingError(
            f"the hub's sum of weights is {length / max(norm, 1):.3g} times as long as its parts "
            "can make it: a part was not what its site said. Nothing is trained from it."
        )
    total = int(counts.sum())
    average, start = {}, 0
    for name in sorted(like):
        value = like[name]
        part = values[start : start + value.numel()] / (total * _unit(value))
        start += value.numel()
        exact = torch.from_numpy(part).reshape(value.shape)
        average[name] = (exact if value.is_floating_point() else exact.round()).to(value.dtype)
    return {name: average[name] for name in like}


def _scaled(value: Tensor) -> Float64[np.ndarray, " count"]:
    """Return a tensor in units of the fixed point, whole unless it is not finite."""
    flat = value.detach().cpu().double().flatten().numpy()
    whole: Float64[np.ndarray, " count"] = np.rint(flat * _unit(value))
    return whole


def _unit(value: Tensor) -> int:
    """Return how many units 1 is; counters have no fraction."""
    return 2**FRACTION_BITS if value.is_floating_point() else 1
