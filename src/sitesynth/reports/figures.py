"""Figures of the page: each panel has an alternative text that says what it shows, with numbers.

Strategies differ in line style as well as in colour (Okabe and Ito, 2008), so that a print in gray
still tells them apart.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sitesynth.evaluation.metrics import reliability_bins
from sitesynth.reports.curves import Band, roc_points, thin_out
from sitesynth.reports.numbers import show_score
from sitesynth.reports.panels import (
    INK,
    LETTER_IN,
    MUTED,
    RIGHT_IN,
    RULE,
    SQUARE_IN,
    WIDTH_IN,
    Figure,
    Style,
    open_panel,
    to_svg,
)


__all__ = [
    "Interval",
    "Line",
    "draw_forest",
    "draw_lines",
    "draw_points",
    "draw_reliability",
    "draw_roc",
    "draw_seeds",
]

MOST_POINTS = 160
"""Of a line: more than a panel has pixels to show."""

MINUS = "\u2212"

TITLE_LETTER_IN = 0.085
"""Mean width of a title's letter, which is larger and bold."""

SHORT_NAME = 16
"""Letters of a row's name that a panel of the usual width has room for."""

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]


@final
@dataclass(frozen=True, slots=True)
class Line:
    """A curve with its name."""

    name: str
    x: np.ndarray
    y: np.ndarray
    style: Style


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """A value between two ends; None where it is not defined."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    style: Style


def draw_roc(
    curves: Mapping[str, tuple[Labels, Values]],
    *,
    styles: Mapping[str, Style],
    band: Band | None,
    title: str,
    caption: str,
    stage: str,
) -> Figure:
    """Draw receiver operating characteristics of several strategies on the same patients.

    Args:
        curves: By strategy: labels and scores, both classes present; the last is drawn on top.
        styles: By strategy.
        band: The interval of the last curve.
        title: What the panel is about.
        caption: The line below it.
        stage: What made the scores.
    """
    with open_panel(title, width=SQUARE_IN, height=SQUARE_IN) as (canvas, axes):
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.0)
        if band is not None:
            color = styles[list(curves)[-1]].color
            axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.16, linewidth=0)
        for name, (labels, scores) in curves.items():
            axes.plot(*roc_points(labels, scores), label=name, **_look_of(styles[name]))
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel=f"1 {MINUS} specificity", ylabel="sensitivity")
        axes.legend(loc="lower right", borderaxespad=0.2)
        svg = to_svg(canvas)
    alt = f"{title}: sensitivity against 1 minus specificity for {', '.join(curves)}. {caption}"
    return Figure(svg, alt, caption, stage)


def draw_reliability(
    labels: Labels, scores: Values, *, style: Style, title: str, caption: str, stage: str
) -> Figure:
    """Draw what happened against what was predicted; a dot's area is its number of patients."""
    bins = reliability_bins(labels, scores)
    with open_panel(title, width=SQUARE_IN, height=SQUARE_IN) as (canvas, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.plot(
            [found.mean_probability for found in bins],
            [found.positive_fraction for found in bins],
            color=style.color,
            linewidth=0.8,
            alpha=0.5,
        )
        axes.scatter(
            [found.mean_probability for found in bins],
            [found.positive_fraction for found in bins],
            s=[4 + 260 * found.num_patients / len(labels) for found in bins],
            color=style.color,
            alpha=0.8,
            linewidth=0,
        )
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.06, 1.06), aspect="equal")
        axes.set(xlabel="predicted probability", ylabel="fraction positive")
        svg = to_svg(canvas)
    told = "; ".join(
        f"{found.positive_fraction:.2f} at {found.mean_probability:.2f}" for found in bins
    )
    alt = f"{title}: fraction positive at each mean predicted probability: {told}. {caption}"
    return Figure(svg, alt, caption, stage)


def draw_points(
    points: Mapping[str, Sequence[tuple[float, float, int]]],
    *,
    styles: Mapping[str, Style],
    title: str,
    label: str,
    measured: str,
    caption: str,
    stage: str,
) -> Figure:
    """Draw what was seen against what was said; a dot's area is its number of scans.

    Args:
        points: By series: said, seen, and how many.
        styles: By series.
        title: What the panel is about.
        label: What was said.
        measured: What was seen.
        caption: The line below it.
        stage: What made the numbers.
    """
    with open_panel(title, width=SQUARE_IN, height=SQUARE_IN) as (canvas, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        for name, series in points.items():
            total = sum(count for _, _, count in series)
            said, seen, sizes = zip(*series, strict=True)
            axes.scatter(
                said,
                seen,
                s=[4 + 260 * count / total for count in sizes],
                color=styles[name].color,
                marker=styles[name].marker,
                alpha=0.75,
                linewidth=0,
                label=name,
            )
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.06, 1.06), aspect="equal")
        axes.set(xlabel=label, ylabel=measured)
        axes.legend(loc="upper left", markerscale=0.5)
        svg = to_svg(canvas)
    told = "; ".join(
        f"{name} {', '.join(f'{seen:.2f} at {said:.2f}' for said, seen, _ in series)}"
        for name, series in points.items()
    )
    return Figure(svg, f"{title}, {measured} against {label}: {told}. {caption}", caption, stage)


def draw_forest(
    intervals: Sequence[Interval],
    *,
    title: str,
    label: str,
    caption: str,
    stage: str,
    lines: Mapping[float, str],
) -> Figure:
    """Draw values with their intervals below each other.

    Args:
        intervals: From top to bottom.
        title: What the panel is about.
        label: What the axis measures.
        caption: The line below it.
        stage: What made the numbers.
        lines: Values to mark, and how each mark is called.
    """
    with _open_list(title, [found.name for found in intervals]) as (canvas, axes):
        for value in lines:
            axes.axvline(value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        for row, found in enumerate(intervals):
            if found.value is None:
                continue
            low = found.value if found.low is None else found.low
            high = found.value if found.high is None else found.high
            axes.plot([low, high], [row, row], color=found.style.color, linewidth=1.8)
            axes.plot(
                found.value, row, found.style.marker, color=found.style.color, markersize=6.5,
                markeredgecolor="white", markeredgewidth=0.8,
            )  # fmt: skip
        axes.set_xlabel(label, loc="center" if _fits(label, axes, width_in=LETTER_IN) else "right")
        _name_lines(axes, lines)
        svg = to_svg(canvas)
    told = "; ".join(
        f"{found.name} {show_score(found.value)} ({show_score(found.low)} to "
        f"{show_score(found.high)})"
        for found in intervals
    )
    return Figure(svg, f"{title}, {label}: {told}.", caption, stage)


def draw_seeds(
    by_seed: Mapping[str, Sequence[float]],
    together: Mapping[str, float],
    *,
    styles: Mapping[str, Style],
    title: str,
    caption: str,
    stage: str,
) -> Figure:
    """Draw the AUC of each training seed alone, and of the mean of their probabilities."""
    with _open_list(title, list(by_seed)) as (canvas, axes):
        for row, (name, values) in enumerate(by_seed.items()):
            color = styles[name].color
            axes.plot(values, [row] * len(values), "o", color=color, markersize=6, alpha=0.45,
                      markeredgewidth=0)  # fmt: skip
            axes.plot(together[name], row, "|", color=color, markersize=13, markeredgewidth=2)
        axes.set_xlabel("AUC, all external patients")
        svg = to_svg(canvas)
    told = "; ".join(
        f"{name} {', '.join(show_score(value) for value in values)}, together "
        f"{show_score(together[name])}"
        for name, values in by_seed.items()
    )
    return Figure(svg, f"{title}: {told}.", caption, stage)


def draw_lines(
    lines: Sequence[Line],
    *,
    title: str,
    label: str,
    measured: str,
    is_logarithmic: bool,
    caption: str,
    stage: str,
) -> Figure:
    """Draw curves over one axis, with few enough points for a light page.

    Args:
        lines: The curves.
        title: What the panel is about.
        label: What the horizontal axis is.
        measured: What the vertical axis is.
        is_logarithmic: Whether the vertical axis is; every y is above 0 then.
        caption: The line below it.
        stage: What made the numbers.
    """
    with open_panel(title) as (canvas, axes):
        for line in lines:
            x, y = thin_out(line.x, line.y, most=MOST_POINTS)
            axes.plot(x, y, label=line.name, **_look_of(line.style))
        if is_logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=label, ylabel=measured)
        axes.legend(loc="best", borderaxespad=0.2, labelspacing=0.25)
        svg = to_svg(canvas)
    told = "; ".join(
        f"{line.name} from {line.y[0]:.3g} to {line.y[-1]:.3g}" for line in lines if len(line.y)
    )
    return Figure(svg, f"{title}, {measured} against {label}: {told}.", caption, stage)


@contextmanager
def _open_list(title: str, names: Sequence[str]) -> Iterator[tuple[Canvas, Axes]]:
    """Open a panel with a row for each name, from top to bottom."""
    longest = max((len(name) for name in names), default=0)
    width = WIDTH_IN + LETTER_IN * max(0, longest - SHORT_NAME)
    height = 1.1 + 0.27 * len(names)
    with open_panel(title, width=width, height=height, names=names) as (canvas, axes):
        axes.set_yticks(range(len(names)), list(names))
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        # Room for what vertical lines are called; a long title begins left of the axis.
        fits = _fits(title, axes, width_in=TITLE_LETTER_IN)
        axes.set_title(title, pad=14, x=0 if fits else 1, ha="left" if fits else "right")
        yield canvas, axes


def _fits(says: str, axes: Axes, *, width_in: float) -> bool:
    """Tell whether a text is no wider than the axis, if its letters have some mean width."""
    return len(says) * width_in <= _width_of(axes)


def _width_of(axes: Axes) -> float:
    """Return the length of the axis in inches."""
    canvas = axes.get_figure(root=True)
    assert canvas is not None  # noqa: S101
    return float(axes.get_position().width * canvas.get_size_inches()[0])


def _name_lines(axes: Axes, lines: Mapping[float, str]) -> None:
    """Write above each vertical line what it is called.

    That is right of them, or left for want of room. Of two lines too near each other for that, the
    left one's name goes left.
    """
    low, high = axes.get_xlim()
    per_unit = _width_of(axes) / float(high - low)
    fits = all(
        (high - value) * per_unit + RIGHT_IN >= len(name) * LETTER_IN
        for value, name in lines.items()
    )
    for value, after in pairwise([*sorted(lines), math.inf]):
        name = lines[value]
        is_right = fits and (after - value) * per_unit >= (len(name) + 1) * LETTER_IN
        axes.annotate(
            name, (value, 1), xycoords=("data", "axes fraction"), xytext=(3 if is_right else -3, 1),
            textcoords="offset points", fontsize=7.5, color=MUTED, va="bottom",
            ha="left" if is_right else "right",
        )  # fmt: skip


def _look_of(style: Style) -> dict[str, Any]:
    return {"color": style.color, "linestyle": style.dashes, "linewidth": style.width}
