"""Figures hold what they were given, as text that can be read and searched."""

import re
from xml.etree import ElementTree as ET

import numpy as np

from sitesynth.reports.figures import (
    Interval,
    Line,
    draw_forest,
    draw_lines,
    draw_reliability,
    draw_roc,
)
from sitesynth.reports.panels import site_styles, strategy_styles


LABELS = np.array([True, True, False, False])
SCORES = np.array([0.9, 0.8, 0.2, 0.1])


def test_text_is_text_and_the_drawing_is_valid() -> None:
    """No glyph is a path, and a name with markup in it breaks nothing."""
    styles = strategy_styles(["centralized", "local-a<b"])
    figure = draw_roc(
        {"centralized": (LABELS, SCORES), "local-a<b": (LABELS, SCORES)},
        styles=styles,
        band=None,
        title="$1 & co",
        caption="c",
        stage="s",
    )
    said = "".join(ET.fromstring(figure.svg).itertext())  # noqa: S314

    assert "$1 & co" in said
    assert "local-a<b" in said


def test_the_same_numbers_give_the_same_drawing() -> None:
    """No time, no random id: two runs of a study can be compared."""
    first, second = (
        draw_reliability(
            LABELS,
            SCORES,
            style=strategy_styles(["synthetic"])["synthetic"],
            title="t",
            caption="c",
            stage="s",
        )
        for _ in range(2)
    )

    assert first.svg == second.svg


def test_a_forest_says_its_numbers_in_words() -> None:
    """Its alternative text has every value with its interval, and a dash where there is none."""
    style = strategy_styles(["synthetic"])["synthetic"]
    figure = draw_forest(
        [Interval("a", 0.8, 0.7, 0.9, style), Interval("b", None, None, None, style)],
        title="AUC",
        label="AUC",
        caption="",
        stage="compare",
        lines={0.75: "margin"},
    )

    assert "a 0.800 (0.700 to 0.900)" in figure.alt
    assert "b – (– to –)" in figure.alt
    assert "margin" in figure.svg


def test_what_is_longer_than_the_axis_ends_at_its_end() -> None:
    """A long title, label and name of a line go left, where there is room; short ones do not."""
    style = strategy_styles(["synthetic"])["synthetic"]
    long, short = (
        draw_forest(
            [Interval("held-out, to training", 0.8, 0.2, 0.9, style)],
            title="t" * length,
            label="u" * length,
            caption="",
            stage="compare",
            lines={place: "copies"},
        ).svg
        for length, place in ((45, 0.9), (5, 0.5))
    )

    for text in ("t" * 45, "u" * 45, "copies"):
        assert re.search(rf"<text [^>]*text-anchor: end[^>]*>{text}</text>", long), text
        assert not re.search(rf"<text [^>]*text-anchor: end[^>]*>{text[:5]}", short), text


def test_a_forest_may_have_no_line() -> None:
    style = strategy_styles(["synthetic"])["synthetic"]
    figure = draw_forest(
        [Interval("synthetic", 0.8, 0.7, 0.9, style)],
        title="t",
        label="u",
        caption="",
        stage="compare",
        lines={},
    )

    assert "synthetic 0.800 (0.700 to 0.900)" in figure.alt


def test_names_of_near_lines_stand_on_either_side() -> None:
    """Where an interval is wide, a margin of 0.05 is next to 0."""
    style = strategy_styles(["synthetic"])["synthetic"]
    near, far = (
        draw_forest(
            [Interval("synthetic", 0.0, -reach, reach, style)],
            title="t",
            label="u",
            caption="",
            stage="compare",
            lines={-0.05: "margin", 0.0: "equal"},
        ).svg
        for reach in (0.6, 0.06)
    )

    for figure, left in ((near, {"margin"}), (far, set())):
        for name in ("margin", "equal"):
            ends = bool(re.search(rf"<text [^>]*text-anchor: end[^>]*>{name}</text>", figure))
            assert ends == (name in left), name


def test_a_long_training_makes_no_heavy_page() -> None:
    """A hundred thousand steps weigh what a hundred do."""
    sizes = [
        len(
            draw_lines(
                [Line("a", np.arange(n) + 1.0, np.cos(np.arange(n)) + 2, site_styles(["a"])["a"])],
                title="t",
                label="step",
                measured="loss",
                is_logarithmic=True,
                caption="",
                stage="s",
            ).svg
        )
        for n in (100, 100_000)
    ]

    assert sizes[1] < 1.5 * sizes[0]


def test_strategies_differ_without_colour() -> None:
    """In print, lines are told apart by their dashes, within what one panel shows."""
    styles = strategy_styles(["centralized", "federated", "synthetic", "augmented", "local-a"])
    looks = {(style.dashes, style.width) for style in styles.values()}

    assert len(looks) == len(styles)
    assert not [style for style in styles.values() if not re.match(r"#|0\.", style.color)]
