"""The section about each class, where a study tells more than one from the rest."""

from collections.abc import Iterator, Mapping
from typing import Any

from sitesynth.reports.numbers import (
    show_count,
    show_interval,
    show_percent,
    show_score,
    show_signed,
)
from sitesynth.reports.page import Section
from sitesynth.reports.study import Results
from sitesynth.reports.tables import Cell, Table, column, head, number


__all__ = ["class_sections"]

Json = Mapping[str, Any]

FIGURES = (
    ("AUC", "auc"),
    ("Recall", "sensitivity"),
    ("Specificity", "specificity"),
    ("Brier", "brier"),
    ("ECE", "ece"),
    ("ECE by chance", "ece_if_calibrated"),
    ("Slope", "calibration_slope"),
    ("Intercept", "calibration_intercept"),
)


STAGE_FIGURES = (
    ("AUC", "auc"),
    ("Accuracy", "accuracy"),
    ("Balanced accuracy", "balanced_accuracy"),
    ("Brier", "brier"),
    ("ECE", "ece"),
)


def class_sections(results: Results) -> Iterator[Section]:
    """Yield what is found of each class; nothing where a class is positive."""
    comparison = results.comparison
    if "side_by_side" in comparison:
        yield Section(
            "classes",
            "Findings",
            "Each finding alone, in all external patients of whom every finding is known.",
            [_class_table(comparison), _difference_table(comparison)],
        )
    elif comparison["positive"] is None:
        yield Section(
            "classes",
            "Classes",
            "Who is called what, and each class against the rest, in all external patients.",
            [
                _confusion_table(comparison),
                _class_table(comparison),
                _difference_table(comparison),
                *_stage_tables(comparison),
            ],
        )


def _confusion_table(comparison: Json) -> Table:
    classes = comparison["classes"]
    rows = []
    for strategy in comparison["order"]["strategies"]:
        found = comparison["strategies"][strategy]["overall"]["confusion"]
        for line, name in enumerate(classes):
            cells = [
                _share(count, share)
                for count, share in zip(found["counts"][line], found["shares"][line], strict=True)
            ]
            first = [head(strategy, rows=len(classes))] if line == 0 else []
            rows.append([*first, head(name), *cells])
    return Table(
        "Patients by class, and by the class they are called",
        [[head("Strategy"), head("Is"), *(column(f"called {name}") for name in classes)]],
        rows,
        "In percent of the patients of a row's class, with 95 % intervals by patient (Wilson).",
    )


def _share(count: int, share: Json) -> Cell:
    if share["value"] is None:
        return number(show_count(count))
    ends = " to ".join(show_percent(share[end]) for end in ("low", "high"))
    return number(show_count(count), note=f"{show_percent(share['value'])} % ({ends})")


def _class_table(comparison: Json) -> Table:
    classes = comparison["classes"]
    rows = []
    for strategy in comparison["order"]["strategies"]:
        found = comparison["strategies"][strategy]["overall"]["classes"]
        for line, name in enumerate(classes):
            cells = [
                number(
                    show_score(found[name][key]["value"]),
                    note=show_interval(found[name][key], is_signed=False),
                )
                for _, key in FIGURES
            ]
            first = [head(strategy, rows=len(classes))] if line == 0 else []
            rows.append([*first, head(name), *cells])
    if "side_by_side" in comparison:
        title, of, note = "Each finding", "Finding", "A finding is called from one half on."
    else:
        title, of = "Each class against the rest", "Class"
        note = "Recall and specificity are of the most probable class."
    columns = [head("Strategy"), head(of), *(column(name) for name, _ in FIGURES)]
    return Table(title, [columns], rows, note)


def _difference_table(comparison: Json) -> Table:
    classes = comparison["classes"]
    rows = [
        [
            head(f"{entry['a']} \N{MINUS SIGN} {entry['b']}"),
            *(
                number(
                    show_signed(told["auc_difference"]["value"]),
                    note=show_interval(told["auc_difference"], is_signed=True),
                )
                for told in (entry["classes"][name] for name in classes)
            ),
        ]
        for entry in comparison["comparisons"]
    ]
    if "side_by_side" in comparison:
        by, note = "finding", "The study's question is about their mean."
    else:
        by = "class"
        note = "Of each class against the rest; the study's question is about their mean."
    return Table(
        f"Difference in AUC by {by}",
        [[head("Difference"), *(column(name) for name in classes)]],
        rows,
        note,
    )


def _stage_tables(comparison: Json) -> Iterator[Table]:
    """Yield how each question of the task's stages is answered; nothing where there are none."""
    for stage in comparison.get("stages", []):
        groups = [" or ".join(group) for group in stage["groups"]]
        told = stage["strategies"]
        counts = next(iter(told.values()))["counts"]
        rows = [
            [
                head(strategy),
                *(
                    number(
                        show_score(told[strategy][key]["value"]),
                        note=show_interval(told[strategy][key], is_signed=False),
                    )
                    for _, key in STAGE_FIGURES
                ),
            ]
            for strategy in comparison["order"]["strategies"]
        ]
        yield Table(
            f"Stage {stage['stage']}: {', '.join(f'{one} ({counts[one]})' for one in groups)}",
            [[head("Strategy"), *(column(title) for title, _ in STAGE_FIGURES)]],
            rows,
            "Of the external patients whom the question is about, by the share that a group's "
            "classes have of the probability of all in the question: the same is asked of "
            "strategies that learn every class at once.",
        )
