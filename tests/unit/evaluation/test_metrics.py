"""Metrics on patients one can count."""

import numpy as np
import pytest

from sitesynth.evaluation import metrics


def booleans(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)


def test_auc_counts_pairs_and_halves_ties() -> None:
    """Positives .8 .5, negatives .5 .2 .1: pairs won 3 + 2.5 of 6, minus none: 5.5 / 6."""
    labels = booleans(1, 1, 0, 0, 0)
    scores = np.array([0.8, 0.5, 0.5, 0.2, 0.1])

    assert metrics.auc(labels, scores) == pytest.approx(5.5 / 6)


def test_auc_of_constant_scores_is_one_half() -> None:
    assert metrics.auc(booleans(1, 0, 1, 0, 0), np.full(5, 0.3)) == 0.5


def test_auc_is_the_same_after_any_increasing_map() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(40) < 0.4
    scores = rng.random(40)

    assert metrics.auc(labels, scores) == metrics.auc(labels, scores**3)


def test_swapping_the_classes_and_the_scores_keeps_the_auc() -> None:
    rng = np.random.default_rng(2)
    labels = rng.random(40) < 0.4
    scores = np.round(rng.random(40), 1)

    swapped = metrics.auc(~labels, 1 - scores)
    assert metrics.auc(labels, scores) == pytest.approx(swapped)


def test_both_placements_have_the_auc_as_their_mean() -> None:
    """DeLong's V10 and V01 are row and column means of one matrix."""
    labels = booleans(1, 1, 0, 0, 0)
    positives, negatives = metrics.placements(labels, np.array([0.8, 0.5, 0.5, 0.2, 0.1]))

    np.testing.assert_allclose(positives, [1.0, 2.5 / 3])
    np.testing.assert_allclose(negatives, [0.75, 1.0, 1.0])


def test_the_threshold_itself_is_called_positive() -> None:
    calls = metrics.call_positive(np.array([0.49, 0.5, 0.51]), threshold=0.5)

    np.testing.assert_array_equal(calls, [False, True, True])


def test_calls_are_counted_by_class() -> None:
    """2 of 3 positives found, 3 of 5 negatives spared: 5/8, 2/3, 3/5 and their mean."""
    labels = booleans(1, 1, 1, 0, 0, 0, 0, 0)
    calls = booleans(1, 1, 0, 1, 1, 0, 0, 0)

    assert metrics.accuracy(labels, calls) == 5 / 8
    assert metrics.sensitivity(labels, calls) == pytest.approx(2 / 3)
    assert metrics.specificity(labels, calls) == pytest.approx(3 / 5)
    assert metrics.balanced_accuracy(labels, calls) == pytest.approx((2 / 3 + 3 / 5) / 2)


def test_what_a_missing_class_leaves_undefined_is_none() -> None:
    labels, scores = booleans(0, 0, 0), np.array([0.1, 0.6, 0.2])
    calls = metrics.call_positive(scores, threshold=0.5)

    assert metrics.auc(labels, scores) is None
    assert metrics.sensitivity(labels, calls) is None
    assert metrics.balanced_accuracy(labels, calls) is None
    assert metrics.specificity(labels, calls) == pytest.approx(2 / 3)
    assert metrics.brier(labels, scores) == pytest.approx((0.01 + 0.36 + 0.04) / 3)


def test_without_a_patient_nothing_is_defined() -> None:
    nobody, nothing = np.zeros(0, dtype=bool), np.zeros(0)

    assert metrics.auc(nobody, nothing) is None
    assert metrics.accuracy(nobody, nobody) is None
    assert metrics.brier(nobody, nothing) is None
    assert metrics.ece(nobody, nothing) is None


def test_ece_is_the_patient_weighted_gap_of_the_bins() -> None:
    """Bin [.2, .267): 4 patients at .25, one positive: gap 0. Bin of 1: 1 patient, wrong: gap 1."""
    labels = booleans(1, 0, 0, 0, 0)
    probabilities = np.array([0.25, 0.25, 0.25, 0.25, 1.0])

    assert metrics.ece(labels, probabilities) == pytest.approx(1 / 5)


def test_ece_lets_errors_cancel_inside_a_bin_only() -> None:
    """.05 and .95 err by .05 in different bins; .5 twice with one positive errs by nothing."""
    assert metrics.ece(booleans(0, 1), np.array([0.05, 0.95])) == pytest.approx(0.05)
    assert metrics.ece(booleans(0, 1), np.array([0.5, 0.5])) == 0.0


def test_reliability_bins_hold_every_patient_once() -> None:
    labels = booleans(1, 0, 0, 1, 1)
    bins = metrics.reliability_bins(labels, np.array([0.0, 0.01, 0.5, 0.51, 1.0]))

    assert [found.num_patients for found in bins] == [2, 2, 1]
    assert [found.positive_fraction for found in bins] == [0.5, 0.5, 1.0]
    assert bins[1].mean_probability == pytest.approx(0.505)


def test_a_calibrated_classifier_shows_the_published_ece_by_chance() -> None:
    """Our fact sheet measured .119 for n = 100 and .039 for n = 1000, for uniform probabilities."""
    rng = np.random.default_rng(3)
    few = metrics.simulate_calibrated_ece(rng.random(100), num_resamples=400, rng=rng)
    many = metrics.simulate_calibrated_ece(rng.random(1000), num_resamples=400, rng=rng)

    assert few.mean() == pytest.approx(0.119, abs=0.01)
    assert many.mean() == pytest.approx(0.039, abs=0.004)


class TestResampled:
    """The metric of all resamples at once is that of each resample alone."""

    @pytest.fixture
    def patients(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(4)
        return rng.random(30) < 0.5, np.round(rng.random(30), 1)

    @pytest.fixture
    def weights(self) -> np.ndarray:
        return np.random.default_rng(5).integers(0, 4, size=(7, 30)).astype(float)

    def test_auc(self, patients: tuple[np.ndarray, np.ndarray], weights: np.ndarray) -> None:
        labels, scores = patients
        resampled = metrics.resampled_auc(labels, scores, weights)

        for found, row in zip(resampled, weights.astype(int), strict=True):
            assert found == pytest.approx(
                metrics.auc(np.repeat(labels, row), np.repeat(scores, row))
            )

    def test_brier_and_ece(
        self, patients: tuple[np.ndarray, np.ndarray], weights: np.ndarray
    ) -> None:
        labels, scores = patients
        briers = metrics.resampled_brier(labels, scores, weights)
        eces = metrics.resampled_ece(labels, scores, weights)

        for brier, ece, row in zip(briers, eces, weights.astype(int), strict=True):
            copies = np.repeat(labels, row), np.repeat(scores, row)
            assert brier == pytest.approx(metrics.brier(*copies))
            assert ece == pytest.approx(metrics.ece(*copies))
