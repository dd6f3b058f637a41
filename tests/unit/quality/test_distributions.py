"""Distributions whose distance is known by hand, or by scipy."""

import numpy as np
import pytest
from scipy import stats

from sitesynth.quality.distributions import compare, describe, wasserstein


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_the_distance_is_scipys() -> None:
    """For unequal sizes and weights, row by row."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=7), rng.normal(1, 2, size=5)
    a, b = rng.dirichlet(np.ones(7), size=4), rng.dirichlet(np.ones(5), size=4)
    expected = [stats.wasserstein_distance(x, y, u, v) for u, v in zip(a, b, strict=True)]

    np.testing.assert_allclose(wasserstein(x, y, a, b), expected)


def test_a_shift_is_its_own_distance() -> None:
    """Every quantile moves by 3; no other pair of means or distances would do."""
    x = np.array([1.0, 2.0, 5.0, 9.0])
    found = compare(
        x + 3, x, patients_x=names(4), patients_y=names(4), num_resamples=50,
        rng=np.random.default_rng(0),
    )  # fmt: skip

    assert found is not None
    assert found["difference"]["value"] == found["distance"]["value"] == 3


def test_a_spread_has_a_distance_and_no_difference() -> None:
    """-1, 1 against -3, 3: means are equal, and each half moves by 2."""
    found = compare(
        np.array([-3.0, 3.0]), np.array([-1.0, 1.0]), patients_x=names(2), patients_y=names(2),
        num_resamples=50, rng=np.random.default_rng(0),
    )  # fmt: skip

    assert found is not None
    assert found["difference"]["value"] == 0
    assert found["distance"]["value"] == 2


def test_intervals_of_a_difference_hold_it_about_as_often_as_promised() -> None:
    """60 patients against 60, 200 times: 95 %, give or take what 200 can tell."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        found = compare(
            rng.normal(1, 1, 60), rng.normal(0, 2, 60), patients_x=names(60),
            patients_y=names(60), num_resamples=200, rng=rng,
        )  # fmt: skip
        assert found is not None
        hits += found["difference"]["low"] <= 1 <= found["difference"]["high"]

    assert 0.89 <= hits / 200 <= 0.985


def test_scans_of_one_patient_are_no_independent_evidence() -> None:
    """Ten scans each of four patients: the interval is that of four, not of forty."""
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(size=4), 10)
    apart, together = (
        describe(values, owners, num_resamples=500, rng=np.random.default_rng(0))
        for owners in (names(40), [str(number // 10) for number in range(40)])
    )

    assert apart is not None
    assert together is not None
    assert together["high"] - together["low"] > 2 * (apart["high"] - apart["low"])


def test_unknown_values_are_left_out() -> None:
    told = describe(
        np.array([1.0, np.nan, 3.0]), names(3), num_resamples=20, rng=np.random.default_rng(0)
    )

    assert told is not None
    assert (told["n"], told["value"], told["quartiles"]) == (2, 2.0, [1.5, 2.0, 2.5])


@pytest.mark.parametrize("missing", [np.array([]), np.array([np.nan])])
def test_nothing_known_is_none(missing: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    known, whose = np.array([1.0, 2.0]), names(len(missing))

    assert describe(missing, whose, num_resamples=20, rng=rng) is None
    assert (
        compare(missing, known, patients_x=whose, patients_y=names(2), num_resamples=20, rng=rng)
        is None
    )
