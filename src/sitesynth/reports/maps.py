"""Matrices as figures: a shade and a number per cell."""

from collections.abc import Mapping

import numpy as np

from sitesynth.reports.panels import INK, LETTER_IN, Figure, open_panel, to_svg


__all__ = ["draw_matrix"]

CELL_IN = 0.62
MARGIN_IN = 1.15

DARK = 0.6
"""Share of the scale from which a cell's number is white."""

SHOWN_WHOLE = 100
"""Numbers from here on are printed without decimals."""


def draw_matrix(
    rows: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    down: str,
    across: str,
    caption: str,
    stage: str,
) -> Figure:
    """Draw a matrix, shaded within each row, with the smallest entry of a row framed.

    Args:
        rows: By row, and then by column.
        title: What the panel is about.
        down: What the rows are.
        across: What the columns are.
        caption: The line below it.
        stage: What made the numbers.
    """
    columns = list(next(iter(rows.values())))
    values = np.array([[rows[row][column] for column in columns] for row in rows])
    span = np.ptp(values, axis=1, keepdims=True)
    shades = (values - values.min(axis=1, keepdims=True)) / np.where(span > 0, span, 1)
    longest = max(len(name) for name in rows)
    with open_panel(
        title,
        width=CELL_IN * len(columns) + LETTER_IN * longest + MARGIN_IN,
        height=CELL_IN * len(rows) + MARGIN_IN,
        names=[*rows, " " * (longest + 4)],
    ) as (canvas, axes):
        axes.imshow(shades, cmap="Blues", vmin=-0.1, vmax=1.3, aspect="auto")
        for row, column in np.ndindex(values.shape):
            is_least = values[row, column] == values[row].min()
            axes.text(
                column,
                row,
                _shown(float(values[row, column])),
                ha="center",
                va="center",
                color="white" if shades[row, column] > DARK else INK,
                weight="bold" if is_least else "normal",
            )
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(length=0, labelcolor=INK)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set(xlabel=across, ylabel=down)
        svg = to_svg(canvas)
    told = "; ".join(
        f"{row}: {', '.join(f'{name} {_shown(value)}' for name, value in found.items())}"
        for row, found in rows.items()
    )
    return Figure(svg, f"{title}, {down} by {across}: {told}.", caption, stage)


def _shown(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= SHOWN_WHOLE else f"{value:.2g}"
