"""What strategies answer to the questions of stages, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from sitesynth.evaluation.comparisons import choose_pairs
from sitesynth.evaluation.predictions import ClassPredictions
from sitesynth.evaluation.stages import ask_stage, compare_stages
from sitesynth.settings import StageSettings


STAGES = (
    StageSettings(name="idh", groups=(("g",), ("a", "o"))),
    StageSettings(name="codeletion", groups=(("a",), ("o",))),
)
CHANCES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.2, 0.6, 0.2],
        [0.5, 0.1, 0.4],
        [0.1, 0.2, 0.7],
    ]
)


def predictions() -> ClassPredictions:
    return ClassPredictions(
        classes=("g", "a", "o"),
        patients=("p1", "p2", "p3", "p4"),
        sites=("dogwood", "dogwood", "elm", "elm"),
        labels=np.array([0, 1, 2, 2]),
        probabilities=CHANCES.copy(),
        by_seed=CHANCES[np.newaxis],
    )


def test_a_question_is_asked_of_its_own_patients() -> None:
    """Shares: 0.6 of 0.8 for a, 0.4 of 0.5 and 0.7 of 0.9 for o."""
    asked = ask_stage(predictions(), STAGES[1].groups)

    assert asked.classes == ("a", "o")
    assert asked.patients == ("p2", "p3", "p4")
    assert asked.sites == ("dogwood", "elm", "elm")
    assert asked.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(asked.probabilities[:, 1], [0.25, 0.8, 7 / 9])
    np.testing.assert_allclose(asked.by_seed[0], asked.probabilities)


def test_a_group_has_the_probability_of_its_classes() -> None:
    asked = ask_stage(predictions(), STAGES[0].groups)

    assert asked.classes == ("g", "a or o")
    np.testing.assert_allclose(asked.probabilities[:, 1], [0.2, 0.8, 0.5, 0.9])


def test_classes_that_were_rounded_to_nothing_are_equally_likely() -> None:
    certain = predictions()
    certain.probabilities[1] = [1.0, 0.0, 0.0]

    assert ask_stage(certain, STAGES[1].groups).probabilities[0].tolist() == [0.5, 0.5]


def test_every_strategy_answers_every_stage() -> None:
    """All mutants are placed above the wild type, and both o above the a."""
    found = compare_stages({"centralized": predictions()}, STAGES, num_resamples=200, seed=1)

    assert [stage["stage"] for stage in found] == ["idh", "codeletion"]
    assert found[0]["groups"] == [["g"], ["a", "o"]]
    told = found[0]["strategies"]["centralized"]
    assert (told["n"], told["counts"]) == (4, {"g": 1, "a or o": 3})
    assert told["auc"]["value"] == pytest.approx(1.0)
    assert found[1]["strategies"]["centralized"]["accuracy"]["value"] == 1.0


def test_a_question_that_is_about_nobody_is_answered_by_nothing() -> None:
    """No mutant among the patients: no AUC, and no error."""
    wildtypes = replace(predictions(), labels=np.zeros(4, dtype=np.int64))

    found = compare_stages({"centralized": wildtypes}, STAGES, num_resamples=200, seed=1)

    told = found[1]["strategies"]["centralized"]
    assert (told["n"], told["counts"]) == (0, {"a": 0, "o": 0})
    assert told["auc"] == told["accuracy"] == {"value": None, "low": None, "high": None}


def test_stages_are_compared_with_all_at_once_and_with_the_staged_reference() -> None:
    """And the tuned mix with other mixes at once only."""
    names = ("centralized", "synthetic", "centralized-staged", "synthetic-staged")

    assert choose_pairs(names, reference="centralized") == [
        ("synthetic", "centralized"),
        ("centralized-staged", "centralized"),
        ("synthetic-staged", "centralized"),
        ("synthetic-staged", "synthetic"),
        ("synthetic-staged", "centralized-staged"),
    ]
