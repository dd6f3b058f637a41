"""The table that `make repro` prints."""

from typing import Any

from sitesynth.evaluation.tables import render_comparison


def value(middle: float | None, *, half: float = 0.05) -> dict[str, float | None]:
    if middle is None:
        return {"value": None, "low": None, "high": None}
    return {"value": middle, "low": middle - half, "high": middle + half}


def scope(auc: float | None) -> dict[str, Any]:
    return {"n": 20, "positives": 8, "auc": value(auc)}


def comparison() -> dict[str, Any]:
    entry = {
        "a": "synthetic",
        "b": "centralized",
        "auc_difference": value(-0.0125, half=0.02),
        "delong_p": 0.25,
        "delong_p_holm": 0.5,
        "mcnemar_p": 0.0001234,
        "margin": 0.05,
        "non_inferior": False,
        "statement": "What it means.",
    }
    return {
        "task": "idh",
        "positive": "mutant",
        "reference": "centralized",
        "order": {"strategies": ["synthetic", "centralized"], "sites": ["oak", "elm"]},
        "strategies": {
            "centralized": {"overall": scope(0.9), "sites": {"elm": scope(0.8), "oak": scope(0.7)}},
            "synthetic": {"overall": scope(0.6), "sites": {"elm": scope(0.5), "oak": scope(None)}},
        },
        "comparisons": [entry, entry | {"b": "federated", "statement": "Aside."}],
    }


def test_rows_and_columns_come_in_reporting_order() -> None:
    lines = render_comparison(comparison()).splitlines()
    header = next(line for line in lines if line.startswith("strategy"))
    names = [line.split()[0] for line in lines if "[0." in line][:2]

    assert header.split() == ["strategy", "oak", "elm", "overall"]
    assert names == ["synthetic", "centralized"]


def test_columns_are_aligned() -> None:
    lines = render_comparison(comparison()).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("strategy"))

    assert len({len(line) for line in lines[start : start + 5]}) == 1


def test_a_cell_holds_the_value_and_its_interval() -> None:
    text = render_comparison(comparison())

    assert "0.900 [0.850, 0.950]" in text
    assert "undefined" in text
    assert "-0.013 [-0.033, +0.007]" in text or "-0.012 [-0.033, +0.007]" in text
    assert "not shown" in text


def test_statements_are_those_against_the_reference() -> None:
    text = render_comparison(comparison())

    assert "What it means." in text
    assert "Aside." not in text
