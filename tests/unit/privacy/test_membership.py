"""Attacks whose success is known."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from sitesynth.privacy.membership import (
    Attack,
    auc,
    run_attack,
    score_by_patient,
    true_positives,
)


def attack(members: np.ndarray, others: np.ndarray, confidence: float = 0.95) -> Attack:
    return run_attack(
        members, others, confidence=confidence, num_splits=50, rng=np.random.default_rng(0)
    )


def test_the_auc_counts_pairs_by_hand() -> None:
    """Members 2, 1, 1 against 0, 1: of six pairs, four are won and two tied."""
    assert auc(np.array([2.0, 1.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx((4 + 1) / 6)


def test_the_interval_leaves_chance_where_the_rank_sum_test_rejects() -> None:
    """One statement in two forms, checked with scipy's test."""
    rng = np.random.default_rng(4)
    agreed, rejected = 0, 0
    for shift in np.linspace(0, 1.6, 60):
        members, others = rng.standard_normal(40) + shift, rng.standard_normal(12)
        p_value = mannwhitneyu(members, others, method="asymptotic", use_continuity=False).pvalue
        agreed += (attack(members, others).low > 0.5) == (p_value < 0.05)
        rejected += p_value < 0.05
    assert agreed == 60
    assert 10 < rejected < 55


def test_a_perfect_attack_is_told_from_chance_by_a_dozen_patients() -> None:
    found = attack(np.arange(40.0) + 100, np.arange(12.0), confidence=0.9875)

    assert found.auc == found.high == 1
    assert found.low > 0.5


def test_members_against_members_are_at_chance() -> None:
    """Whatever the attack finds, members do not differ from members."""
    found = attack(np.arange(40.0) + 100, np.arange(12.0))

    assert found.control_low < 0.5 < found.control_high
    assert found.control_high < 0.75


def test_a_patient_has_one_score() -> None:
    """Scans of one patient count once: their mean."""
    scores = score_by_patient(np.array([1.0, 5.0, 3.0]), ["b", "a", "b"])

    np.testing.assert_allclose(scores, [2.0, 5.0])


def test_true_positives_are_counted_above_the_threshold_that_so_few_exceed() -> None:
    """Of 100 others, 0 to 99, one may exceed the threshold, 98: of four members two do."""
    members = np.array([98.5, 150.0, 98.0, 3.0])
    found = true_positives(members, np.arange(100.0), false_positive_rate=0.01)

    assert found.is_measurable
    assert found.value == 0.5
    assert found.low == 0.0
    assert found.high > 0.5


def test_a_dozen_others_cannot_measure_a_rate_of_one_percent() -> None:
    """However good the attack, the lower end is 0: nobody knows where that threshold is."""
    found = true_positives(np.arange(40.0) + 100, np.arange(12.0), false_positive_rate=0.01)

    assert not found.is_measurable
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_perfect_attack_is_told_by_a_thousand_others() -> None:
    """The true threshold is below the largest of 1000 but for 0.99^1000; Clopper-Pearson of 40."""
    found = true_positives(np.arange(40.0) + 2000, np.arange(1000.0), false_positive_rate=0.01)

    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.0125 ** (1 / 40))


@pytest.mark.parametrize("num_others", [14, 150])
def test_intervals_of_true_positives_hold_the_truth(num_others: int) -> None:
    """Members score 1.5 sd more: beyond the 1 % threshold, 2.326, lie 20.4 % of them."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(200):
        members, others = rng.standard_normal(50) + 1.5, rng.standard_normal(num_others)
        found = true_positives(members, others, false_positive_rate=0.01)
        held += found.low <= 0.2044 <= found.high
    assert held >= 190


def test_members_above_all_others_have_an_exact_test() -> None:
    """Two of three members above both others: 3/5 of the tops, then 2/4."""
    told = attack(np.array([5.0, 4.0, 0.0]), np.array([1.0, 2.0])).as_json()["above_all_others"]

    assert told["members"] == 2
    assert told["expected_share"] == pytest.approx(1 / 3, abs=1e-6)
    assert told["p_value"] == pytest.approx(3 / 5 * 2 / 4)
