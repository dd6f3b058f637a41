"""Tables of how good the strategies are, from results/comparison.json."""

from collections.abc import Callable, Mapping
from typing import Any

from sitesynth.reports.findings import find_comparison, judge
from sitesynth.reports.numbers import (
    ABSENT,
    show_count,
    show_interval,
    show_p,
    show_percent,
    show_score,
    show_signed,
)
from sitesynth.reports.tables import Cell, Table, column, head, number, text


__all__ = [
    "auc_table",
    "comparison_table",
    "figures_of_merit_table",
    "results_table",
    "seed_table",
    "site_difference_table",
]

Json = Mapping[str, Any]

OVERALL = "overall"


def results_table(comparison: Json, *, negative: str | None) -> Table:
    """Return the study's main table, in the shape of CATphishing's Table 4.

    Args:
        comparison: Content of results/comparison.json.
        negative: The class that is not positive; None where every class is predicted, and each has
            its rows.
    """
    order, positive = comparison["order"], comparison["positive"]
    margin = comparison["comparisons"][0]["margin"] if comparison["comparisons"] else 0.0
    scopes = [*order["sites"], OVERALL]
    first = _scopes_of(comparison, order["strategies"][0])
    header = [
        head("Strategy"),
        head("Metric"),
        *(column(_title(s), note=_sizes(first[s], comparison)) for s in scopes),
        column("McNemar", note="exact p"),
        column("DeLong", note="p, Holm's below"),
        head("Non-inferior", note=f"margin {margin:g}"),
    ]
    metrics: list[tuple[str, str | None, str, Callable[[float | None], str]]] = [
        ("ACC, %", None, "accuracy", show_percent),
        (f"SEN ({positive}), %", None, "sensitivity", show_percent),
        (f"SPE ({negative}), %", None, "specificity", show_percent),
        ("AUC", None, "auc", show_score),
    ]
    if negative is None:
        classes = comparison["classes"]
        metrics = [
            ("ACC, %", None, "accuracy", show_percent),
            *((f"SEN ({name}), %", name, "sensitivity", show_percent) for name in classes),
            ("AUC, mean", None, "auc", show_score),
            *((f"AUC ({name})", name, "auc", show_score) for name in classes),
        ]
    rows = []
    for strategy in order["strategies"]:
        found = _scopes_of(comparison, strategy)
        for line, (name, of_class, key, show) in enumerate(metrics):
            told = {
                s: found[s] if of_class is None else found[s]["classes"][of_class] for s in scopes
            }
            cells = [head(name), *(number(show(told[s][key]["value"])) for s in scopes)]
            if line == 0:
                cells = [head(strategy, rows=len(metrics)), *cells]
                cells += _tests(comparison, strategy, rows=len(metrics))
            rows.append(cells)
    return Table(
        f"Results on the external hospitals, and tests against {comparison['reference']}",
        [header],
        rows,
        "The shape of Table 4 in the CATphishing paper. ACC: accuracy, the share called rightly; "
        "SEN: sensitivity; SPE: specificity; AUC: area under the ROC curve. "
        f"{_how_called(comparison, negative)} McNemar compares decisions, "
        "DeLong compares AUCs; a p-value above 0.05 does not show that two strategies are equal. "
        "Baselines are tested in a family of their own: they make no other test stricter.",
    )


def _rule_of(comparison: Json) -> str:
    return "from one half on" if "side_by_side" in comparison else "most probable class"


def _how_called(comparison: Json, negative: str | None) -> str:
    if "side_by_side" in comparison:
        return (
            "A finding is called from a probability of one half on; SEN is the share of those who "
            "have it that are called so, ACC and the mean count every finding alike, and McNemar "
            "counts patients of whom every finding is called rightly."
        )
    if negative is None:
        return (
            "A patient is called the most probable class; SEN is a class's recall, and a class's "
            "AUC is against the rest. The mean counts every class alike."
        )
    return (
        "Sensitivity and specificity are at each strategy's own threshold, chosen on validation "
        "patients."
    )


def _tests(comparison: Json, strategy: str, *, rows: int) -> list[Cell]:
    entry = find_comparison(comparison, strategy)
    if entry is None:
        return [number("reference", rows=rows), number(ABSENT, rows=rows), text(ABSENT, rows=rows)]
    return [
        number(
            show_p(entry["mcnemar_p"]),
            note=f"{entry['only_a_right']} : {entry['only_b_right']} of {entry['n_discordant']}",
            rows=rows,
        ),
        number(show_p(entry["delong_p"]), note=show_p(entry["delong_p_holm"]), rows=rows),
        text("yes" if entry["non_inferior"] else judge(entry).value, rows=rows),
    ]


def auc_table(comparison: Json) -> Table:
    """Return AUCs with their intervals."""
    scopes = [*comparison["order"]["sites"], OVERALL]
    rows = []
    for strategy in comparison["order"]["strategies"]:
        found = _scopes_of(comparison, strategy)
        values = [
            number(
                show_score(found[scope]["auc"]["value"]),
                note=show_interval(found[scope]["auc"], is_signed=False),
            )
            for scope in scopes
        ]
        rows.append([head(strategy), *values])
    return Table(
        "AUC with 95 % intervals",
        [[head("Strategy"), *(column(_title(scope)) for scope in scopes)]],
        rows,
        "Of the mean of the probabilities of a strategy's training seeds.",
    )


def figures_of_merit_table(comparison: Json) -> Table:
    """Return every figure of merit with its interval, overall and per site."""
    metrics = (
        ("AUC", "auc"),
        ("Accuracy", "accuracy"),
        ("Balanced accuracy", "balanced_accuracy"),
        ("Sensitivity", "sensitivity"),
        ("Specificity", "specificity"),
        ("Brier", "brier"),
        ("ECE", "ece"),
        ("ECE by chance", "ece_if_calibrated"),
        ("Slope", "calibration_slope"),
        ("Intercept", "calibration_intercept"),
    )
    scopes = [*comparison["order"]["sites"], OVERALL]
    first = _scopes_of(comparison, comparison["order"]["strategies"][0])
    rows = []
    for strategy in comparison["order"]["strategies"]:
        found = _scopes_of(comparison, strategy)
        limit = comparison["strategies"][strategy]["threshold"]
        threshold = _rule_of(comparison) if limit is None else f"threshold {show_score(limit)}"
        for line, (name, key) in enumerate(metrics):
            values = [
                number(
                    show_score(found[scope][key]["value"]),
                    note=show_interval(found[scope][key], is_signed=False),
                )
                for scope in scopes
            ]
            label = head(strategy, note=threshold, rows=len(metrics))
            rows.append([*([label] if line == 0 else []), head(name), *values])
    sizes = {scope: _sizes(first[scope], comparison) for scope in scopes}
    return Table(
        "Every figure of merit, with its 95 % interval by patient",
        [
            [
                head("Strategy"),
                head("Metric"),
                *(column(_title(scope), note=sizes[scope]) for scope in scopes),
            ]
        ],
        rows,
        "Brier: mean squared error of the probabilities, 0 is best. ECE: expected calibration "
        "error; beside it what a perfectly calibrated classifier would show by chance. Slope and "
        "intercept of the log odds: 1 and 0 are calibrated; a slope below 1 is over-confident, an "
        "intercept above 0 says that probabilities are too low.",
    )


def comparison_table(comparison: Json) -> Table:
    """Return every paired comparison with its intervals, tests and power."""
    names = (
        "AUC",
        "Bootstrap",
        "DeLong p",
        "McNemar p",
        "Discordant",
        "Detectable",
    )
    rows = [
        [
            head(entry["a"], note=f"− {entry['b']}, n = {entry['n']}"),
            number(
                show_signed(entry["auc_difference"]["value"]),
                note=show_interval(entry["auc_difference"], is_signed=True),
            ),
            number(
                show_interval(entry["auc_difference_bootstrap"], is_signed=True),
                note=f"seeds {show_interval(entry['auc_difference_with_seeds'], is_signed=True)}",
            ),
            number(show_p(entry["delong_p"]), note=f"Holm {show_p(entry['delong_p_holm'])}"),
            number(
                show_p(entry["mcnemar_p"]), note=f"{show_p(entry['mcnemar_p_corrected'])} corrected"
            ),
            number(
                str(entry["n_discordant"]),
                note=f"{entry['only_a_right']} : {entry['only_b_right']}",
            ),
            number(show_score(entry["detectable_difference"])),
            text(
                "equivalent" if entry["equivalent"] else judge(entry).value,
                note=(
                    ""
                    if entry["alpha"] is None
                    else f"α {entry['alpha']:g}; p {show_p(entry['non_inferiority_p'])}, "
                    f"TOST {show_p(entry['equivalence_p'])}"
                ),
            ),
        ]
        for entry in comparison["comparisons"]
    ]
    margins = sorted({entry["margin"] for entry in comparison["comparisons"]})
    return Table(
        "All paired comparisons",
        [[head("Difference"), *(column(name) for name in names), head("Verdict")]],
        rows,
        f"Margin {', '.join(f'{margin:g}' for margin in margins)}; α is the one-sided error of a "
        "verdict, followed by the p-values of non-inferiority and of equivalence (two one-sided "
        "tests). AUC: the difference, with its interval by DeLong. Bootstrap: the interval by "
        "resampling patients; below it, seeds: the interval when other trainings are considered "
        "as well as other patients. Detectable: the true difference that this many patients would "
        "have shown with 80 % power. Discordant: patients whom exactly one of the two calls "
        "rightly, first : second.",
    )


def site_difference_table(comparison: Json) -> Table:
    """Return the difference in AUC at each external site."""
    sites = comparison["order"]["sites"]
    rows = [
        [
            head(f"{entry['a']} − {entry['b']}"),
            *(_difference_at(entry["sites"][site]) for site in sites),
        ]
        for entry in comparison["comparisons"]
    ]
    return Table(
        "Difference in AUC by hospital",
        [[head("Difference"), *(column(site) for site in sites)]],
        rows,
        "Fewer patients, wider intervals: read a hospital alone with caution. Holm adjusts over "
        "the hospitals of a row.",
    )


def _difference_at(found: Json) -> Cell:
    """Return the cell of one comparison at one site."""
    difference = found["auc_difference"]
    return number(
        show_signed(difference["value"]),
        note=f"{show_interval(difference, is_signed=True)}; p {show_p(found['delong_p'])}, "
        f"Holm {show_p(found['delong_p_holm'])}",
    )


def seed_table(comparison: Json) -> Table:
    """Return the overall AUC of each training seed alone."""
    rows = []
    for strategy in comparison["order"]["strategies"]:
        found = comparison["strategies"][strategy]["seeds"]
        if not found["n"]:
            continue
        rows.append(
            [
                head(strategy),
                number(str(found["n"])),
                number(show_score(found["auc_mean"])),
                number(show_score(found["auc_sd"])),
                text(", ".join(show_score(value) for value in found["auc"])),
            ]
        )
    return Table(
        "AUC of each training alone",
        [[head("Strategy"), column("Seeds"), column("Mean"), column("SD"), head("Each")]],
        rows,
        "",
    )


def _scopes_of(comparison: Json, strategy: str) -> dict[str, Json]:
    """Return a strategy's `M` by site, and overall."""
    found = comparison["strategies"][strategy]
    return {**found["sites"], OVERALL: found["overall"]}


def _sizes(found: Json, comparison: Json) -> str:
    # One line or two, but never broken inside a number's name.
    names = {comparison["positive"]: found["positives"]}
    if comparison["positive"] is None:
        # The file's keys are sorted; these are in the order of the classes.
        names = {name: found["counts"][name] for name in comparison["classes"]}
    sizes = [f"{show_count(size)}\u00a0{name}" for name, size in names.items()]
    return ", ".join([f"n\u00a0=\u00a0{show_count(found['n'])}", *sizes])


def _title(scope: str) -> str:
    return "Overall" if scope == OVERALL else scope
