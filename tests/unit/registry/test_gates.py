"""Verdicts on classifiers and generators."""

from typing import Any

import numpy as np
import pytest

from sitesynth import seeds
from sitesynth.evaluation.intervals import auc_interval
from sitesynth.registry.gates import Gate, gates_of_classifier, gates_of_generator, refusals
from sitesynth.settings import RegistrySettings


SETTINGS = RegistrySettings(
    min_auc=0.5, max_ece=0.2, min_recall=0.5, candidates=("federated", "synthetic")
)

FITTED = {"patients": {"alder": ["a1", "a2"], "birch": ["b1"]}}
TESTED = {"d1", "d2", "e1"}

SAFE = {"alder": "passed", "birch": "passed"}


def comparison(low: float = 0.6, *, non_inferior: bool = True, **changed: Any) -> dict[str, Any]:
    names = ("centralized", "federated", "synthetic")
    found = {
        "auc": {"value": 0.8, "low": low, "high": 0.9},
        "ece": {"value": 0.1, "low": 0.0, "high": 0.15},
        "sensitivity": {"value": 0.8, "low": 0.7, "high": 0.9},
        "specificity": {"value": 0.7, "low": 0.6, "high": 0.8},
    }
    return {
        "strategies": {name: {"overall": found | changed} for name in names},
        "comparisons": [
            {"a": name, "b": "centralized", "non_inferior": non_inferior} for name in names[1:]
        ],
    }


def judged(strategy: str, results: dict[str, Any], privacy: dict[str, str] = SAFE) -> list[Gate]:
    gates = gates_of_classifier(
        strategy,
        results,
        settings=SETTINGS,
        privacy=privacy,
        provenance=FITTED,
        test_patients=TESTED,
    )
    return refusals(gates)


@pytest.mark.parametrize("strategy", ["federated", "synthetic"])
def test_a_good_candidate_passes_every_gate(strategy: str) -> None:
    assert judged(strategy, comparison()) == []


def test_an_interval_that_touches_the_limit_does_not_pass() -> None:
    """0.5 is not above 0.5."""
    (gate,) = judged("federated", comparison(low=0.5))

    assert gate.value == [0.5, 0.9]


def test_what_learned_shuffled_labels_passes_by_chance_only() -> None:
    """It ranks patients at random; the far end of a 95 % interval is above 0.5 in 1 of 40."""
    rng = seeds.numpy_generator(0, "shuffled")
    labels = np.arange(180) % 2 == 1
    passed = 0
    for _ in range(400):
        interval = auc_interval(labels, rng.random(180))
        assert interval is not None
        found = {"value": 0.5, "low": interval.low, "high": interval.high}
        passed += not judged("synthetic", comparison(auc=found))

    # Ten are expected; more than twenty come once in a thousand.
    assert passed <= 20


def test_an_inferior_classifier_does_not_pass() -> None:
    (gate,) = judged("federated", comparison(non_inferior=False))

    assert gate.rule == "not inferior to centralized"


@pytest.mark.parametrize(
    ("figure", "interval", "rule"),
    [
        ("ece", [0.1, 0.2], "the external calibration error's 95 % interval lies below 0.2"),
        ("ece", [None, None], "the external calibration error's 95 % interval lies below 0.2"),
        ("sensitivity", [0.5, 0.7], "the positive class's external recall's 95 % interval"),
        ("specificity", [0.4, 0.7], "the other class's external recall's 95 % interval"),
    ],
)
def test_an_interval_that_is_not_beyond_its_limit_does_not_pass(
    figure: str, interval: list[float | None], rule: str
) -> None:
    """Who calls everybody positive has a recall of 1 and of 0, whatever the AUC."""
    low, high = interval
    changed: dict[str, Any] = {figure: {"value": 0.3, "low": low, "high": high}}
    results = comparison(**changed)

    (gate,) = judged("federated", results)
    assert gate.rule.startswith(rule)
    assert gate.value == interval


@pytest.mark.parametrize(
    ("provenance", "tested", "value"),
    [
        ({"patients": {"alder": ["a1", "d2"]}}, TESTED, "1 of 3 of them"),
        (None, TESTED, "nobody told on whom it was fitted"),
        ({"patients": {}}, TESTED, "no patients to compare"),
        (FITTED, set(), "no patients to compare"),
    ],
)
def test_a_classifier_that_may_have_seen_the_test_does_not_pass(
    provenance: dict[str, Any] | None, tested: set[str], value: str
) -> None:
    gates = gates_of_classifier(
        "federated",
        comparison(),
        settings=SETTINGS,
        privacy=SAFE,
        provenance=provenance,
        test_patients=tested,
    )

    assert refusals(gates) == [Gate("fitted on no external patient", value, passed=False)]


def test_a_strategy_that_pools_scans_is_no_candidate() -> None:
    """Nor is it compared with itself."""
    rules = [gate.rule for gate in judged("centralized", comparison())]

    assert rules == ["the strategy is one of federated, synthetic", "not inferior to centralized"]


def test_one_refused_generator_refuses_the_classifier_that_learned_from_it() -> None:
    privacy = {"alder": "passed", "birch": "refused"}

    (gate,) = judged("synthetic", comparison(), privacy)
    assert gate.rule == "the privacy gate of birch's generator"
    assert judged("federated", comparison(), privacy) == []


@pytest.mark.parametrize(
    ("card", "value", "passed"),
    [
        ({"privacy": {"gate": {"verdict": "passed"}}}, "passed", True),
        ({"privacy": {"gate": {"verdict": "refused"}}}, "refused", False),
        ({"privacy": {}}, "not assessed", False),
    ],
)
def test_a_generator_passes_only_if_its_card_says_so(
    card: dict[str, Any], value: str, *, passed: bool
) -> None:
    assert gates_of_generator(card) == [Gate("the privacy gate", value, passed)]


def test_every_class_must_be_recalled() -> None:
    """Of three classes the third is not: its gate alone refuses."""
    classes = {
        name: {"sensitivity": {"value": low + 0.1, "low": low, "high": low + 0.2}}
        for name, low in (("glioblastoma", 0.8), ("astrocytoma", 0.6), ("oligodendroglioma", 0.3))
    }
    (gate,) = judged("federated", comparison(classes=classes))

    assert gate.rule == "oligodendroglioma's external recall's 95 % interval lies above 0.5"
    assert gate.value == [0.3, 0.5]
