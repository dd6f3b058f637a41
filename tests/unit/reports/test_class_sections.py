"""The page of a study that predicts every class."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sitesynth.evaluation.comparisons import compare_strategies
from sitesynth.evaluation.predictions import ClassPredictions, Predictions
from sitesynth.evaluation.subgroups import compare_subgroups, find_subgroups
from sitesynth.reports.numbers import show_interval, show_percent, show_signed
from sitesynth.reports.page import render_page
from sitesynth.reports.sections import build_page
from sitesynth.reports.study import in_reading_order
from sitesynth.settings import TaskSettings
from tests.unit.reports.fake_study import CLASSES, EXTERNAL, confounding


if TYPE_CHECKING:
    from sitesynth.reports.study import Results, Study


def of_both_classes(predicted: Predictions) -> ClassPredictions:
    """Return the same predictions, of the other class as well."""
    return ClassPredictions(
        classes=CLASSES,
        patients=predicted.patients,
        sites=predicted.sites,
        labels=predicted.labels.astype(int),
        probabilities=np.stack([1 - predicted.probabilities, predicted.probabilities], axis=-1),
        by_seed=np.stack([1 - predicted.by_seed, predicted.by_seed], axis=-1),
    )


@pytest.fixture(scope="module")
def comparison(results: "Results") -> dict[str, Any]:
    predictions = {
        name: of_both_classes(predicted)
        for name, predicted in results.predictions.items()
        if isinstance(predicted, Predictions)
    }
    found = compare_strategies(
        predictions,
        dict.fromkeys(predictions),
        task="idh",
        positive=None,
        sites=EXTERNAL,
        reference="centralized",
        margin=0.05,
        num_resamples=200,
        test_sha256="0" * 64,
        seed=1,
    )
    half = ["even" if number % 2 else "odd" for number in range(60)]
    found["subgroups"] = compare_subgroups(
        predictions, find_subgroups({"half": half}), reference="centralized", min_patients=5
    )
    # As it is read from its file, whose keys are sorted.
    written = json.loads(json.dumps(found, sort_keys=True))
    return dict(in_reading_order(written))


@pytest.fixture(scope="module")
def page(study: "Study", results: "Results", comparison: dict[str, Any]) -> str:
    every_class = replace(study, task=TaskSettings(label="idh", positive=None, stages=None))
    predictions = {
        name: of_both_classes(predicted)
        for name, predicted in results.predictions.items()
        if isinstance(predicted, Predictions)
    }
    found = replace(
        results,
        predictions=predictions,
        comparison=comparison,
        confounding=confounding(positive=None),
    )
    return render_page(build_page(every_class, found), runs={})


def test_the_page_asks_about_every_class(page: str) -> None:
    assert "a classifier of idh (wildtype or mutant) that is as good" in page
    assert "reached a mean AUC of the classes of" in page


def test_the_main_table_has_a_recall_and_an_auc_of_each_class(page: str) -> None:
    for row in ("SEN (wildtype), %", "SEN (mutant), %", "AUC, mean", "AUC (wildtype)"):
        assert row in page


def test_each_class_is_set_against_the_others_by_its_numbers(page: str) -> None:
    for name in CLASSES:
        assert f"age, {name} against the others, training hospitals" in page


def test_what_can_be_told_without_a_network_is_said(page: str) -> None:
    assert "baseline-site 0.500 (0.500 to 0.500)." in page


def test_counts_stand_in_the_order_of_the_classes(page: str, comparison: dict[str, Any]) -> None:
    """Wild type first, as in the header, and not by the alphabet."""
    told = comparison["strategies"]["centralized"]["overall"]["counts"]
    assert told["wildtype"] != told["mutant"]
    assert f"{told['wildtype']}\u00a0wildtype, {told['mutant']}\u00a0mutant" in page
    assert f"({told['wildtype']} wildtype, {told['mutant']} mutant)" in page
    for group in comparison["subgroups"]["groups"]:
        assert f"{group['counts']['wildtype']}, {group['counts']['mutant']}" in page


def test_the_page_shows_who_is_called_what(page: str, comparison: dict[str, Any]) -> None:
    """Each share of each strategy's confusion matrix, with its interval."""
    for told in comparison["strategies"].values():
        for row in told["overall"]["confusion"]["shares"]:
            for share in row:
                low, high = show_percent(share["low"]), show_percent(share["high"])
                assert f"{show_percent(share['value'])} % ({low} to {high})" in page


def test_each_classs_figures_and_differences_are_there(
    page: str, comparison: dict[str, Any]
) -> None:
    for told in comparison["strategies"].values():
        for own in told["overall"]["classes"].values():
            for key in ("auc", "sensitivity", "ece", "calibration_slope"):
                assert show_interval(own[key], is_signed=False) in page
    for entry in comparison["comparisons"]:
        for own in entry["classes"].values():
            assert show_signed(own["auc_difference"]["value"]) in page


def test_curves_and_calibration_are_of_each_class_against_the_rest(page: str) -> None:
    for name in CLASSES:
        assert f"{name} against the rest" in page
        assert f"{name} or not" in page
