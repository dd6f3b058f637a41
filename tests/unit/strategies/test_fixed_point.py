"""Weights as whole numbers, with sums by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from jaxtyping import Int64

from sitesynth.errors import TrainingError
from sitesynth.strategies.averaging import Weights, average_weights
from sitesynth.strategies.fixed_point import MODULUS, average_of, count_numbers, numbers_of


SITES = ("alder", "birch", "cedar")
ONE = {"w": torch.tensor([1.0, -2.0]), "seen": torch.tensor(7)}
TWO = {"w": torch.tensor([4.0, 1.0]), "seen": torch.tensor(7)}


def summed(*parts: tuple[Weights, int, int]) -> Int64[np.ndarray, " numbers"]:
    """Return the sum of (weights, count, place)."""
    total: Int64[np.ndarray, " numbers"] = np.sum(
        [numbers_of(w, count=count, place=place, num_sites=3) for w, count, place in parts], axis=0
    )
    return total


def averaged(numbers: np.ndarray, *, needed: int = 2, like: Weights = ONE) -> Weights:
    return average_of(numbers, like=like, sites=SITES, needed=needed)


def test_two_sites_by_hand() -> None:
    """(2 x 1 + 1 x 4) / 3 = 2 and (2 x -2 + 1 x 1) / 3 = -1, exactly; a counter stays one."""
    numbers = summed((ONE, 2, 0), (TWO, 1, 2))
    found = averaged(numbers)

    assert numbers[:3].tolist() == [2, 0, 1]
    assert len(numbers) == count_numbers(ONE, 3) == 3 + 1 + 3
    assert found["w"].tolist() == [2.0, -1.0]
    assert found["seen"].dtype == torch.int64
    assert found["seen"].item() == 7
    assert list(found) == list(ONE)


def test_the_average_is_that_of_the_plain_text_within_the_grid() -> None:
    """Of 3000 weights, no average is off by more than half a step of 2^-30 and float32's own."""
    rng = torch.Generator().manual_seed(0)
    sites = [{"w": torch.randn(3000, generator=rng) / 20} for _ in SITES]
    counts = [58, 48, 43]
    parts = [(w, n, place) for place, (w, n) in enumerate(zip(sites, counts, strict=True))]
    found = averaged(summed(*parts), like=sites[0])["w"].double()
    expected = average_weights([{"w": w["w"].double()} for w in sites], counts)["w"]

    assert float((found - expected).abs().max()) <= 2**-31 + 2**-27
    assert not torch.equal(found, torch.zeros(3000, dtype=torch.float64))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_not_finite_never_leaves(bad: float) -> None:
    with pytest.raises(TrainingError, match=r"its w holds 1 numbers not finite; nothing is sent"):
        numbers_of({"w": torch.tensor([1.0, bad])}, count=1, place=0, num_sites=3)


def test_what_could_leave_the_modulus_is_refused_and_what_cannot_is_exact() -> None:
    """With 1 scan, three sites may hold 2^25 / 3 each: 11 million; with 10 scans a tenth of it."""
    room = MODULUS // 2 // 3 / 2**30
    most = torch.tensor([math.floor(room / 2)], dtype=torch.float64)
    numbers = summed(*(({"w": most}, 1, place) for place in range(3)))

    assert averaged(numbers, like={"w": most})["w"].item() == most.item()
    assert int(numbers.max()) <= MODULUS // 2
    with pytest.raises(TrainingError, match=r"its w holds 5\.59e\+06, which, counted by 10 scans"):
        numbers_of({"w": most}, count=10, place=0, num_sites=3)
    with pytest.raises(TrainingError, match="together too long"):
        numbers_of({"w": most.expand(9)}, count=1, place=0, num_sites=3)


def refusal(numbers: Sequence[int] | np.ndarray, match: str) -> None:
    with pytest.raises(TrainingError, match=match):
        averaged(np.asarray(numbers, np.int64))


def test_a_sum_that_nobody_made_is_refused() -> None:
    """Too few sites, a part a thousand times too long, negative or absurd counts."""
    good = summed((ONE, 2, 0), (TWO, 1, 2))
    blown = good.copy()
    blown[4:] *= 1000
    negative = good.copy()
    negative[1] = -1
    absurd = good.copy()
    absurd[0] = 10**9

    averaged(good)
    refusal(summed((ONE, 2, 0)), r"holds the weights of 1 sites \['alder'\], and a round needs 2")
    refusal(blown, "as long as its parts can make it")
    refusal(negative, "sealed with another key, or garbled")
    refusal(absurd, "sealed with another key, or garbled")


def test_a_site_without_scans_has_nothing_to_count_by() -> None:
    with pytest.raises(TrainingError, match="count by 0 cannot be summed"):
        numbers_of(ONE, count=0, place=0, num_sites=3)
