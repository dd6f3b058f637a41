"""Means over classes, against scikit-learn, against two classes, and by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from sitesynth.evaluation import macro, metrics
from sitesynth.evaluation.intervals import auc_interval, newcombe_interval
from sitesynth.evaluation.paired import auc_difference


def draw(seed: int, *, sizes: tuple[int, ...] = (30, 20, 12)) -> tuple[np.ndarray, np.ndarray]:
    """Return classes, and probabilities that know something of them, some of them tied."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    logits = rng.normal(size=(len(labels), len(sizes))) + 1.2 * np.eye(len(sizes))[labels]
    chances = np.exp(logits).round(1) + 0.1
    return labels, chances / chances.sum(axis=1, keepdims=True)


def two_classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return draw(seed, sizes=(25, 15))


def test_the_mean_auc_is_scikit_learns() -> None:
    labels, chances = draw(1)

    expected = roc_auc_score(labels, chances, multi_class="ovr", average="macro")
    assert macro.macro_auc(labels, chances) == pytest.approx(expected, abs=1e-12)


def test_the_mean_auc_of_two_classes_is_the_auc() -> None:
    labels, chances = two_classes(2)

    expected = metrics.auc(labels == 1, chances[:, 1])
    assert macro.macro_auc(labels, chances) == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_two_classes_is_delongs() -> None:
    labels, chances = two_classes(3)
    found = macro.macro_auc_interval(labels, chances)
    expected = auc_interval(labels == 1, chances[:, 1])

    assert found is not None
    assert expected is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_difference_of_two_classes_is_delongs() -> None:
    labels, first = two_classes(4)
    _, second = two_classes(5)
    found = macro.macro_auc_difference(labels, first, second)
    expected = auc_difference(labels == 1, first[:, 1], second[:, 1])

    assert found is not None
    assert expected is not None
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-12)
    assert found.p == pytest.approx(expected.p, abs=1e-9)


def test_the_standard_error_is_the_spread_over_cohorts() -> None:
    """Of 400 cohorts of three classes; two classifiers that err together."""
    found, errors = [], []
    for seed in range(400):
        rng = np.random.default_rng([6, seed])
        labels = np.repeat([0, 1, 2], (40, 25, 15))
        truth, shared = np.eye(3)[labels], rng.normal(size=(80, 3))
        first = 1.2 * truth + shared + 0.4 * rng.normal(size=(80, 3))
        second = 1.0 * truth + shared + 0.4 * rng.normal(size=(80, 3))
        difference = macro.macro_auc_difference(labels, first, second)
        assert difference is not None
        assert difference.standard_error is not None
        found.append(difference.value)
        errors.append(difference.standard_error)

    assert np.mean(errors) == pytest.approx(np.std(found, ddof=1), rel=0.1)


def test_the_order_of_the_classes_does_not_matter() -> None:
    labels, first = draw(7)
    _, second = draw(8)
    order = np.array([2, 0, 1])
    there = macro.macro_auc_difference(labels, first, second)
    back = macro.macro_auc_difference(np.argsort(order)[labels], first[:, order], second[:, order])

    assert there is not None
    assert back is not None
    assert (back.value, back.standard_error) == pytest.approx((there.value, there.standard_error))


def test_equal_rankings_differ_by_nothing_for_certain() -> None:
    labels, chances = draw(9)
    found = macro.macro_auc_difference(labels, chances, chances**3)

    assert found is not None
    assert found.same_ranking
    assert found.interval().high == 0.0


def test_a_perfect_classifier_is_not_certain_to_be_perfect() -> None:
    """As uncertain as the AUC of 2 patients against 10 others would be."""
    labels = np.repeat([0, 1, 2], (6, 4, 2))
    found = macro.macro_auc_interval(labels, np.eye(3)[labels])

    assert found == newcombe_interval(1.0, 2, 10)


def test_a_class_without_a_patient_leaves_nothing_to_average() -> None:
    labels, chances = np.array([0, 1, 0, 1]), np.full((4, 3), 1 / 3)

    assert macro.macro_auc(labels, chances) is None
    assert macro.macro_auc_interval(labels, chances) is None
    assert macro.macro_auc_difference(labels, chances, chances) is None


def test_a_resample_of_everyone_once_has_the_auc_and_the_ece_of_everyone() -> None:
    labels, chances = draw(10)
    weights = np.ones((1, len(labels)))

    (auc,) = macro.resampled_macro_auc(labels, chances, weights)
    (ece,) = macro.resampled_macro_ece(labels, chances, weights)
    assert auc == pytest.approx(macro.macro_auc(labels, chances))
    assert ece == pytest.approx(macro.macro_ece(labels, chances))


def test_calls_are_counted_as_scikit_learn_counts_them() -> None:
    labels, chances = draw(11)
    calls = chances.argmax(axis=1)

    found = macro.confusion(labels, calls, num_classes=4)
    np.testing.assert_array_equal(found, confusion_matrix(labels, calls, labels=range(4)))


def test_brier_is_a_kth_of_the_sum_over_classes() -> None:
    """One patient of class 0 at .7, .2, .1: (.09 + .04 + .01) / 3."""
    found = macro.macro_brier(np.array([0]), np.array([[0.7, 0.2, 0.1]]))

    assert found == pytest.approx(0.14 / 3)


def test_brier_of_two_classes_is_the_one_of_the_positive_class() -> None:
    labels, chances = two_classes(12)

    assert macro.macro_brier(labels, chances) == pytest.approx(
        metrics.brier(labels == 1, chances[:, 1])
    )


def test_calibration_error_is_the_mean_of_the_classes_own() -> None:
    """Both patients at .6, .4, 0; one is of class 0, one of class 2: gaps .1, .4 and .5."""
    chances = np.array([[0.6, 0.4, 0.0]] * 2)

    assert macro.macro_ece(np.array([0, 2]), chances) == pytest.approx((0.1 + 0.4 + 0.5) / 3)


def test_certain_and_right_is_calibrated_in_every_simulation() -> None:
    found = macro.simulate_calibrated_macro_ece(
        np.eye(3)[[0, 1, 2, 1]], num_resamples=50, rng=np.random.default_rng(1)
    )

    np.testing.assert_array_equal(found, np.zeros(50))


def test_a_simulated_patient_is_of_one_class() -> None:
    """Half and half, one patient: either way both classes' gaps are .5, and the third's 0."""
    found = macro.simulate_calibrated_macro_ece(
        np.array([[0.5, 0.5, 0.0]]), num_resamples=50, rng=np.random.default_rng(1)
    )

    np.testing.assert_allclose(found, 1 / 3)
