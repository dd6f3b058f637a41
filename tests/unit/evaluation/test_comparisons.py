"""The content of results/comparison.json, on phantom predictions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sitesynth.errors import CohortError
from sitesynth.evaluation.comparisons import choose_pairs, compare_strategies
from sitesynth.evaluation.predictions import Predictions, predictions_by_patient


PATIENTS_PER_SITE = 40


def draw_predictions(separation: float, *, noise_seed: int, sites: Sequence[str]) -> Predictions:
    """Return predictions of shared patients; a larger separation is a better classifier."""
    rows = []
    for site in sites:
        shared = np.random.default_rng([1, *site.encode()])
        own = np.random.default_rng([noise_seed, *site.encode()])
        for number in range(PATIENTS_PER_SITE):
            label = number % 2
            logit = separation * (label - 0.5) + shared.normal() + 0.5 * own.normal()
            rows.append(
                {
                    "patient_id": f"{site}-{number}",
                    "scan_id": f"{site}-{number}",
                    "site": site,
                    "label": str(label),
                    "probability": str(1 / (1 + np.exp(-logit))),
                    "seed_0": str(1 / (1 + np.exp(-logit))),
                    "seed_1": str(1 / (1 + np.exp(-logit - 0.3 * own.normal()))),
                }
            )
    return predictions_by_patient(rows, named="drawn")


def compare(
    predictions: dict[str, Predictions], sites: Sequence[str] = ("elm", "oak"), **changes: Any
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "task": "idh",
        "positive": "mutant",
        "sites": sites,
        "reference": "centralized",
        "margin": 0.05,
        "num_resamples": 200,
        "test_sha256": "0" * 64,
        "seed": 5,
    } | changes
    return compare_strategies(predictions, dict.fromkeys(predictions, 0.5), **options)


@pytest.fixture
def predictions() -> dict[str, Predictions]:
    sites = ("elm", "oak")
    return {
        "local-alder": draw_predictions(0.5, noise_seed=2, sites=sites),
        "centralized": draw_predictions(3.0, noise_seed=3, sites=sites),
        "federated": draw_predictions(3.0, noise_seed=4, sites=sites),
        "synthetic": draw_predictions(2.8, noise_seed=5, sites=sites),
    }


def test_pairs_are_with_the_reference_and_of_synthetic_with_its_rivals() -> None:
    names = ["local-alder", "centralized", "federated", "synthetic", "augmented"]

    assert choose_pairs(names, reference="centralized") == [
        ("local-alder", "centralized"),
        ("federated", "centralized"),
        ("synthetic", "centralized"),
        ("augmented", "centralized"),
        ("synthetic", "local-alder"),
        ("synthetic", "federated"),
    ]


def test_the_tuned_mix_is_compared_with_the_other_ones() -> None:
    """Of the same strategy; what tuning brought is the difference between the two."""
    names = ["centralized", "synthetic", "synthetic-equal", "augmented-equal"]

    assert choose_pairs(names, reference="centralized") == [
        ("synthetic", "centralized"),
        ("synthetic-equal", "centralized"),
        ("augmented-equal", "centralized"),
        ("synthetic", "synthetic-equal"),
    ]


def test_a_baseline_is_compared_with_the_reference_and_makes_no_other_test_stricter(
    predictions: dict[str, Predictions],
) -> None:
    """Two families: the strategies' adjusted p-values are those of a study without baselines."""
    constant = replace(
        predictions["centralized"],
        probabilities=np.full(80, 0.4),
        by_seed=np.zeros((0, 80)),
    )
    without = compare(predictions)
    found = compare({**predictions, "baseline-site": constant})

    (entry,) = [one for one in found["comparisons"] if "baseline" in one["a"] + one["b"]]
    assert (entry["a"], entry["b"], entry["family"]) == (
        "baseline-site",
        "centralized",
        "baselines",
    )
    assert entry["delong_p_holm"] == entry["delong_p"] < 0.001
    assert [one for one in found["comparisons"] if one is not entry] == without["comparisons"]
    reached = found["strategies"]["baseline-site"]
    assert reached["overall"]["auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert reached["seeds"] == {"n": 0, "auc": [], "auc_mean": None, "auc_sd": None}


def test_every_value_of_the_contract_is_there(predictions: dict[str, Predictions]) -> None:
    found = compare(predictions)

    assert list(found["strategies"]) == list(predictions)
    for strategy in found["strategies"].values():
        assert set(strategy["sites"]) == {"elm", "oak"}
        for scope in (strategy["overall"], *strategy["sites"].values()):
            for metric in (
                "auc",
                "accuracy",
                "balanced_accuracy",
                "sensitivity",
                "specificity",
                "brier",
                "ece",
            ):
                assert scope[metric]["low"] <= scope[metric]["value"] <= scope[metric]["high"]
        assert strategy["overall"]["n"] == 2 * PATIENTS_PER_SITE
        assert strategy["overall"]["positives"] == PATIENTS_PER_SITE
        assert strategy["seeds"]["n"] == 2
    contract = {"a", "b", "auc_difference", "delong_p", "mcnemar_p", "margin", "non_inferior"}
    assert all(contract <= set(entry) for entry in found["comparisons"])
    assert "NaN" not in json.dumps(found)


def test_a_difference_is_a_minus_b(predictions: dict[str, Predictions]) -> None:
    found = compare(predictions)
    first = found["comparisons"][0]
    aucs = {name: found["strategies"][name]["overall"]["auc"]["value"] for name in predictions}

    assert (first["a"], first["b"]) == ("local-alder", "centralized")
    assert first["auc_difference"]["value"] == pytest.approx(
        aucs["local-alder"] - aucs["centralized"]
    )
    assert first["auc_difference"]["value"] < -0.2


def test_a_bad_strategy_is_significantly_worse_and_not_non_inferior(
    predictions: dict[str, Predictions],
) -> None:
    first = compare(predictions)["comparisons"][0]

    assert first["significant"]
    assert not first["non_inferior"]
    assert "lower" in first["statement"]
    assert "a significant difference" in first["statement"]


def test_a_twin_is_equal_with_certainty(predictions: dict[str, Predictions]) -> None:
    found = compare(
        {"centralized": predictions["centralized"], "federated": predictions["centralized"]}
    )
    twin = found["comparisons"][0]

    assert twin["auc_difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert twin["auc_difference_bootstrap"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (twin["delong_p"], twin["mcnemar_p"], twin["n_discordant"]) == (1.0, 1.0, 0)
    assert twin["non_inferior"]
    assert twin["equivalent"]


def test_two_perfect_strategies_on_few_patients_are_not_called_non_inferior() -> None:
    """Both have AUC 1, and eight patients cannot tell 1 from .8."""

    def perfect(order: Sequence[float]) -> Predictions:
        return predictions_by_patient(
            [
                {
                    "patient_id": str(number),
                    "scan_id": str(number),
                    "site": "elm",
                    "label": str(int(p > 0.5)),
                    "probability": str(p),
                }
                for number, p in enumerate(order)
            ],
            named="perfect",
        )

    found = compare(
        {
            "centralized": perfect([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]),
            "synthetic": perfect([0.4, 0.3, 0.2, 0.1, 0.9, 0.8, 0.7, 0.6]),
        },
        sites=("elm",),
    )
    pair = found["comparisons"][0]

    assert pair["auc_difference"]["value"] == 0.0
    assert pair["delong_p"] == 1.0
    assert not pair["non_inferior"]
    assert "is not shown" in pair["statement"]


def test_not_significant_is_not_called_equal(predictions: dict[str, Predictions]) -> None:
    entry = compare(predictions, margin=0.001)["comparisons"][1]

    assert not entry["significant"]
    assert not entry["equivalent"]
    assert "not significant, which does not show equality" in entry["statement"]
    assert "80 % power" in entry["statement"]


def test_one_seed_gives_one_result(predictions: dict[str, Predictions]) -> None:
    assert json.dumps(compare(predictions)) == json.dumps(compare(predictions))
    assert json.dumps(compare(predictions)) != json.dumps(compare(predictions, seed=6))


def test_the_order_of_strategies_changes_no_number_of_a_strategy(
    predictions: dict[str, Predictions],
) -> None:
    there = compare(predictions)
    back = compare(dict(reversed(predictions.items())))

    assert there["strategies"] == back["strategies"]
    assert back["order"]["strategies"] == list(predictions)[::-1]


def test_another_site_changes_no_number_of_a_site() -> None:
    few, many = (
        compare({"centralized": draw_predictions(2.0, noise_seed=3, sites=sites)}, sites=sites)
        for sites in (("oak",), ("elm", "oak"))
    )
    sites = [found["strategies"]["centralized"]["sites"]["oak"] for found in (few, many)]

    assert sites[0] == sites[1]


def test_seeds_report_their_mean_and_spread(predictions: dict[str, Predictions]) -> None:
    seeds = compare(predictions)["strategies"]["centralized"]["seeds"]
    first, second = seeds["auc"]

    assert seeds["auc_mean"] == pytest.approx((first + second) / 2)
    assert seeds["auc_sd"] == pytest.approx(abs(first - second) / 2**0.5)


def test_what_a_site_cannot_define_is_null_with_its_n() -> None:
    """One site has negatives only, another nobody; the study goes on."""
    drawn = draw_predictions(2.0, noise_seed=3, sites=("elm", "oak"))
    rows = [
        {
            "patient_id": patient,
            "scan_id": patient,
            "site": site,
            "label": str(int(label)),
            "probability": str(p),
        }
        for patient, site, label, p in zip(
            drawn.patients, drawn.sites, drawn.labels, drawn.probabilities, strict=True
        )
        if site == "oak" or not label
    ]
    test = predictions_by_patient(rows, named="t")
    found = compare({"centralized": test, "synthetic": test}, sites=("elm", "oak", "yew"))
    nothing = {"value": None, "low": None, "high": None}
    elm, yew = (found["strategies"]["synthetic"]["sites"][site] for site in ("elm", "yew"))

    assert (elm["n"], elm["positives"]) == (PATIENTS_PER_SITE / 2, 0)
    assert elm["auc"] == elm["sensitivity"] == elm["balanced_accuracy"] == nothing
    assert elm["specificity"]["value"] is not None
    assert (yew["n"], yew["brier"], yew["accuracy"]) == (0, nothing, nothing)
    assert found["comparisons"][0]["sites"]["elm"]["delong_p"] is None
    assert "NaN" not in json.dumps(found)


def test_one_class_everywhere_compares_nothing_and_says_so() -> None:
    test = predictions_by_patient(
        [
            {
                "patient_id": str(number),
                "scan_id": str(number),
                "site": "elm",
                "label": "0",
                "probability": "0.2",
            }
            for number in range(4)
        ],
        named="t",
    )
    entry = compare({"centralized": test, "synthetic": test}, sites=("elm",))["comparisons"][0]

    assert entry["delong_p"] is None
    assert not entry["non_inferior"]
    assert "all of one class" in entry["statement"]


def test_patients_of_a_training_site_are_refused(predictions: dict[str, Predictions]) -> None:
    with pytest.raises(CohortError, match=r"has patients of \['oak'\]"):
        compare(predictions, sites=("elm",))


def test_near_the_ceiling_few_patients_ask_for_a_stricter_level() -> None:
    """40 per class and an AUC above .95: bounds at 1 %, else at 2.5 %."""
    good = draw_predictions(6.0, noise_seed=3, sites=("elm", "oak"))
    fair = draw_predictions(1.0, noise_seed=3, sites=("elm", "oak"))

    assert compare({"centralized": good, "synthetic": good})["comparisons"][0]["alpha"] == 0.01
    assert compare({"centralized": fair, "synthetic": fair})["comparisons"][0]["alpha"] == 0.025
