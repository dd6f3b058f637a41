"""What a strategy's pictures draw, read back from their axes."""

import numpy as np
import pytest

from sitesynth.evaluation.figures import draw_predictions
from sitesynth.evaluation.predictions import ClassPredictions, Predictions


def predictions(sites: list[str], labels: list[int], scores: list[float]) -> Predictions:
    patients = tuple(f"p{number}" for number in range(len(sites)))
    values = np.array(scores)
    return Predictions(patients, tuple(sites), np.array(labels, dtype=bool), values, values[None])


def test_a_perfect_classifier_turns_in_the_corner() -> None:
    """Two patients of each class: half of the positives are found before any false alarm."""
    drawn = predictions(["elm"] * 4, [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    (name, roc), _ = draw_predictions(drawn, title="synthetic")

    assert name == "roc"
    *_, overall = roc.axes[0].lines
    assert overall.get_label() == "all sites: AUC 1.000"
    points = [tuple(point) for point in np.asarray(overall.get_xydata())]
    assert points == [(0, 0), (0, 0.5), (0, 1), (0.5, 1), (1, 1)]


def test_ties_are_a_slope_and_a_site_of_one_class_has_no_curve() -> None:
    drawn = predictions(["elm", "elm", "oak"], [0, 1, 1], [0.5, 0.5, 0.5])
    (_, roc), _ = draw_predictions(drawn, title="t")

    _, of_elm, overall = roc.axes[0].lines
    assert [of_elm.get_label(), overall.get_label()] == ["elm: AUC 0.500", "all sites: AUC 0.500"]
    assert np.asarray(overall.get_xydata()).tolist() == [[0, 0], [1, 1]]


def test_reliability_sets_what_happened_against_what_was_said() -> None:
    """Of the four at 0.4, one is positive."""
    drawn = predictions(["elm"] * 5, [1, 0, 0, 0, 1], [0.4] * 4 + [0.99])
    _, (name, figure) = draw_predictions(drawn, title="t")

    assert name == "reliability"
    dots = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert dots.tolist() == [pytest.approx([0.4, 0.25]), pytest.approx([0.99, 1.0])]


def test_of_three_classes_each_is_drawn_against_the_rest() -> None:
    """The third is told apart from both others."""
    chances = np.array([[0.5, 0.4, 0.1], [0.4, 0.5, 0.1], [0.1, 0.0, 0.9]])
    drawn = ClassPredictions(
        ("a", "b", "c"), ("p", "q", "r"), ("elm",) * 3, np.arange(3), chances, chances[None]
    )
    figures = dict(draw_predictions(drawn, title="t"))

    assert list(figures) == [f"{kind}_{name}" for name in "abc" for kind in ("roc", "reliability")]
    assert figures["roc_c"].axes[0].get_title() == "t: c"
    assert figures["roc_c"].axes[0].lines[-1].get_label() == "all sites: AUC 1.000"
