"""The paper that figures are drawn on: one look, one way to draw a strategy or a site.

A panel is an SVG with its text as text. It is small, so that it can be read alone on a telephone.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from sitesynth.settings import STAGED


__all__ = [
    "INK",
    "LETTER_IN",
    "MUTED",
    "RIGHT_IN",
    "RULE",
    "SQUARE_IN",
    "WIDTH_IN",
    "Figure",
    "Style",
    "open_panel",
    "site_styles",
    "strategy_styles",
    "to_svg",
]

INK, MUTED, RULE = "#1c2530", "#5b6673", "#d9dee4"
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#00805e", "#9c5a86"
ORANGE, SKY, GRAY = "#c98a00", "#3f9fd0", "#8a939e"

WIDTH_IN, HEIGHT_IN = 3.7, 2.9

SQUARE_IN = 3.0

LEFT_IN, RIGHT_IN, BOTTOM_IN, TOP_IN = 0.62, 0.12, 0.47, 0.3

LETTER_IN = 0.075
"""Mean width of a letter, generously, since readers' fonts differ."""

Dashes = str | tuple[int, tuple[float, ...]]
"""A line style of matplotlib: its name, or an offset and the lengths of dashes and gaps."""

LOOK: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.dpi": 72,  # of SVG
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "sitesynth",
    "text.color": INK,
    "text.parse_math": False,  # a scanner may be called $1
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}

SCREEN_FONTS = "system-ui, 'Segoe UI', Roboto, Helvetica"


@final
@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, what it shows in words, and what made it."""

    svg: str
    alt: str
    caption: str
    stage: str
    """The stage whose run made the numbers, as MLflow names it."""


@final
@dataclass(frozen=True, slots=True)
class Style:
    """How one strategy or site is drawn, in every figure."""

    color: str
    dashes: Dashes
    marker: str
    width: float


def strategy_styles(strategies: Sequence[str]) -> dict[str, Style]:
    """Give every strategy its look: those that pool or replace scans each their own."""
    known = {
        "centralized": Style(INK, "solid", "s", 1.7),
        "federated": Style(BLUE, (0, (6, 1.5)), "D", 1.5),
        "synthetic": Style(VERMILION, "solid", "o", 1.9),
        "augmented": Style(GREEN, (0, (4, 1.2, 1, 1.2)), "^", 1.5),
        "baseline-covariates": Style(ORANGE, (0, (3, 1)), "P", 1.0),
        "baseline-site": Style(ORANGE, (0, (1, 1)), "X", 1.0),
        "baseline-intensity": Style(ORANGE, (0, (6, 1.5)), "P", 1.2),
        # The same strategies on another mix: the same colour, thin.
        "synthetic-equal": Style(VERMILION, (0, (2, 1.5)), "o", 1.0),
        "synthetic-proportional": Style(VERMILION, (0, (5, 1.5)), "o", 1.0),
        "augmented-equal": Style(GREEN, (0, (2, 1.5)), "^", 1.0),
        "augmented-proportional": Style(GREEN, (0, (5, 1.5)), "^", 1.0),
    }
    # Learned in stages: the look of the same at once, dotted.
    known |= {
        f"{name}{STAGED}": replace(style, dashes=(0, (1, 1)), width=1.0)
        for name, style in known.items()
    }
    local = [name for name in strategies if name not in known]
    shades = np.linspace(0.4, 0.62, max(1, len(local)))
    dashes: list[Dashes] = [(0, (1.5, 1)), (0, (3, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2))]
    styles = {
        name: Style(str(shade), dashes[number % len(dashes)], "v", 1.4)
        for number, (name, shade) in enumerate(zip(local, shades, strict=False))
    }
    return {name: known.get(name) or styles[name] for name in strategies}


def site_styles(sites: Sequence[str]) -> dict[str, Style]:
    """Give every site its look."""
    colors = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, GRAY, INK]
    dashes: list[Dashes] = ["solid", (0, (6, 1.5)), (0, (4, 1.2, 1, 1.2)), (0, (1.5, 1))]
    return {
        site: Style(colors[number % len(colors)], dashes[number % len(dashes)], "o", 1.4)
        for number, site in enumerate(sites)
    }


@contextmanager
def open_panel(
    title: str,
    *,
    width: float = WIDTH_IN,
    height: float = HEIGHT_IN,
    names: Sequence[str] = (),
) -> Iterator[tuple[Canvas, Axes]]:
    """Open a panel; pyplot, which keeps every figure, is not involved.

    Args:
        title: What stands above it.
        width: In inches, as are all lengths here.
        height: In inches.
        names: What stands left of the axis, if not numbers.
    """
    longest = max((len(name) for name in names), default=0)
    left = max(LEFT_IN, LETTER_IN * longest + 0.15)
    with mpl.rc_context(LOOK):
        canvas = Canvas(figsize=(width, height))
        axes = canvas.add_subplot()
        # Known margins, because matplotlib finds the best ones by drawing everything three times.
        canvas.subplots_adjust(
            left=left / width,
            right=1 - RIGHT_IN / width,
            bottom=BOTTOM_IN / height,
            top=1 - TOP_IN / height,
        )
        axes.set_title(title)
        yield canvas, axes


def to_svg(canvas: Canvas) -> str:
    """Return a panel as SVG in the reader's own fonts, without matplotlib's preamble."""
    drawn = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Not `savefig`, which draws twice.
    FigureCanvasSVG(canvas).print_svg(drawn, metadata=nothing)  # type: ignore[no-untyped-call]
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :].replace("'DejaVu Sans'", SCREEN_FONTS)
    return " ".join(svg.split())
