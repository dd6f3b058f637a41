"""results/comparison.json as plain text: `python -m sitesynth.evaluation.tables FILE`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sitesynth.storage import read_json


__all__ = ["render_comparison"]


def render_comparison(comparison: Mapping[str, Any]) -> str:
    """Render AUC by strategy and site, all tests, and what those against the reference mean."""
    strategies, order = comparison["strategies"], comparison["order"]
    scopes = {
        name: strategies[name]["sites"] | {"overall": strategies[name]["overall"]}
        for name in order["strategies"]
    }
    columns = [*order["sites"], "overall"]
    sizes = scopes[order["strategies"][0]]
    header = ["strategy", *columns]
    counts = ["", *(_composition(sizes[column], comparison) for column in columns)]
    rows = [
        [name, *(_shown(found[column]["auc"]) for column in columns)]
        for name, found in scopes.items()
    ]
    tests = [
        [
            f"{entry['a']} - {entry['b']}",
            _shown(entry["auc_difference"], sign="+"),
            _shown_number(entry["delong_p"]),
            _shown_number(entry["delong_p_holm"]),
            _shown_number(entry["mcnemar_p"]),
            "yes" if entry["non_inferior"] else "not shown",
        ]
        for entry in comparison["comparisons"]
    ]
    margin = comparison["comparisons"][0]["margin"] if comparison["comparisons"] else 0.0
    names = ["difference", "AUC", "DeLong p", "Holm", "McNemar p", f"non-inferior ({margin:g})"]
    return "\n".join(
        [
            _title(comparison),
            "",
            *_align([header, counts, *rows], rule_after=2),
            "",
            *_align([names, *tests], rule_after=1),
            "",
            *(
                entry["statement"]
                for entry in comparison["comparisons"]
                if entry["b"] == comparison["reference"]
            ),
            "",
        ]
    )


def _title(comparison: Mapping[str, Any]) -> str:
    if comparison["positive"] is None:
        classes = ", ".join(comparison["classes"])
        return f"External macro AUC [95 % interval], {comparison['task']}: {classes}"
    return f"External AUC [95 % interval], {comparison['task']}: {comparison['positive']}"


def _composition(sizes: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """Say how many patients there are, and of the positive class or of each in order."""
    if sizes["positives"] is None:
        counts = [str(sizes["counts"][name]) for name in comparison["classes"]]
        return f"n={sizes['n']} ({'/'.join(counts)})"
    return f"n={sizes['n']}, {sizes['positives']} positive"


def _align(rows: Sequence[Sequence[str]], *, rule_after: int) -> list[str]:
    """Pad cells to columns, names to the left and values to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "  ".join("-" * width for width in widths)
    return [*lines[:rule_after], rule, *lines[rule_after:]]


def _shown(value: Mapping[str, float | None], *, sign: str = "") -> str:
    if value["value"] is None:
        return "undefined"
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:{sign}.3f} [unknown]"
    return f"{value['value']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def _shown_number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    sys.stdout.write(render_comparison(read_json(Path(sys.argv[1]))))
