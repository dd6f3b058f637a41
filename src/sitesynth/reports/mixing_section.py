"""The section about the mix: what the tuner took from each generator, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sitesynth.patterns import ANY, are_side_by_side
from sitesynth.reports.numbers import ABSENT, show_count, show_score
from sitesynth.reports.page import Gallery, Section
from sitesynth.reports.panels import INK, MUTED, Figure, open_panel, strategy_styles, to_svg
from sitesynth.reports.study import Results, Study
from sitesynth.reports.tables import Table, column, head, number


__all__ = ["mixing_section"]

STAGE = "tune_mixing"

Json = Mapping[str, Any]


def mixing_section(study: Study, results: Results) -> Section:
    """Show the tuned mix beside the fixed ones, and how it was found."""
    mixing = results.mixing
    classes = (ANY,) if are_side_by_side(study.task.label) else study.classes
    figures = [_draw_mix(mixing, classes)]
    if mixing["trials"]:
        figures += [_draw_history(mixing["trials"]), _draw_finalists(mixing["finalists"])]
    return Section(
        "mix",
        "The mix of synthetic scans",
        _lead(mixing),
        [Gallery("", figures, "", "regular"), _mix_table(mixing, classes), _finalist_table(mixing)],
    )


def _lead(mixing: Json) -> str:
    if not mixing["trials"]:
        return "No mix was tried: the hub took as many scans from every site and class."
    best, tried = mixing["best"], len(mixing["trials"])
    equal = next(entry for entry in mixing["finalists"] if entry["name"] == "equal")
    trainings = len(best["by_seed"])
    outcome = (
        "None was better than the equal mix, which stays"
        if best["name"] == "equal"
        else f"The best, {best['name']}, has a mean loss of {show_score(best['validation_loss'])}, "
        f"the equal mix one of {show_score(equal['validation_loss'])}"
    )
    return (
        f"{tried} mixes were tried on the training sites' validation scans, each site telling its "
        f"loss and no scan; the best were trained again, {trainings} times each, on fresh seeds. "
        f"{outcome}. The choice was made on these very scans, so its gain there is flattering; the "
        "external sites, in the comparisons, are its test."
    )


def _draw_mix(mixing: Json, classes: Sequence[str]) -> Figure:
    """Draw how many scans of each site and class the tuned mix takes, in the pool's outline."""
    tuned, pool = mixing["mixes"]["tuned"], mixing["pool"]
    cells = [(site, name) for site in pool for name in classes]
    color = strategy_styles(["synthetic"])["synthetic"].color
    title = "Scans taken, of those drawn"
    names = [f"{site}, {name}" for site, name in cells]
    with open_panel(title, height=1.1 + 0.27 * len(cells), names=names) as (canvas, axes):
        rows = np.arange(len(cells))
        axes.barh(rows, [pool[s][c] for s, c in cells], color="none", edgecolor=MUTED, height=0.7)
        axes.barh(rows, [tuned[s][c] for s, c in cells], color=color, alpha=0.75, height=0.7)
        axes.set_yticks(rows, names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("synthetic scans")
        svg = to_svg(canvas)
    told = "; ".join(f"{site}, {name}: {tuned[site][name]} of {pool[site][name]}"
                     for site, name in cells)  # fmt: skip
    caption = "The tuned mix, filled; all that the hub drew, in outline."
    return Figure(svg, f"{title}: {told}.", caption, STAGE)


def _draw_history(trials: Sequence[Json]) -> Figure:
    """Draw each trial's loss, pruned ones hollow, and the best so far."""
    known = [trial for trial in trials if trial["validation_loss"] is not None]
    complete = [trial for trial in known if trial["state"] == "complete"]
    pruned = [trial for trial in known if trial["state"] == "pruned"]
    so_far = np.minimum.accumulate([trial["validation_loss"] for trial in complete])
    color = strategy_styles(["synthetic"])["synthetic"].color
    title = "Validation loss by trial"
    with open_panel(title) as (canvas, axes):
        for shown, face, name in ((complete, color, "complete"), (pruned, "none", "pruned")):
            axes.plot(
                [trial["number"] for trial in shown],
                [trial["validation_loss"] for trial in shown],
                "o", color=color, markerfacecolor=face, markersize=5, label=name,
            )  # fmt: skip
        axes.step(
            [trial["number"] for trial in complete], so_far, where="post", color=INK, linewidth=1.0,
            label="best so far",
        )  # fmt: skip
        axes.set(xlabel="trial", ylabel="log loss")
        axes.legend(loc="best", borderaxespad=0.2, labelspacing=0.25)
        svg = to_svg(canvas)
    fixed = [f"trial {t['number']} is the {t['name']} mix" for t in trials if t["name"]]
    caption = f"One training each; {', '.join(fixed)}."
    alt = (
        f"{title}: {len(complete)} complete trials from {complete[0]['validation_loss']:.3f} to "
        f"{so_far[-1]:.3f} at best, {len(pruned)} pruned."
    )
    return Figure(svg, alt, caption, STAGE)


def _draw_finalists(finalists: Sequence[Json]) -> Figure:
    """Draw each finalist's loss, by seed and in the mean."""
    color = strategy_styles(["synthetic"])["synthetic"].color
    names = [entry["name"] for entry in finalists]
    title = "The last round, fresh seeds"
    with open_panel(title, height=1.1 + 0.27 * len(names), names=names) as (canvas, axes):
        for row, entry in enumerate(finalists):
            axes.plot(entry["by_seed"], [row] * len(entry["by_seed"]), "o", color=color,
                      markersize=6, alpha=0.45, markeredgewidth=0)  # fmt: skip
            axes.plot(entry["validation_loss"], row, "|", color=color, markersize=13,
                      markeredgewidth=2)  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("log loss on validation")
        svg = to_svg(canvas)
    told = "; ".join(
        f"{entry['name']} {', '.join(show_score(loss) for loss in entry['by_seed'])}, mean "
        f"{show_score(entry['validation_loss'])}"
        for entry in finalists
    )
    caption = "Dots: one training each. Bar: their mean, of which the lowest is taken."
    return Figure(svg, f"{title}: {told}.", caption, STAGE)


def _mix_table(mixing: Json, classes: Sequence[str]) -> Table:
    """Return every mix, cell by cell."""
    names = list(mixing["mixes"])
    rows = [
        [
            head(f"{site}, {name}"),
            number(show_count(mixing["pool"][site][name])),
            *[number(show_count(mixing["mixes"][mix][site][name])) for mix in names],
        ]
        for site in mixing["pool"]
        for name in classes
    ]
    total = [
        head("all"),
        *[
            number(show_count(sum(n for counts in mix.values() for n in counts.values())))
            for mix in (mixing["pool"], *mixing["mixes"].values())
        ],
    ]
    return Table(
        "Synthetic scans by site and class",
        [[head(""), column("drawn"), *[column(name) for name in names]]],
        [*rows, total],
        "Classes count alike in training, whatever their numbers; within a class, a site counts by "
        "its number of scans.",
    )


def _finalist_table(mixing: Json) -> Table:
    """Return the finalists' losses, pooled and at each site."""
    sites = list(mixing["pool"])
    scans = mixing["objective"]["scans"]
    rows = [
        [
            head(entry["name"]),
            number(show_score(entry["validation_loss"])),
            *[number(show_score(entry["sites"][site])) for site in sites],
        ]
        for entry in mixing["finalists"]
    ]
    columns = [column(site, note=f"n = {scans.get(site, ABSENT)}") for site in sites]
    return Table(
        "Validation loss of the finalists",
        [[head(""), column("all sites"), *columns]],
        rows,
        "Mean log loss over seeds; sites count by their validation scans.",
    )
