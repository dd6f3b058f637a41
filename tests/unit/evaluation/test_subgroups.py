"""Groups of patients one can count."""

from pathlib import Path

import numpy as np
import pytest

from sitesynth.errors import CohortError
from sitesynth.evaluation.predictions import Predictions, read_predictions
from sitesynth.evaluation.subgroups import (
    Subgroup,
    compare_subgroups,
    find_subgroups,
    read_attributes,
)


def groups_of(words: list[str]) -> dict[str, int]:
    return {group.value: int(group.inside.sum()) for group in find_subgroups({"x": words})}


def test_words_are_their_own_groups_the_largest_first() -> None:
    assert groups_of(["M", "F", "F", "", "F", "M"]) == {"F": 3, "M": 2, "unknown": 1}
    assert list(groups_of(["M", "F", "F", "", "F", "M"])) == ["F", "M", "unknown"]


def test_many_numbers_are_cut_into_bands_of_equal_size() -> None:
    """Ages 20 to 49: thirds end at 29.67 and 39.33, in whole years 30 and 39."""
    ages = [str(age) for age in range(20, 50)]

    assert groups_of(ages) == {"below 30": 10, "30 to below 39": 9, "39 and above": 11}


def test_a_few_numbers_are_words() -> None:
    assert groups_of(["1.5", "3", "3", "1.5", "3"]) == {"3": 3, "1.5": 2}


def test_what_all_have_in_common_makes_no_group() -> None:
    assert groups_of(["F", "F", "F"]) == {}


def drawn(labels: np.ndarray, scores: np.ndarray) -> Predictions:
    names = tuple(str(number) for number in range(len(labels)))
    return Predictions(names, ("elm",) * len(labels), labels, scores, scores[None])


def test_a_strategy_that_fails_on_one_group_is_seen_there() -> None:
    """Both are perfect in men; in women the strategy turns the order round."""
    labels = np.tile([True, False], 20)
    is_woman = np.arange(40) < 20
    rng = np.random.default_rng(0)
    good = labels * 0.5 + rng.uniform(0, 0.4, 40)
    bad = np.where(is_woman, 1 - good, good)
    groups = [Subgroup("sex", "F", is_woman), Subgroup("sex", "M", ~is_woman)]
    found = compare_subgroups(
        {"centralized": drawn(labels, good), "synthetic": drawn(labels, bad)},
        groups,
        reference="centralized",
        min_patients=5,
    )

    women, men = (group["strategies"]["synthetic"] for group in found["groups"])
    assert women["auc"]["value"] == 0
    assert women["auc_difference"]["value"] == -1
    assert men["auc"]["value"] == 1
    assert men["auc_difference"]["value"] == 0
    assert found["groups"][0]["strategies"]["centralized"]["auc_difference"]["value"] is None


def test_a_small_group_is_counted_and_not_judged() -> None:
    """Nine patients, four of them positive, where five of each class are asked for."""
    labels = np.arange(30) % 2 == 1
    group = Subgroup("scanner", "old", np.arange(30) < 9)
    predicted = drawn(labels, np.linspace(0, 1, 30))
    found = compare_subgroups(
        {"centralized": predicted}, [group], reference="centralized", min_patients=5
    )["groups"][0]

    assert (found["n"], found["positives"], found["strategies"]) == (9, 4, {})


TABLE = """patient_id,scan_id,site,label,probability,sex,has_t1,has_flair
p2,s3,elm,1,0.5,F,true,false
p1,s1,elm,0,0.5,M,true,true
p2,s2,elm,1,0.5,F,false,false
"""


def test_attributes_are_in_the_order_of_the_predictions(tmp_path: Path) -> None:
    """Of two scans the one whose name comes first speaks for the patient."""
    (tmp_path / "predictions.csv").write_text(TABLE)
    found = read_attributes(
        tmp_path / "predictions.csv",
        read_predictions(tmp_path / "predictions.csv"),
        covariates=["sex"],
        sequences=["t1", "flair"],
    )

    assert found == {"sex": ("M", "F"), "sequences": ("all there", "without t1, without flair")}


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(TABLE)
    predicted = read_predictions(tmp_path / "predictions.csv")

    with pytest.raises(CohortError, match=r"lacks the columns \['scanner'\]"):
        read_attributes(
            tmp_path / "predictions.csv", predicted, covariates=["scanner"], sequences=[]
        )
