"""Curves have the points that one finds by hand."""

import numpy as np

from sitesynth.reports.curves import roc_band, roc_points, thin_out


def test_a_perfect_classifier_reaches_the_corner() -> None:
    """Every positive before the first negative: up the axis to (0, 1), then to the right."""
    labels = np.array([True, True, False, False])
    false, true = roc_points(labels, np.array([0.9, 0.8, 0.2, 0.1]))

    assert (0.0, 1.0) in set(zip(false.tolist(), true.tolist(), strict=True))
    assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)


def test_a_tie_is_a_slope() -> None:
    """One score for all is the diagonal, whatever the order of the patients."""
    false, true = roc_points(np.array([True, False]), np.array([0.5, 0.5]))

    assert false.tolist() == [0.0, 1.0]
    assert true.tolist() == [0.0, 1.0]


def test_the_band_of_a_perfect_classifier_has_no_width() -> None:
    """Every resample is perfect too."""
    labels = np.array([True, False, True, False])
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 0, 2], [0, 1, 2, 1]])
    band = roc_band(labels, labels.astype(float), weights, confidence=0.95)

    assert band.low.tolist() == [1.0] * len(band.x)
    assert band.high.tolist() == [1.0] * len(band.x)


def test_the_band_holds_the_curve_of_identical_resamples() -> None:
    """If every resample is the cohort itself, the band is its curve: half found at 0, all at 1."""
    labels = np.array([True, False, True])
    band = roc_band(labels, np.array([0.9, 0.5, 0.1]), np.ones((5, 3)), confidence=0.95)

    assert band.low[0] == band.high[0] == 0.5
    np.testing.assert_allclose(band.low[:-1], 0.5)
    assert band.high[-1] == 1.0


def test_thinning_averages_neighbours() -> None:
    """Four points to two: the means of pairs; few points stay as they are."""
    x, y = thin_out(np.arange(4.0), np.array([1.0, 3.0, 5.0, 9.0]), most=2)

    assert x.tolist() == [0.5, 2.5]
    assert y.tolist() == [2.0, 7.0]
    assert thin_out(x, y, most=2)[1] is y
