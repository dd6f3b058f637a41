"""The content of results/comparison.json where every class is predicted."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sitesynth.errors import CohortError
from sitesynth.evaluation.class_summaries import summarize_classes, summarize_points_of
from sitesynth.evaluation.comparisons import compare_strategies
from sitesynth.evaluation.predictions import (
    AnyPredictions,
    ClassPredictions,
    Predictions,
    class_predictions_by_patient,
)
from sitesynth.evaluation.subgroups import Subgroup, compare_subgroups
from sitesynth.evaluation.tables import render_comparison


CLASSES = ("glioblastoma", "astrocytoma", "oligodendroglioma")
SITES = ("elm", "oak")
SIZES = (24, 16, 10)

Json = dict[str, Any]


def draw(separation: float, *, seed: int, sizes: tuple[int, ...] = SIZES) -> ClassPredictions:
    """Return predictions of patients of both sites; a larger separation is a better classifier."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    shared = np.random.default_rng(1).normal(size=(len(labels), len(sizes)))
    own = np.random.default_rng(seed).normal(size=(2, len(labels), len(sizes)))
    logits = separation * np.eye(len(sizes))[labels] + shared + 0.5 * own
    by_seed = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    names = tuple(f"p{number}" for number in range(len(labels)))
    return ClassPredictions(
        classes=CLASSES[: len(sizes)],
        patients=names,
        sites=tuple(SITES[number % 2] for number in range(len(labels))),
        labels=labels,
        probabilities=by_seed.mean(axis=0),
        by_seed=by_seed,
    )


def compare(
    predictions: dict[str, AnyPredictions],
    *,
    positive: str | None = None,
    threshold: float | None = None,
) -> Json:
    return compare_strategies(
        predictions,
        dict.fromkeys(predictions, threshold),
        task="tumour_type",
        positive=positive,
        sites=SITES,
        reference="centralized",
        margin=0.05,
        num_resamples=200,
        test_sha256="0" * 64,
        seed=5,
    )


@pytest.fixture(scope="module")
def found() -> Json:
    return compare(
        {
            "local-alder": draw(0.3, seed=2),
            "centralized": draw(2.0, seed=3),
            "synthetic": draw(1.9, seed=4),
        }
    )


def test_two_classes_are_judged_as_with_a_positive_one() -> None:
    """All classes of two: the same AUCs, differences, tests, accuracy and Brier as binary."""
    both: dict[str, AnyPredictions] = {
        name: draw(separation, seed=seed, sizes=(30, 20))
        for name, separation, seed in (("centralized", 2.0, 3), ("synthetic", 1.0, 4))
    }
    one: dict[str, AnyPredictions] = {
        name: predicted.one_against_rest(1)
        for name, predicted in both.items()
        if isinstance(predicted, ClassPredictions)
    }
    several, binary = compare(both), compare(one, positive="astrocytoma", threshold=0.5)

    for name in both:
        for scope in ("overall", "sites"):
            there, here = (found["strategies"][name][scope] for found in (several, binary))
            if scope == "sites":
                there, here = there["elm"], here["elm"]
            for metric in ("auc", "accuracy", "balanced_accuracy", "brier"):
                assert there[metric] == pytest.approx(here[metric]), metric
        seeds = several["strategies"][name]["seeds"]["auc"]
        assert seeds == pytest.approx(binary["strategies"][name]["seeds"]["auc"])
    (there,), (here,) = several["comparisons"], binary["comparisons"]
    told = {"positives", "statement", "counts", "classes", "sites"}
    for key in there.keys() - told:
        is_number = isinstance(here[key], float | dict)
        assert there[key] == (pytest.approx(here[key], abs=1e-9) if is_number else here[key]), key


def test_a_baseline_that_says_the_same_of_everyone_ranks_nobody() -> None:
    """Macro AUC 0.5 without width, no seeds, and a family of its own."""
    network = draw(2.0, seed=3)
    shares = np.array(SIZES) / sum(SIZES)
    constant = replace(
        network, probabilities=np.tile(shares, (50, 1)), by_seed=np.zeros((0, 50, 3))
    )
    found = compare({"centralized": network, "baseline-site": constant})
    told = found["strategies"]["baseline-site"]

    assert told["overall"]["auc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert told["seeds"]["n"] == 0
    (entry,) = found["comparisons"]
    assert entry["family"] == "baselines"
    assert entry["delong_p_holm"] == entry["delong_p"] < 0.001


def test_what_binary_tasks_have_is_there_and_each_classs_own_beside_it(found: Json) -> None:
    binary = compare(
        {"centralized": draw(2.0, seed=3).one_against_rest(0)}, positive="x", threshold=0.5
    )
    expected = set(binary["strategies"]["centralized"]["overall"])
    told = found["strategies"]["centralized"]["overall"]

    assert set(binary) | {"classes"} == set(found)
    assert set(told) == expected | {"counts", "classes", "confusion"}
    assert all(set(own) == expected for own in told["classes"].values())
    assert found["positive"] is None
    assert told["counts"] == dict(zip(CLASSES, SIZES, strict=True))


def test_the_mean_of_the_classes_aucs_is_the_auc(found: Json) -> None:
    for told in found["strategies"].values():
        for scope in (told["overall"], *told["sites"].values()):
            own = [scope["classes"][name]["auc"]["value"] for name in CLASSES]
            assert scope["auc"]["value"] == pytest.approx(np.mean(own))
    for entry in found["comparisons"]:
        own = [entry["classes"][name]["auc_difference"]["value"] for name in CLASSES]
        assert entry["auc_difference"]["value"] == pytest.approx(np.mean(own))


def test_a_better_classifier_is_significantly_better(found: Json) -> None:
    local, _, _ = found["comparisons"]

    assert local["significant"]
    assert not local["non_inferior"]
    assert local["mcnemar_p"] < 0.01
    assert local["statement"].startswith(
        "local-alder against centralized in 50 external patients (24 glioblastoma, 16 astrocytoma, "
        "10 oligodendroglioma): macro AUC 0."
    )


def test_delong_and_the_paired_bootstrap_agree(found: Json) -> None:
    for entry in found["comparisons"]:
        for end in ("low", "high"):
            assert entry["auc_difference"][end] == pytest.approx(
                entry["auc_difference_bootstrap"][end], abs=0.03
            )


def test_whatever_is_estimated_lies_in_its_interval(found: Json) -> None:
    def values(told: Any) -> list[Json]:
        if isinstance(told, dict) and set(told) == {"value", "low", "high"}:
            return [told]
        inside = told.values() if isinstance(told, dict) else told if isinstance(told, list) else ()
        return [value for part in inside for value in values(part)]

    known = [value for value in values(found["strategies"]) if value["low"] is not None]
    assert len(known) > 200
    assert not [value for value in known if not value["low"] <= value["value"] <= value["high"]]
    assert "NaN" not in json.dumps(found)


def test_patients_are_counted_by_class_and_call() -> None:
    """Of 2, 3 and 1 patients, 1, 2 and 1 are called rightly; one a is called c, one b an a."""
    calls = [0, 2, 1, 1, 0, 2]
    predicted = ClassPredictions(
        classes=("a", "b", "c"),
        patients=tuple("uvwxyz"),
        sites=("elm",) * 6,
        labels=np.array([0, 0, 1, 1, 1, 2]),
        probabilities=0.1 + 0.7 * np.eye(3)[calls],
        by_seed=np.zeros((0, 6, 3)),
    )
    told = summarize_classes(
        predicted, np.ones(6, dtype=bool), weights=np.ones((5, 6)), rng=np.random.default_rng(1)
    )

    assert told["confusion"]["counts"] == [[1, 0, 1], [1, 2, 0], [0, 0, 1]]
    assert told["confusion"]["shares"][1][0]["value"] == pytest.approx(1 / 3)
    assert told["accuracy"]["value"] == pytest.approx(4 / 6)
    assert told["balanced_accuracy"]["value"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert told["sensitivity"] == told["balanced_accuracy"]
    assert told["specificity"]["value"] == pytest.approx((3 / 4 + 3 / 3 + 4 / 5) / 3)
    points = summarize_points_of(predicted, threshold=None)
    assert points["accuracy.elm"] == pytest.approx(4 / 6)
    assert points["recall_b"] == pytest.approx(2 / 3)


def test_a_hospital_without_a_class_has_no_mean_but_the_others_own() -> None:
    predicted = draw(1.0, seed=3)
    without = np.array([label != 2 for label in predicted.labels])
    told = summarize_classes(
        predicted, without, weights=np.ones((5, 50)), rng=np.random.default_rng(1)
    )

    assert told["counts"]["oligodendroglioma"] == 0
    assert told["auc"]["value"] is None
    assert told["balanced_accuracy"]["value"] is None
    assert told["accuracy"]["value"] is not None
    assert told["classes"]["glioblastoma"]["auc"]["value"] is not None
    assert told["classes"]["oligodendroglioma"]["auc"]["value"] is None


def test_without_a_patient_of_a_class_nothing_is_shown() -> None:
    found = compare(
        {name: draw(1.0, seed=3, sizes=(5, 5, 0)) for name in ("centralized", "synthetic")}
    )
    (entry,) = found["comparisons"]

    assert entry["auc_difference"]["value"] is None
    assert entry["statement"].endswith(
        "none is oligodendroglioma, so no macro AUC is defined; nothing is shown."
    )


def test_a_strategy_of_another_task_is_refused() -> None:
    predicted = draw(1.0, seed=3)
    with pytest.raises(
        CohortError, match=r"centralized predicts glioblastoma, .* a positive class"
    ):
        compare({"centralized": predicted, "synthetic": predicted.one_against_rest(0)})


def test_a_subgroup_needs_patients_of_every_class() -> None:
    predictions: dict[str, AnyPredictions] = {"centralized": draw(2.0, seed=3)}
    groups = [
        Subgroup("age", "old", np.arange(50) % 2 == 0),
        Subgroup("age", "young", np.arange(50) < 42),
    ]
    told = compare_subgroups(predictions, groups, reference="centralized", min_patients=3)["groups"]

    assert told[0]["counts"] == {"glioblastoma": 12, "astrocytoma": 8, "oligodendroglioma": 5}
    assert told[0]["strategies"]["centralized"]["auc"]["value"] > 0.8
    assert told[1]["counts"]["oligodendroglioma"] == 2
    assert told[1]["strategies"] == {}


def test_the_table_names_the_classes_and_their_patients(found: Json) -> None:
    text = render_comparison(found)

    assert "External macro AUC [95 % interval], tumour_type: glioblastoma, astrocytoma" in text
    assert "n=50 (24/16/10)" in text
    assert render_comparison(json.loads(json.dumps(found, sort_keys=True))) == text


def row(patient: str, label: str, *chances: float, scan: str | None = None) -> dict[str, str]:
    told = {"patient_id": patient, "scan_id": scan or patient, "site": "elm", "label": label}
    for block in ("probability", "seed_0", "seed_1"):
        told |= {f"{block}_{n}": str(p) for n, p in zip(CLASSES, chances, strict=True)}
    return told


def test_a_patients_scans_are_averaged_class_by_class() -> None:
    rows = [
        row("b", "oligodendroglioma", 0.1, 0.2, 0.7),
        row("a", "astrocytoma", 0.2, 0.6, 0.2, scan="a1"),
        row("a", "astrocytoma", 0.4, 0.4, 0.2, scan="a2"),
    ]
    found = class_predictions_by_patient(rows, named="t")

    assert found.classes == CLASSES
    assert found.patients == ("a", "b")
    assert list(found.labels) == [1, 2]
    np.testing.assert_allclose(found.probabilities, [[0.3, 0.5, 0.2], [0.1, 0.2, 0.7]])
    np.testing.assert_allclose(found.by_seed[1], found.probabilities)
    assert isinstance(found.one_against_rest(2), Predictions)


def test_probabilities_that_do_not_sum_up_are_refused() -> None:
    with pytest.raises(CohortError, match=r"patient b do not sum up to 1"):
        class_predictions_by_patient(
            [row("a", "astrocytoma", 0.2, 0.6, 0.2), row("b", "astrocytoma", 0.2, 0.6, 0.3)],
            named="t",
        )


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(
        CohortError, match=r"line 2: label must be .* or oligodendroglioma, got 'x'"
    ):
        class_predictions_by_patient([row("a", "x", 0.2, 0.6, 0.2)], named="t")


def test_a_class_that_a_seed_did_not_predict_is_named() -> None:
    lacking = row("a", "astrocytoma", 0.2, 0.6, 0.2)
    del lacking["seed_1_astrocytoma"]
    with pytest.raises(CohortError, match=r"lacks the columns \['seed_1_astrocytoma'\]"):
        class_predictions_by_patient([lacking], named="t")
