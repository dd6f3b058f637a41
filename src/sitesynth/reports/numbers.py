"""Numbers as the page prints them; the same value looks the same everywhere.

What a study cannot define is None, and is printed as a dash.
"""

from collections.abc import Mapping


__all__ = [
    "ABSENT",
    "show_bytes",
    "show_count",
    "show_figures",
    "show_interval",
    "show_p",
    "show_percent",
    "show_score",
    "show_seconds",
    "show_signed",
]

ABSENT = "–"

SMALLEST_P = 0.001
"""A smaller p-value says nothing more, and is never printed as 0."""

LARGEST_IN_DIGITS = 1000
"""From here on a number is printed whole."""

SECONDS_PER_MINUTE = 60
MINUTES_SHOWN_FROM_S = 120


def show_score(value: float | None) -> str:
    """Show a number to three decimals: an AUC, a Brier score."""
    return ABSENT if value is None else _fixed(value, ".3f")


def show_signed(value: float | None) -> str:
    """Show a difference to three decimals, always with its sign."""
    return ABSENT if value is None else _fixed(value, "+.3f")


def show_figures(value: float | None) -> str:
    """Show a number of any size to three digits, or decimals: a distance, a volume."""
    if value is None:
        return ABSENT
    if abs(value) < 1:
        return _fixed(value, ".3f")
    shown = f"{value:.3g}" if abs(value) < LARGEST_IN_DIGITS else f"{value:,.0f}"
    return shown.replace(",", "\u202f").replace("-", "\u2212")


def show_percent(fraction: float | None) -> str:
    """Show a fraction as a percentage to one decimal, without the sign that a heading has."""
    return ABSENT if fraction is None else f"{100 * fraction:.1f}"


def show_p(value: float | None) -> str:
    """Show a p-value to three decimals, and never as 0."""
    if value is None:
        return ABSENT
    return f"< {SMALLEST_P:g}" if value < SMALLEST_P else f"{value:.3f}"


def show_interval(found: Mapping[str, float | None], *, is_signed: bool) -> str:
    """Show both ends of a `V` of results/comparison.json; one dash for one that has none."""
    if found["low"] is None and found["high"] is None:
        return ABSENT
    show = show_signed if is_signed else show_score
    return f"{show(found['low'])} to {show(found['high'])}"


def show_count(value: float | None) -> str:
    """Show a number of things, thousands apart by thin spaces."""
    return ABSENT if value is None else f"{value:,.0f}".replace(",", "\u202f")


def show_bytes(value: float | None) -> str:
    """Show bytes in the largest decimal unit that leaves a number of at least 1."""
    if value is None:
        return ABSENT
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} bytes"


def show_seconds(value: float | None) -> str:
    """Show a duration in seconds, or in minutes from two on."""
    if value is None:
        return ABSENT
    if value >= MINUTES_SHOWN_FROM_S:
        return f"{value / SECONDS_PER_MINUTE:.1f} min"
    return f"{value:.1f} s"


def _fixed(value: float, spec: str) -> str:
    """Print a minus sign that is as wide as a plus, and no negative zero."""
    return f"{round(value, 3) + 0.0:{spec}}".replace("-", "\u2212")
