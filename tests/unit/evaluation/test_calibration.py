"""Recalibration of probabilities whose distortion is known."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from sitesynth.evaluation.calibration import calibration_intercept, calibration_slope


def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and probabilities that are exactly theirs."""
    probabilities = expit(rng.normal(0, 1.5, count))
    return rng.random(count) < probabilities, probabilities


def test_a_calibrated_classifier_has_slope_one_and_intercept_zero() -> None:
    slope = calibration_slope(*draw(4000, np.random.default_rng(0)))
    intercept = calibration_intercept(*draw(4000, np.random.default_rng(0)))

    assert slope is not None
    assert intercept is not None
    assert slope[1].low < 1 < slope[1].high
    assert intercept[1].low < 0 < intercept[1].high
    assert slope[1].high - slope[1].low < 0.25


def test_doubled_log_odds_halve_the_slope() -> None:
    labels, probabilities = draw(300, np.random.default_rng(1))
    once = calibration_slope(labels, probabilities)
    twice = calibration_slope(labels, expit(2 * logit(probabilities)))

    assert once is not None
    assert twice is not None
    assert twice[0] == pytest.approx(once[0] / 2)
    assert twice[1].high == pytest.approx(once[1].high / 2)


def test_shifted_log_odds_move_the_intercept_by_as_much() -> None:
    labels, probabilities = draw(300, np.random.default_rng(2))
    before = calibration_intercept(labels, probabilities)
    after = calibration_intercept(labels, expit(logit(probabilities) - 0.7))

    assert before is not None
    assert after is not None
    assert after[0] == pytest.approx(before[0] + 0.7)


def test_the_slope_is_that_of_an_unpenalized_regression() -> None:
    labels, probabilities = draw(200, np.random.default_rng(3))
    found = calibration_slope(labels, probabilities)
    expected = LogisticRegression(C=1e12, tol=1e-10).fit(logit(probabilities)[:, None], labels)

    assert found is not None
    assert found[0] == pytest.approx(float(expected.coef_[0, 0]), rel=1e-4)


def test_intervals_hold_the_truth_about_as_often_as_promised() -> None:
    """400 cohorts of 100 patients: 95 %, give or take three standard errors."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        found = calibration_slope(*draw(100, rng))
        assert found is not None
        hits += found[1].low <= 1 <= found[1].high

    assert 0.917 <= hits / 400 <= 0.983


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([1, 1, 1], [0.2, 0.3, 0.4]),
        ([0, 1, 1], [0.5, 0.5, 0.5]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
    ],
)
def test_what_is_not_defined_is_none(labels: list[int], probabilities: list[float]) -> None:
    """One class, one probability, separated classes."""
    assert calibration_slope(np.array(labels, dtype=bool), np.array(probabilities)) is None
