"""Attacks whose success is known."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from sitesynth.privacy.membership import Attack, auc, run_attack, score_by_patient


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
