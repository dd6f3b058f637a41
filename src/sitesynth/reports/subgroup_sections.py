"""The section about parts of the external patients."""

from collections.abc import Mapping
from typing import Any

from sitesynth.reports.figures import Interval, draw_forest
from sitesynth.reports.findings import subject_of
from sitesynth.reports.numbers import (
    ABSENT,
    show_count,
    show_interval,
    show_score,
    show_signed,
)
from sitesynth.reports.page import Block, Gallery, Section
from sitesynth.reports.panels import Style, strategy_styles
from sitesynth.reports.study import Results
from sitesynth.reports.tables import Table, column, head, number


__all__ = ["subgroups_section"]

Json = Mapping[str, Any]


def subgroups_section(results: Results) -> Section:
    """Show where the strategy in question is better or worse than the reference."""
    comparison = results.comparison
    subject, reference = subject_of(comparison), comparison["reference"]
    found = comparison["subgroups"]
    judged = [group for group in found["groups"] if subject in group["strategies"]]
    blocks: list[Block] = []
    if subject is not None and judged:
        style = strategy_styles(comparison["order"]["strategies"])[subject]
        rows = [
            _interval(group, group["strategies"][subject]["auc_difference"], style)
            for group in judged
        ]
        margin = next(entry["margin"] for entry in comparison["comparisons"])
        figure = draw_forest(
            rows,
            title=f"{subject} − {reference}, by subgroup",
            label="difference in AUC, 95 % interval",
            caption="In brackets: patients.",
            stage="compare",
            lines={-margin: "margin", 0.0: "equal"},
        )
        blocks.append(Gallery("", [figure], "", "wide"))
    blocks.append(_table(results, subject=subject))
    return Section(
        "subgroups",
        "Subgroups",
        f"Groups with fewer than {found['min_patients']} patients of a class are counted and not "
        "judged. Groups overlap and nothing is tested or adjusted: with this many, some will "
        "differ by chance.",
        blocks,
    )


def _interval(group: Json, difference: Json, style: Style) -> Interval:
    name = f"{group['covariate']}: {group['value']} ({group['n']})"
    return Interval(name, difference["value"], difference["low"], difference["high"], style)


def _composition(group: Json, comparison: Json) -> str:
    """Count the positive patients, or those of each class in order."""
    if group["positives"] is None:
        return ", ".join(show_count(group["counts"][name]) for name in comparison["classes"])
    return show_count(group["positives"])


def _table(results: Results, *, subject: str | None) -> Table:
    comparison = results.comparison
    shown = [name for name in (comparison["reference"], subject) if name is not None]
    groups = comparison["subgroups"]["groups"]
    rows, before = [], None
    for group in groups:
        size = sum(other["covariate"] == group["covariate"] for other in groups)
        told = [group["strategies"].get(name) for name in shown]
        rows.append(
            [
                *([head(group["covariate"], rows=size)] if group["covariate"] != before else []),
                head(group["value"]),
                number(show_count(group["n"])),
                number(_composition(group, comparison)),
                *(
                    number(ABSENT)
                    if entry is None
                    else number(
                        show_score(entry["auc"]["value"]),
                        note=show_interval(entry["auc"], is_signed=False),
                    )
                    for entry in told
                ),
                number(ABSENT)
                if told[-1] is None
                else number(
                    show_signed(told[-1]["auc_difference"]["value"]),
                    note=show_interval(told[-1]["auc_difference"], is_signed=True),
                ),
            ]
        )
        before = group["covariate"]
    return Table(
        "AUC by subgroup of the external patients",
        [
            [
                head("Of"),
                head("Group"),
                column("n"),
                column(comparison["positive"] or ", ".join(comparison["classes"])),
                *(column(name) for name in shown),
                column("Difference"),
            ]
        ],
        rows,
        "",
    )
