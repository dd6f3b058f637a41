"""What is said where patients are too few, on a fabricated study whose sizes are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sitesynth.evaluation.predictions import Predictions
from sitesynth.reports.findings import Verdict, find_comparison, judge
from sitesynth.reports.sections import build_page
from sitesynth.reports.study import Results, Study
from sitesynth.reports.too_few import LARGE_LEAK, tell_too_few


def with_gates(results: Results, leak: float) -> Results:
    """Return results whose gates see leaks of a size."""
    sites = {
        site: {
            **found,
            "patients": {"train": 60, "held_out": 14},
            "gate": {**found["gate"], "detectable": {"membership_auc": leak, "copy_rate": 0.1}},
        }
        for site, found in results.privacy["sites"].items()
    }
    return replace(results, privacy={"sites": sites})


def with_entry(results: Results, **changed: Any) -> Results:
    """Return results whose comparison in question has other figures."""
    entries = [
        {**entry, **changed} if entry["a"] == "synthetic" else entry
        for entry in results.comparison["comparisons"]
    ]
    return replace(results, comparison={**results.comparison, "comparisons": entries})


def with_least(results: Results, least: int) -> Results:
    """Return results of a study that judges groups of so many patients of each class."""
    subgroups = {**results.comparison["subgroups"], "min_patients": least}
    return replace(results, comparison={**results.comparison, "subgroups": subgroups})


@pytest.fixture
def enough(results: Results) -> Results:
    """Return results in which nobody is too few."""
    settled = with_entry(results, detectable_difference=0.04, margin=0.05)
    return with_least(with_gates(settled, LARGE_LEAK - 0.01), 2)


@pytest.fixture
def smallest(results: Results) -> int:
    """Return the patients of the smaller class."""
    predicted = results.predictions["centralized"]
    assert isinstance(predicted, Predictions)
    return min(int(predicted.labels.sum()), int((~predicted.labels).sum()))


def test_of_enough_patients_nothing_is_said(enough: Results) -> None:
    assert list(tell_too_few(enough)) == []


def test_a_class_below_the_floor_is_named_with_its_size(enough: Results, smallest: int) -> None:
    """One patient more would have been enough, and is asked for."""
    (told,) = tell_too_few(with_least(enough, smallest + 1))

    assert told.startswith("Too few external patients to support an answer, whatever it says")
    assert f"has {smallest} of 60, fewer than the {smallest + 1} of each class" in told


def test_hospitals_that_are_too_small_alone_are_named(enough: Results, smallest: int) -> None:
    """With as many as the smaller class of all, either hospital has fewer, and all have enough."""
    predicted = enough.predictions["centralized"]
    assert isinstance(predicted, Predictions)
    sizes = {}
    for site in ("dogwood", "elm"):
        inside = predicted.labels[np.array(predicted.sites) == site]
        sizes[site] = min(int(inside.sum()), int((~inside).sum()))
    (told,) = tell_too_few(with_least(enough, smallest))

    assert f"alone: dogwood ({sizes['dogwood']}) and elm ({sizes['elm']}) in its" in told


def test_what_could_not_have_been_shown_is_said_only_where_it_was_not(enough: Results) -> None:
    """Detectable is more than the margin; an answer that was found stands, by the same patients."""
    open_ = {"value": -0.02, "low": -0.1, "high": 0.06}
    unsettled = with_entry(
        enough, auc_difference=open_, non_inferior=False, detectable_difference=0.11, margin=0.05
    )
    (told,) = tell_too_few(unsettled)

    entry = find_comparison(unsettled.comparison, "synthetic")
    assert entry is not None
    assert judge(entry) is Verdict.NOT_SHOWN
    assert "with these 60, a classifier trained on synthetic scans alone that truly" in told
    assert "within 0.05 in fewer than 80 % of studies" in told
    assert not list(tell_too_few(with_entry(unsettled, non_inferior=True)))
    assert not list(tell_too_few(with_entry(unsettled, detectable_difference=0.05)))


def test_hospitals_whose_audits_miss_large_leaks_are_named(enough: Results) -> None:
    (told,) = tell_too_few(with_gates(enough, LARGE_LEAK + 0.01))

    assert "by: alder (14), birch (14) and cedar (14)." in told
    assert "at an AUC of 0.760 would still pass" in told


def test_the_first_screen_begins_with_it(study: Study, results: Results) -> None:
    """The fabricated study has two held-out patients a hospital."""
    caveats = build_page(study, results).caveats
    told = [caveat for caveat in caveats if caveat.startswith("Too few")]

    assert caveats[: len(told)] == told
    assert any("alder (2), birch (2) and cedar (2)" in caveat for caveat in told)
