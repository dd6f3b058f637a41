"""Verdicts on classifiers and generators."""

from typing import Any

import pytest

from sitesynth.registry.gates import Gate, gates_of_classifier, gates_of_generator, refusals
from sitesynth.settings import RegistrySettings


SETTINGS = RegistrySettings(min_auc=0.5, candidates=("federated", "synthetic"))

SAFE = {"alder": "passed", "birch": "passed"}


def comparison(low: float = 0.6, *, non_inferior: bool = True) -> dict[str, Any]:
    names = ("centralized", "federated", "synthetic")
    auc = {"value": 0.8, "low": low, "high": 0.9}
    return {
        "strategies": {name: {"overall": {"auc": auc}} for name in names},
        "comparisons": [
            {"a": name, "b": "centralized", "non_inferior": non_inferior} for name in names[1:]
        ],
    }


def judged(strategy: str, results: dict[str, Any], privacy: dict[str, str] = SAFE) -> list[Gate]:
    return refusals(gates_of_classifier(strategy, results, settings=SETTINGS, privacy=privacy))


@pytest.mark.parametrize("strategy", ["federated", "synthetic"])
def test_a_good_candidate_passes_every_gate(strategy: str) -> None:
    assert judged(strategy, comparison()) == []


def test_an_interval_that_touches_the_limit_does_not_pass() -> None:
    """0.5 is not above 0.5."""
    (gate,) = judged("federated", comparison(low=0.5))

    assert gate.value == [0.5, 0.9]


def test_an_inferior_classifier_does_not_pass() -> None:
    (gate,) = judged("federated", comparison(non_inferior=False))

    assert gate.rule == "not inferior to centralized"


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
