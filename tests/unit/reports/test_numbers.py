"""Numbers look the same everywhere, and none pretends."""

import pytest

from sitesynth.reports.numbers import (
    ABSENT,
    show_bytes,
    show_count,
    show_interval,
    show_p,
    show_percent,
    show_score,
    show_seconds,
    show_signed,
)


def test_what_is_undefined_is_a_dash() -> None:
    """Never 0, and never nan."""
    for show in (show_score, show_signed, show_percent, show_p, show_bytes, show_seconds):
        assert show(None) == "–"


def test_a_difference_keeps_its_sign_and_zero_has_plus() -> None:
    """The minus is as wide as the plus; rounding makes no negative zero."""
    assert show_signed(-0.0123) == "\u22120.012"
    assert show_signed(0.0123) == "+0.012"
    assert show_signed(-0.0001) == "+0.000"
    assert show_score(-0.0001) == "0.000"


def test_a_p_value_is_never_zero() -> None:
    """A test cannot exclude chance."""
    assert show_p(0.0) == "< 0.001"
    assert show_p(0.001) == "0.001"


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.25e9, "2.2 GB")]
)
def test_bytes_have_the_unit_that_leaves_a_readable_number(value: float, shown: str) -> None:
    """Decimal units, as the ledger has them."""
    assert show_bytes(value) == shown


def test_the_rest_is_plain() -> None:
    """Percent without its sign, thousands apart, minutes from two on."""
    assert show_percent(0.9615) == "96.2"
    assert show_count(12345) == "12\u202f345"
    assert show_seconds(119.0) == "119.0 s"
    assert show_seconds(150.0) == "2.5 min"
    assert show_interval({"low": -0.1, "high": 0.2}, is_signed=True) == "\u22120.100 to +0.200"


def test_an_interval_that_nothing_defines_is_one_dash() -> None:
    assert show_interval({"low": None, "high": None}, is_signed=False) == ABSENT
    assert show_interval({"low": 0.25, "high": None}, is_signed=True) == f"+0.250 to {ABSENT}"
