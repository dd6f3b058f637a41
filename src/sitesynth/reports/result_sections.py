"""The sections about how good the strategies are."""

from collections.abc import Mapping

import numpy as np

from sitesynth import seeds
from sitesynth.evaluation.intervals import draw_resamples
from sitesynth.evaluation.metrics import auc
from sitesynth.evaluation.predictions import (
    AnyPredictions,
    ClassPredictions,
    FindingPredictions,
    Predictions,
)
from sitesynth.evaluation.ranking import auc_of, auc_of_seeds, smallest_class
from sitesynth.reports.comparison_tables import (
    auc_table,
    comparison_table,
    figures_of_merit_table,
    results_table,
    seed_table,
    site_difference_table,
)
from sitesynth.reports.curves import roc_band
from sitesynth.reports.figures import (
    Interval,
    draw_forest,
    draw_reliability,
    draw_roc,
    draw_seeds,
)
from sitesynth.reports.numbers import show_interval, show_score
from sitesynth.reports.page import Gallery, Items, Section
from sitesynth.reports.panels import Figure, strategy_styles
from sitesynth.reports.study import LOCAL, Results, Study
from sitesynth.settings import BASELINES


__all__ = [
    "calibration_section",
    "comparisons_section",
    "numbers_section",
    "results_section",
    "roc_section",
    "seeds_section",
    "views_of",
]


def results_section(study: Study, results: Results) -> Section:
    """Show the study's main table, and its AUCs with their intervals."""
    comparison = results.comparison
    styles = strategy_styles(comparison["order"]["strategies"])
    reference = comparison["reference"]
    levels = [
        Interval(name, *_ends(comparison["strategies"][name]["overall"]["auc"]), styles[name])
        for name in styles
    ]
    against = [entry for entry in comparison["comparisons"] if entry["b"] == reference]
    differences = [
        Interval(entry["a"], *_ends(entry["auc_difference"]), styles[entry["a"]])
        for entry in against
    ]
    figures = [
        draw_forest(
            levels,
            title="AUC, all external patients",
            label="AUC, 95 % interval",
            caption="Each strategy's AUC over all external hospitals.",
            stage="compare",
            lines={},
        )
    ]
    if against:
        margin = against[0]["margin"]
        figures.append(
            draw_forest(
                differences,
                title=f"Difference from {reference}",
                label=f"AUC minus that of {reference}, 95 % interval",
                caption="Non-inferior: the whole interval lies to the right of the margin.",
                stage="compare",
                lines={-margin: "margin", 0.0: "equal"},
            )
        )
    return Section(
        "results",
        "Results",
        "",
        [
            results_table(comparison, negative=study.negative),
            Gallery("", figures, "", "regular"),
            auc_table(comparison),
        ],
    )


def roc_section(study: Study, results: Results) -> Section:
    """Show what each strategy trades between sensitivity and specificity."""
    reference = results.comparison["reference"]
    test = next(iter(results.predictions.values()))
    if not _has_both(test):
        return Section("roc", "ROC curves", _lacking(test), [])
    weights = draw_resamples(
        [f"{site} {label}" for site, label in zip(test.sites, test.labels, strict=True)],
        num_resamples=study.num_resamples,
        rng=seeds.numpy_generator(study.seed, "report", "bands"),
    )
    note = (
        f"Each strategy beside {reference}. The band is the pointwise 95 % interval of "
        f"sensitivity, by {study.num_resamples} resamples of patients."
    )
    galleries = []
    for name, views in views_of(results.predictions).items():
        title = "All external hospitals" if name is None else f"{name} against the rest"
        overall = _overall_curves(results, views, weights)
        galleries.append(Gallery(title, overall, note, "narrow"))
        if name is None:
            galleries.append(
                Gallery(
                    "By hospital",
                    _curves_by_site(study, results, views),
                    "Curves of few patients are steps, and uncertain.",
                    "narrow",
                )
            )
    return Section("roc", "ROC curves", "", galleries)


def _lacking(test: AnyPredictions) -> str:
    if isinstance(test, FindingPredictions):
        return "All or no external patients have one of the findings."
    if isinstance(test, ClassPredictions):
        return "A class has no external patient."
    return "All external patients are of one class."


def views_of(predictions: Mapping[str, AnyPredictions]) -> dict[str | None, dict[str, Predictions]]:
    """Return the predictions of each class against the rest; of a positive class, under None.

    Of findings, each against those without it.
    """
    views: dict[str | None, dict[str, Predictions]] = {}
    for strategy, predicted in predictions.items():
        if not isinstance(predicted, Predictions):
            for number, name in enumerate(predicted.classes):
                views.setdefault(name, {})[strategy] = predicted.one_against_rest(number)
        else:
            views.setdefault(None, {})[strategy] = predicted
    return views


def _overall_curves(
    results: Results, views: Mapping[str, Predictions], weights: np.ndarray
) -> list[Figure]:
    """Draw each strategy's curve of all external patients beside the reference's."""
    reference = results.comparison["reference"]
    styles = strategy_styles(list(views))
    overall = []
    for name, predicted in views.items():
        curve = predicted.labels, predicted.probabilities
        beside = {} if name == reference else {reference: _curve(views[reference])}
        overall.append(
            draw_roc(
                beside | {name: curve},
                styles=styles,
                band=roc_band(*curve, weights, confidence=results.comparison["confidence"]),
                title=name,
                caption=f"AUC {_auc_of(predicted)}; n = {len(predicted.labels)}.",
                stage=f"evaluate@{name}",
            )
        )
    return overall


def _curves_by_site(
    study: Study, results: Results, views: Mapping[str, Predictions]
) -> list[Figure]:
    """Draw the strategies' curves at each hospital that has both classes."""
    styles, test = strategy_styles(list(views)), next(iter(views.values()))
    by_site = []
    for site in results.comparison["order"]["sites"]:
        inside = np.array([name == site for name in test.sites])
        labels = test.labels[inside]
        if labels.all() or not labels.any():
            continue
        shown = [name for name in views if not name.startswith(LOCAL) and name not in BASELINES]
        by_site.append(
            draw_roc(
                {n: (labels, views[n].probabilities[inside]) for n in shown},
                styles=styles,
                band=None,
                title=site,
                caption=f"n = {len(labels)}, {int(labels.sum())} {study.task.positive}.",
                stage="compare",
            )
        )
    return by_site


def calibration_section(results: Results) -> Section:
    """Show whether probabilities can be taken at their word."""
    styles = strategy_styles(list(results.predictions))
    galleries = []
    for of_class, views in views_of(results.predictions).items():
        figures = []
        for name, predicted in views.items():
            found = results.comparison["strategies"][name]["overall"]
            if of_class is not None:
                found = found["classes"][of_class]
            figures.append(
                draw_reliability(
                    predicted.labels,
                    predicted.probabilities,
                    style=styles[name],
                    title=name,
                    caption=f"ECE {show_score(found['ece']['value'])} (by chance alone "
                    f"{show_score(found['ece_if_calibrated']['value'])}), Brier "
                    f"{show_score(found['brier']['value'])}; slope "
                    f"{show_score(found['calibration_slope']['value'])} "
                    f"({show_interval(found['calibration_slope'], is_signed=False)}).",
                    stage=f"evaluate@{name}",
                )
            )
        title = "" if of_class is None else f"{of_class} or not"
        galleries.append(Gallery(title, figures, "", "narrow"))
    note = (
        "Of patients given a probability, how many were positive? A calibrated classifier lies on "
        "the dashed line. A dot's area is its number of patients. ECE, the expected calibration "
        "error, is the mean distance from the line, and Brier the mean squared error of the "
        "probabilities; 0 is best. A slope below 1 says that probabilities are too extreme, above "
        "1 too timid."
    )
    return Section("calibration", "Calibration", note, galleries)


def comparisons_section(results: Results) -> Section:
    """Show every paired comparison, overall and by hospital."""
    comparison = results.comparison
    notes = [(f"Note {number}", note) for number, note in enumerate(comparison["notes"], start=1)]
    return Section(
        "comparisons",
        "Comparisons",
        "All tests are paired: the strategies see the same patients.",
        [
            comparison_table(comparison),
            site_difference_table(comparison),
            Items("How the numbers were made", notes),
        ],
    )


def seeds_section(results: Results) -> Section:
    """Show how much the luck of one training matters."""
    by_seed, together = {}, {}
    for name, predicted in results.predictions.items():
        values = auc_of_seeds(predicted)
        all_of_them, _ = auc_of(predicted, np.ones(len(predicted.labels), dtype=bool))
        if all_of_them is not None and values:
            by_seed[name] = [value for value in values if value is not None]
            together[name] = all_of_them
    figure = draw_seeds(
        by_seed,
        together,
        styles=strategy_styles(list(results.predictions)),
        title="AUC by training seed",
        caption="Dots: one training each. Bar: the mean of their probabilities, as reported.",
        stage="compare",
    )
    return Section(
        "seeds",
        "Spread over training seeds",
        "How much a result owes to the luck of one training; the intervals above do not hold it.",
        [Gallery("", [figure], "", "regular"), seed_table(results.comparison)],
    )


def numbers_section(results: Results) -> Section:
    """Show every figure of merit."""
    return Section("numbers", "Every number", "", [figures_of_merit_table(results.comparison)])


def _ends(value: Mapping[str, float | None]) -> tuple[float | None, float | None, float | None]:
    return value["value"], value["low"], value["high"]


def _curve(predicted: Predictions) -> tuple[np.ndarray, np.ndarray]:
    return predicted.labels, predicted.probabilities


def _auc_of(predicted: Predictions) -> str:
    return show_score(auc(predicted.labels, predicted.probabilities))


def _has_both(predicted: AnyPredictions) -> bool:
    return smallest_class(predicted, np.ones(len(predicted.labels), dtype=bool)) > 0
