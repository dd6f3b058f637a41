"""The answer says what the interval shows, and no more."""

from typing import Any

import pytest

from sitesynth.reports.findings import Verdict, answer, judge, question


def comparison(
    *,
    value: float | None,
    low: float | None,
    high: float | None,
    non_inferior: bool,
    p: float | None,
) -> dict[str, Any]:
    """Return as much of results/comparison.json as the answer reads."""
    entry = {
        "a": "synthetic",
        "b": "centralized",
        "n": 180,
        "positives": 76,
        "auc_difference": {"value": value, "low": low, "high": high},
        "delong_p": p,
        "delong_p_holm": p,
        "significant": p is not None and p < 0.05,
        "margin": 0.05,
        "non_inferior": non_inferior,
    }
    reached = {"overall": {"auc": {"value": 0.871, "low": 0.816, "high": 0.912}}}
    return {
        "task": "idh",
        "positive": "mutant",
        "reference": "centralized",
        "order": {"strategies": ["centralized", "synthetic"], "sites": ["dogwood", "elm"]},
        "strategies": {"centralized": reached, "synthetic": reached},
        "comparisons": [entry],
    }


def test_an_interval_above_the_margin_is_non_inferior_with_its_numbers() -> None:
    """The sentence holds n, positives, sites, AUC, difference, interval, margin and p."""
    found = answer(comparison(value=-0.012, low=-0.038, high=0.014, non_inferior=True, p=0.36))

    assert found.verdict is Verdict.NON_INFERIOR
    assert found.sentence == (
        "Yes, to within 0.05: on 180 patients (76 mutant) of 2 external hospitals, a classifier "
        "trained on synthetic scans alone reached an AUC of 0.871, 0.012 lower than one trained on "
        "the pooled real scans (95 % interval of the difference \u22120.038 to +0.014); a loss of "
        "0.05 or more is excluded, and that it is not significant (p = 0.360, "
        "adjusted p = 0.360) does not show that the two are equal."
    )


def test_an_interval_below_the_margin_is_inferior() -> None:
    """Even the best end of the interval loses more than the margin."""
    found = answer(comparison(value=-0.12, low=-0.16, high=-0.08, non_inferior=False, p=0.0001))

    assert found.verdict is Verdict.INFERIOR
    assert found.sentence.startswith("No: ")
    assert "0.120 lower" in found.sentence
    assert "the difference is significant (p < 0.001, adjusted p < 0.001)" in found.sentence


@pytest.mark.parametrize(("value", "high", "p"), [(-0.02, 0.04, 0.5), (-0.06, -0.01, 0.01)])
def test_an_interval_around_the_margin_shows_nothing(value: float, high: float, p: float) -> None:
    """Also where the difference is significant: worse, but by how much is not known."""
    found = answer(comparison(value=value, low=-0.11, high=high, non_inferior=False, p=p))

    assert found.verdict is Verdict.NOT_SHOWN
    assert found.sentence.startswith("Not shown: ")
    assert "a loss of more than the margin of 0.05 is not excluded" in found.sentence
    assert ("does not show that the two are equal" in found.sentence) is (p > 0.05)


def test_a_small_but_significant_loss_is_named_beside_non_inferiority() -> None:
    """Non-inferior is not the same as equal."""
    found = answer(comparison(value=-0.02, low=-0.03, high=-0.01, non_inferior=True, p=0.01))

    assert found.verdict is Verdict.NON_INFERIOR
    assert (
        "the difference is significant (p = 0.010, adjusted p = 0.010), but smaller than that"
        in found.sentence
    )


def test_patients_of_one_class_are_no_evidence() -> None:
    """Without an AUC there is no verdict."""
    found = answer(comparison(value=None, low=None, high=None, non_inferior=False, p=None))

    assert found.verdict is Verdict.UNDEFINED
    assert "no AUC is defined" in found.sentence


def test_the_comparison_decides_non_inferiority_not_the_page() -> None:
    """It looks at a second interval, which the page does not repeat."""
    entry = comparison(value=0.0, low=-0.04, high=0.04, non_inferior=False, p=1.0)

    assert judge(entry["comparisons"][0]) is Verdict.NOT_SHOWN


def test_a_study_of_one_strategy_has_no_answer() -> None:
    """And says so."""
    alone = comparison(value=0.0, low=0.0, high=0.0, non_inferior=True, p=1.0)

    assert answer({**alone, "comparisons": []}).verdict is Verdict.UNDEFINED


def test_the_question_names_the_task_and_counts_the_hospitals() -> None:
    """It is the study's own question, not a general one."""
    asked = question(
        comparison(value=0.0, low=0.0, high=0.0, non_inferior=True, p=1.0),
        training=["alder", "birch", "cedar"],
    )

    assert "3 hospitals" in asked
    assert "idh (mutant or not)" in asked
    assert "2 hospitals it has never seen" in asked
