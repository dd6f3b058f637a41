"""Paired tests against published data, slow implementations and symmetry."""

from math import comb
from pathlib import Path

import numpy as np
import pytest

from sitesynth.evaluation.paired import (
    AucDifference,
    Discordance,
    adjust_by_holm,
    auc_difference,
    compare_calls,
)


# The data DeLong, DeLong and Clarke-Pearson (1988) compare: albumin, total protein, K-G score and
# outcome (0 = the event) of 43 women with ovarian cancer, as in SAS/STAT's user's guide, PROC
# LOGISTIC, "Comparing Receiver Operating Characteristic Curves". Low albumin, low protein and a
# high K-G score go with the event.
OVARIAN = np.fromstring(
    """
    3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
    1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
    4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
    3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
    3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
    3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
    3.6 6.6 5 1
    """,
    sep=" ",
).reshape(-1, 4)
EVENT = OVARIAN[:, 3] == 0
ALBUMIN, PROTEIN, KARNOFSKY = -OVARIAN[:, 0], -OVARIAN[:, 1], OVARIAN[:, 2]


def difference(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> AucDifference:
    found = auc_difference(labels, first, second)
    assert found is not None
    return found


class TestPublishedComparison:
    """SAS prints these digits for DeLong's own data."""

    def test_aucs(self) -> None:
        found = difference(EVENT, ALBUMIN, KARNOFSKY)

        assert round(found.first, 4) == 0.7366
        assert round(found.second, 4) == 0.7258

    def test_albumin_against_the_karnofsky_score(self) -> None:
        found = difference(EVENT, ALBUMIN, KARNOFSKY)

        assert found.standard_error is not None
        assert round(found.value, 4) == 0.0108
        assert round(found.standard_error, 4) == 0.0953
        assert round(found.interval().low, 4) == -0.1761
        assert round(found.interval().high, 4) == 0.1976
        assert round(found.p, 4) == 0.9102

    def test_total_protein_against_the_karnofsky_score(self) -> None:
        found = difference(EVENT, PROTEIN, KARNOFSKY)

        assert found.standard_error is not None
        assert round(found.value, 4) == -0.0780
        assert round(found.standard_error, 4) == 0.1046
        assert round(found.interval().low, 4) == -0.2830
        assert round(found.interval().high, 4) == 0.1271
        assert round(found.p, 4) == 0.4561


def by_all_pairs(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Compute the difference and its variance as written in the paper, pair by pair."""
    kernels = [
        np.array(
            [
                [1.0 if x > y else 0.5 if x == y else 0.0 for y in scores[~labels]]
                for x in scores[labels]
            ]
        )
        for scores in (first, second)
    ]
    values = [float(kernel.mean()) for kernel in kernels]
    variance = 0.0
    for axis, size in ((1, labels.sum()), (0, (~labels).sum())):
        components = [kernel.mean(axis=axis) for kernel in kernels]
        covariance = np.cov(components)
        variance += (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) / size
    return values[0] - values[1], float(variance)


class TestHemorrhage:
    """R's pROC 1.18.0 prints these digits for its aSAH data.

    113 patients with aneurysmal subarachnoid hemorrhage, 41 with a poor outcome (Turck et al.,
    2010, Intensive Care Medicine 36:107): the WFNS grade, and two proteins in the blood.
    """

    DATA = np.genfromtxt(Path(__file__).parent / "asah.csv", delimiter=",", names=True)

    def compare(self, first: str, second: str) -> AucDifference:
        return difference(self.DATA["poor"] == 1, self.DATA[first], self.DATA[second])

    def test_aucs(self) -> None:
        found = self.compare("wfns", "s100b")

        assert found.first == pytest.approx(0.8236788618, abs=1e-10)
        assert found.second == pytest.approx(0.7313685637, abs=1e-10)
        assert self.compare("ndka", "s100b").first == pytest.approx(0.6119579946, abs=1e-10)

    @pytest.mark.parametrize(
        ("first", "second", "z", "p"),
        [
            ("wfns", "s100b", 2.2089835914, 0.0271757822292),
            ("wfns", "ndka", 2.7977759187, 0.00514557970691),
            ("ndka", "s100b", -1.3907700257, 0.164295175223),
        ],
    )
    def test_paired_tests(self, first: str, second: str, z: float, p: float) -> None:
        found = self.compare(first, second)

        assert found.standard_error is not None
        assert found.value / found.standard_error == pytest.approx(z, abs=1e-9)
        assert found.p == pytest.approx(p, rel=1e-9)

    def test_the_interval_of_a_difference(self) -> None:
        found = self.compare("wfns", "s100b").interval()

        assert found.low == pytest.approx(0.01040618, abs=1e-8)
        assert found.high == pytest.approx(0.17421442, abs=1e-8)


@pytest.mark.parametrize("decimals", [1, 6])
def test_midranks_agree_with_all_pairs(decimals: int) -> None:
    """With many ties (one decimal) and with none."""
    rng = np.random.default_rng(decimals)
    labels = rng.random(37) < 0.4
    first, second = np.round(rng.random((2, 37)), decimals)
    found = difference(labels, first, second)
    value, variance = by_all_pairs(labels, first, second)

    assert found.standard_error is not None
    assert found.value == pytest.approx(value)
    assert found.standard_error == pytest.approx(variance**0.5)


def test_swapping_the_classifiers_flips_the_sign() -> None:
    there = difference(EVENT, ALBUMIN, PROTEIN)
    back = difference(EVENT, PROTEIN, ALBUMIN)

    assert back.value == -there.value
    assert back.p == pytest.approx(there.p)
    assert back.interval().low == pytest.approx(-there.interval().high)


def test_delong_agrees_with_a_permutation_test() -> None:
    """Under the null each patient's two ranks may be swapped (Bandos et al., 2005)."""
    rng = np.random.default_rng(3)
    labels = np.arange(120) < 60
    shared = rng.normal(size=120) + 1.2 * labels
    first = shared + 0.6 * rng.normal(size=120)
    second = shared + 1.1 * rng.normal(size=120)
    ranks = np.array([np.argsort(np.argsort(scores)) for scores in (first, second)], dtype=float)
    found = difference(labels, first, second)
    larger = 0
    for _ in range(400):
        swap = rng.random(120) < 0.5
        permuted = difference(
            labels, np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        )
        larger += abs(permuted.value) >= abs(found.value) - 1e-12

    assert larger / 400 == pytest.approx(found.p, abs=0.06)


class TestWithoutVariance:
    """Where DeLong's variance is 0, certainty is claimed only where there is some."""

    def test_identical_predictions_are_equal_for_certain(self) -> None:
        found = difference(EVENT, ALBUMIN, ALBUMIN)

        assert found.p == 1.0
        assert (found.interval().low, found.interval().high) == (0.0, 0.0)
        assert found.detectable is None

    def test_the_same_order_on_another_scale_is_equal_for_certain(self) -> None:
        found = difference(EVENT, ALBUMIN, 3 * ALBUMIN - 1)

        assert found.p == 1.0
        assert (found.interval().low, found.interval().high) == (0.0, 0.0)

    def test_two_perfect_classifiers_are_not_shown_to_be_equal(self) -> None:
        """Ten patients cannot exclude that one of them errs in the next ten."""
        labels = np.arange(10) >= 5
        ahead = np.arange(10.0)
        found = difference(labels, ahead, np.where(labels, 20.0 - ahead, -ahead))

        assert found.p == 1.0
        assert found.interval().low < -0.2
        assert found.interval().high > 0.2

    def test_perfect_against_constant_is_a_matter_of_numbers(self) -> None:
        """A coin looks perfect on 2 + 2 patients in one case of six; on 30 + 30 never."""

        def perfect_against_constant(size: int) -> AucDifference:
            return difference(
                np.arange(2 * size) >= size, np.arange(2.0 * size), np.zeros(2 * size)
            )

        assert perfect_against_constant(2).p > 0.05
        assert perfect_against_constant(30).p < 1e-3
        assert perfect_against_constant(30).interval().low > 0.2

    def test_one_patient_in_a_class_shows_little(self) -> None:
        labels = np.arange(20) == 19
        found = difference(labels, np.arange(20.0), np.arange(20.0)[::-1].copy())

        assert found.standard_error is None
        assert found.interval().high - found.interval().low > 0.2


def test_without_a_class_there_is_no_difference() -> None:
    assert auc_difference(np.ones(3, dtype=bool), np.arange(3.0), np.arange(3.0)) is None


def test_the_detectable_difference_has_eighty_percent_power() -> None:
    """(1.960 + 0.842) standard errors."""
    found = difference(EVENT, ALBUMIN, KARNOFSKY)

    assert found.detectable == pytest.approx(2.801585 * (found.standard_error or 0.0), rel=1e-6)


class TestMcNemar:
    """Patients whom exactly one classifier calls rightly."""

    def test_gives_the_published_corrected_result(self) -> None:
        """R's `mcnemar.test` on Agresti's approval ratings, 794 86 150 570: 16.818."""
        found = Discordance(only_first=150, only_second=86)

        assert round(found.statistic, 3) == 16.818
        assert found.corrected_p == pytest.approx(4.115e-5, rel=1e-3)

    @pytest.mark.parametrize(("first", "second"), [(1, 5), (5, 1), (0, 7), (3, 3), (2, 9)])
    def test_the_exact_p_sums_the_binomial(self, first: int, second: int) -> None:
        total = first + second
        tail = sum(comb(total, k) for k in range(min(first, second) + 1)) / 2**total

        assert Discordance(first, second).exact_p == pytest.approx(min(1.0, 2 * tail))

    def test_without_discordant_patients_nothing_differs(self) -> None:
        assert Discordance(0, 0).exact_p == 1.0
        assert Discordance(0, 0).corrected_p == 1.0

    def test_counts_whom_only_one_calls_rightly(self) -> None:
        """Of five patients both are right on one, both wrong on one, first alone on two."""
        labels = np.array([True, True, False, False, True])
        first = np.array([True, True, False, True, False])
        second = np.array([True, False, True, True, True])

        assert compare_calls(labels, first, second) == Discordance(only_first=2, only_second=1)


class TestHolm:
    """Step-down adjustment."""

    def test_by_hand(self) -> None:
        """.01 x 4, .02 x 3, .03 x 2 = .06, .04 x 1 raised to .06."""
        assert adjust_by_holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])

    def test_never_exceeds_one(self) -> None:
        assert adjust_by_holm([0.9, 0.6]) == [1.0, 1.0]

    def test_of_one_test_changes_nothing(self) -> None:
        assert adjust_by_holm([0.03]) == [0.03]
        assert adjust_by_holm([]) == []


def difference_of(value: float, standard_error: float | None) -> AucDifference:
    """Return a difference as if it had been found so."""
    return AucDifference(
        first=0.8 + value,
        second=0.8,
        num_positives=50,
        num_negatives=50,
        standard_error=standard_error,
        same_ranking=False,
    )


def test_non_inferiority_and_equivalence_by_the_normal_distribution() -> None:
    """At -0.01 with error 0.02 and margin 0.05: z = 2 below, 3 above; TOST takes the larger p."""
    found = difference_of(-0.01, 0.02)

    assert found.non_inferiority_p(0.05) == pytest.approx(0.0227501, abs=1e-6)
    assert found.equivalence_p(0.05) == pytest.approx(0.0227501, abs=1e-6)
    assert difference_of(0.01, 0.02).equivalence_p(0.05) == pytest.approx(0.0227501, abs=1e-6)
    assert difference_of(0.01, 0.02).non_inferiority_p(0.05) == pytest.approx(0.0013499, abs=1e-6)
    assert difference_of(0.01, None).equivalence_p(0.05) is None


@pytest.mark.parametrize("value", [-0.03, -0.0109, -0.0107, 0.0, 0.0107, 0.0109])
def test_tost_rejects_exactly_where_the_interval_lies_inside_the_margins(value: float) -> None:
    """One statement in two forms; 0.05 - 1.96 x 0.02 = 0.0108."""
    found = difference_of(value, 0.02)
    inside = found.interval().low > -0.05 and found.interval().high < 0.05
    p_value = found.equivalence_p(0.05)

    assert p_value is not None
    assert (p_value < 0.025) == inside


def test_seeds_widen_the_interval_by_their_variance_over_their_number() -> None:
    """Spread 0.02 of 4 trainings either way: 0.0001 each; 0.0002 + 0.0002 = 0.02^2.

    Satterthwaite: 0.0004^2 / (2 x 0.0001^2 / 3) = 24 degrees of freedom, t = 2.063899.
    """
    seeds = [0.8 + step * 0.02 * (3 / 4) ** 0.5 for step in (-1, -1, 1, 1)]
    found = difference_of(0.0, 0.0002**0.5).interval_with_seeds(seeds, seeds)

    assert found is not None
    assert found.high == pytest.approx(2.063899 * 0.02, rel=1e-5)
    assert found.low == pytest.approx(-found.high)


def test_trainings_that_agree_widen_nothing_and_one_training_says_nothing() -> None:
    found = difference_of(0.01, 0.02)

    assert found.interval_with_seeds([0.8] * 3, [0.8] * 3) == found.interval()
    assert found.interval_with_seeds([0.8], [0.8, 0.7]) is None
