"""The section about how many synthetic scans help, for studies that measured it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sitesynth.reports.numbers import show_count, show_interval, show_score, show_signed
from sitesynth.reports.page import Gallery, Section
from sitesynth.reports.panels import INK, Figure, open_panel, strategy_styles, to_svg
from sitesynth.reports.study import Results
from sitesynth.reports.tables import Table, column, head, number


__all__ = ["supplementation_sections"]

STAGE: Final = "supplement"

STYLES: Final = {"added": "augmented", "alone": "synthetic"}
"""Which strategy's look each kind of point has."""

NAMES: Final = {"added": "real and synthetic", "alone": "synthetic alone"}

SHIFT: Final = 0.09
"""Of the two kinds, left and right of their place, so that neither hides the other."""

Json = Mapping[str, Any]


def supplementation_sections(results: Results) -> list[Section]:
    """Show the curve; nothing where the study did not ask for it."""
    found = results.supplementation
    if not found["amounts"]:
        return []
    trainings = len(found["amounts"][0]["replicates"])
    lead = (
        "External AUC against synthetic scans, in percent of the real training scans of each site "
        "and class: added to the real ones, or alone. Each point is the mean of "
        f"{trainings} trainings on scans of their own, with its interval by patient "
        f"(n = {found['n']}). The curve describes and chooses nothing: the external patients "
        "are the test of the strategies, and no strategy takes its number of scans from here."
    )
    gallery = Gallery("", [_draw(found)], "", "regular")
    name, title = "supplementation", "How many synthetic scans"
    return [Section(name, title, lead, [gallery, _table(found)])]


def _draw(found: Json) -> Figure:
    """Draw both kinds at evenly spaced percentages, each training as a dot."""
    percentages = sorted({entry["percentage"] for entry in found["amounts"]})
    place = {percentage: number for number, percentage in enumerate(percentages)}
    styles = strategy_styles(list(STYLES.values()))
    title = "AUC by number of synthetic scans"
    with open_panel(title) as (canvas, axes):
        axes.axhline(found["amounts"][0]["auc"]["value"], color=INK, linewidth=0.8, alpha=0.5)
        for kind, shift in (("added", -SHIFT), ("alone", SHIFT)):
            style = styles[STYLES[kind]]
            entries = _of_kind(found, kind)
            x = [place[entry["percentage"]] + shift for entry in entries]
            y = [entry["auc"]["value"] for entry in entries]
            axes.vlines(
                x,
                [entry["auc"]["low"] for entry in entries],
                [entry["auc"]["high"] for entry in entries],
                color=style.color,
                linewidth=1.0,
            )
            axes.plot(x, y, style.marker, color=style.color, linestyle="solid", label=NAMES[kind])
            for at, entry in zip(x, entries, strict=True):
                dots = [told["auc"] for told in entry["replicates"]]
                axes.plot([at] * len(dots), dots, ".", color=INK, markersize=2.5)
        axes.set_xticks(range(len(percentages)), [str(p) for p in percentages])
        axes.set(xlabel="synthetic scans, % of the real ones", ylabel="external AUC")
        axes.yaxis.set_major_formatter("{x:.2f}")
        axes.legend(loc="best", borderaxespad=0.2)
        svg = to_svg(canvas)
    told = "; ".join(
        f"{entry['percentage']} % {NAMES[entry['kind']]} {show_score(entry['auc']['value'])}"
        for entry in found["amounts"]
    )
    caption = "Line across: real scans alone. Bars: 95 % by patient. Dots: one training each."
    return Figure(svg, f"{title}: {told}. {caption}", caption, STAGE)


def _of_kind(found: Json, kind: str) -> Sequence[Json]:
    return [entry for entry in found["amounts"] if entry["kind"] == kind]


def _table(found: Json) -> Table:
    rows = [
        [
            head(f"{NAMES[entry['kind']]}, {entry['percentage']} %"),
            number(show_count(_total(entry["synthetic_scans"]))),
            number(
                show_score(entry["auc"]["value"]),
                note=show_interval(entry["auc"], is_signed=False),
            ),
            number("reference")
            if entry["difference"] is None
            else number(
                show_signed(entry["difference"]["value"]),
                note=show_interval(entry["difference"], is_signed=True),
            ),
            number(show_score(entry["sd"])),
        ]
        for entry in found["amounts"]
    ]
    return Table(
        "AUC by number of synthetic scans",
        [
            [
                head(""),
                column("synthetic scans"),
                column("AUC"),
                column("difference to real alone"),
                column("sd of trainings"),
            ]
        ],
        rows,
        f"Real scans: {show_count(_total(found['real_scans']))}. Differences are paired, by "
        "patient; without adjustment for their number.",
    )


def _total(scans: Json) -> int:
    return sum(count for counts in scans.values() for count in counts.values())
