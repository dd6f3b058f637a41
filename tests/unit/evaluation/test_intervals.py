"""Intervals with known ends, and how often they contain the truth."""

import numpy as np
import pytest
from scipy.special import expit, ndtr

from sitesynth.evaluation import intervals, metrics
from sitesynth.evaluation.intervals import Interval


def test_wilson_gives_the_published_interval() -> None:
    """Newcombe (1998), Statistics in Medicine 17:857, Table I: 81/263 and 15/148."""
    first = intervals.wilson_interval(81, 263)
    second = intervals.wilson_interval(15, 148)

    assert first is not None
    assert second is not None
    assert (round(first.low, 4), round(first.high, 4)) == (0.2553, 0.3662)
    assert (round(second.low, 4), round(second.high, 4)) == (0.0624, 0.1605)


def test_all_of_twelve_is_not_certainty() -> None:
    """At p = 1 Wilson's low end is n / (n + z^2) = 12 / 15.84."""
    found = intervals.wilson_interval(12, 12)

    assert found is not None
    assert found.low == pytest.approx(12 / (12 + 1.959964**2))
    assert found.high == 1.0


def test_no_trial_has_no_interval() -> None:
    assert intervals.wilson_interval(0, 0) is None


def test_a_sum_of_two_has_the_width_of_pythagoras() -> None:
    """Half widths .3 and .4 give .5 for the sum, .25 for the mean."""
    parts = [(0.5, 0.5, Interval(0.2, 0.8)), (0.5, 0.5, Interval(0.1, 0.9))]
    found = intervals.weighted_interval(parts)

    assert found.low == pytest.approx(0.25)
    assert found.high == pytest.approx(0.75)


def test_a_part_with_all_the_weight_keeps_its_interval() -> None:
    found = intervals.weighted_interval(
        [(1.0, 0.5, Interval(0.2, 0.8)), (0.0, 0.9, Interval(0, 1))]
    )

    assert found.low == pytest.approx(0.2)
    assert found.high == pytest.approx(0.8)


def test_delong_variance_of_two_by_two_is_the_one_by_hand() -> None:
    """Positives .9 .4, negatives .5 .1: V10 = (1, .5), V01 = (.5, 1), AUC .75.

    Either variance is .125, so the AUC's is .125 / 2 + .125 / 2 = .125; on the logit scale the
    half width is 1.96 * sqrt(.125) / (.75 * .25) around log 3.
    """
    found = intervals.auc_interval(
        np.array([True, True, False, False]), np.array([0.9, 0.4, 0.5, 0.1])
    )
    half = 1.959964 * 0.125**0.5 / (0.75 * 0.25)

    assert found is not None
    assert found.low == pytest.approx(expit(np.log(3) - half), abs=1e-7)
    assert found.high == pytest.approx(expit(np.log(3) + half), abs=1e-7)


def test_a_perfect_auc_is_not_certain() -> None:
    """DeLong's interval would be [1, 1]; for ten patients, Newcombe's ends well below."""
    found = intervals.auc_interval(np.arange(10) >= 5, np.arange(10) / 10)

    assert found is not None
    assert found.high == 1.0
    assert 0.6 < found.low < 0.8


def test_more_perfect_patients_are_more_certain() -> None:
    lows = [intervals.newcombe_interval(1.0, size, size).low for size in (5, 50, 500)]

    assert lows == sorted(lows)
    assert lows[-1] > 0.99


def test_newcombe_is_symmetric_in_the_direction_of_the_test() -> None:
    up = intervals.newcombe_interval(0.9, 20, 30)
    down = intervals.newcombe_interval(0.1, 30, 20)

    assert down.low == pytest.approx(1 - up.high)
    assert down.high == pytest.approx(1 - up.low)


def test_newcombe_ends_are_one_critical_value_away() -> None:
    """At an end theta, |AUC - theta| is 1.96 standard errors of the exponential model at theta."""
    low = intervals.newcombe_interval(0.8, 30, 50).low
    shape = 1 + 39 * ((1 - low) / (2 - low) + low / (1 + low))

    assert (0.8 - low) ** 2 == pytest.approx(1.959964**2 * low * (1 - low) * shape / 1500)


def test_an_auc_without_a_class_has_no_interval() -> None:
    assert intervals.auc_interval(np.ones(3, dtype=bool), np.array([0.1, 0.2, 0.3])) is None


class TestResamples:
    """Resamples of patients inside strata."""

    def test_every_resample_has_the_strata_of_the_study(self) -> None:
        strata = ["elm 0"] * 4 + ["elm 1"] * 3 + ["oak 0"]
        weights = intervals.draw_resamples(strata, num_resamples=50, rng=np.random.default_rng(0))

        np.testing.assert_array_equal(weights[:, :4].sum(axis=1), 4)
        np.testing.assert_array_equal(weights[:, 4:7].sum(axis=1), 3)
        np.testing.assert_array_equal(weights[:, 7], 1)

    def test_every_patient_is_drawn_once_on_average(self) -> None:
        """Mean 1, variance 1 - 1/n: 0.75 for four."""
        weights = intervals.draw_resamples(
            ["a"] * 4, num_resamples=20_000, rng=np.random.default_rng(1)
        )

        np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.03)
        np.testing.assert_allclose(weights.var(axis=0), 0.75, atol=0.03)

    def test_one_generator_gives_one_set(self) -> None:
        first, second = (
            intervals.draw_resamples(["a"] * 9, num_resamples=5, rng=np.random.default_rng(7))
            for _ in range(2)
        )

        np.testing.assert_array_equal(first, second)


def test_bca_without_skewness_or_bias_is_the_percentile_interval() -> None:
    resampled = np.linspace(-1, 1, 2001)
    found = intervals.bca_interval(0.0, resampled, np.array([-1.0, 1.0]))
    plain = intervals.percentile_interval(resampled)

    assert found.low == pytest.approx(plain.low, abs=1e-3)
    assert found.high == pytest.approx(plain.high, abs=1e-3)


def test_bca_leans_toward_the_long_tail() -> None:
    resampled = np.linspace(-1, 1, 2001)
    found = intervals.bca_interval(0.0, resampled, np.array([-1.0, -1.0, -1.0, 3.0]))
    plain = intervals.percentile_interval(resampled)

    assert found.low > plain.low
    assert found.high > plain.high


def test_the_ece_that_chance_explains_may_be_zero() -> None:
    """95 % of calibrated cohorts show at most .095; a measured .09 is within that."""
    calibrated, resampled = np.linspace(0, 0.1, 101), np.linspace(0.1, 0.3, 101)

    assert intervals.ece_interval(0.09, calibrated, resampled).low == 0.0
    found = intervals.ece_interval(0.2, calibrated, resampled)
    assert found.low == pytest.approx(0.2 - 0.095)
    assert found.high == pytest.approx(0.2 + 0.29 - 0.2)


def test_the_interval_of_an_ece_holds_the_ece() -> None:
    """One resample in thirty is far off, so that their mean is above their 95 % quantile."""
    resampled = np.array([0.1] * 29 + [0.9])

    assert intervals.ece_interval(0.12, np.zeros(30), resampled).high == 0.12


@pytest.mark.slow
def test_intervals_contain_the_truth_about_as_often_as_they_say() -> None:
    """600 binormal cohorts of 40 + 50: 95 % +- 2 Monte Carlo and 2 allowed by the contract.

    `benchmarks/coverage_of_intervals.py` is the long version.
    """
    rng = np.random.default_rng(8)
    separation, num_cohorts = 1.5, 600
    truth_auc = ndtr(separation / 2**0.5)
    labels = np.arange(90) < 40
    many = np.repeat([True, False], [400_000, 500_000])

    def draw(of: np.ndarray) -> np.ndarray:
        drawn = rng.normal(size=len(of)) + separation * of
        log_odds = separation * drawn - separation**2 / 2 + np.log(40 / 50)
        return np.asarray(expit(log_odds))

    truth_brier = metrics.brier(many, draw(many))
    assert truth_brier is not None
    covered = {"auc": 0, "brier": 0, "ece": 0}
    for _ in range(num_cohorts):
        scores = draw(labels)
        weights = intervals.draw_resamples(
            [str(label) for label in labels], num_resamples=300, rng=rng
        )
        around = intervals.auc_interval(labels, scores)
        assert around is not None
        covered["auc"] += around.low <= truth_auc <= around.high
        errors = np.square(scores - labels)
        influences = errors - np.where(labels, errors[labels].mean(), errors[~labels].mean())
        around = intervals.bca_interval(
            float(errors.mean()), metrics.resampled_brier(labels, scores, weights), influences
        )
        covered["brier"] += around.low <= truth_brier <= around.high
        value = metrics.ece(labels, scores)
        assert value is not None
        around = intervals.ece_interval(
            value,
            metrics.simulate_calibrated_ece(scores, num_resamples=300, rng=rng),
            metrics.resampled_ece(labels, scores, weights),
        )
        covered["ece"] += around.low <= 0.002

    assert 0.92 < covered["auc"] / num_cohorts < 0.98
    assert 0.92 < covered["brier"] / num_cohorts < 0.98
    assert covered["ece"] / num_cohorts > 0.92
