"""How label, covariates and site hang together, where the answer is known by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sitesynth.cohorts.confounding import (
    associate,
    compare_means,
    describe_confounding,
    tell_sites_apart,
)


@pytest.fixture
def draws() -> np.random.Generator:
    return np.random.default_rng(5)


def test_cramers_v_of_a_table_by_hand(draws: np.random.Generator) -> None:
    """Chi-squared of [[30, 10], [10, 30]] is 80 (30 30 - 10 10)^2 / 40^4 = 20: V is 0.5."""
    found = associate(
        ["a"] * 40 + ["b"] * 40, [*"x" * 30, *"y" * 10, *"x" * 10, *"y" * 30], rng=draws
    )

    assert found is not None
    assert found["cramers_v"]["value"] == pytest.approx(0.5)
    assert found["cramers_v"]["low"] < 0.5 < found["cramers_v"]["high"]
    assert found["p"] == pytest.approx(0.001)
    assert found["counts"] == {"a": {"x": 30, "y": 10}, "b": {"x": 10, "y": 30}}


def test_independent_words_are_as_associated_as_chance_makes_them(
    draws: np.random.Generator,
) -> None:
    """The same share everywhere: V is 0, below what chance gives, and the p-value is 1."""
    found = associate(["a", "b"] * 40, [*"x" * 40, *"y" * 40], rng=draws)

    assert found is not None
    assert found["cramers_v"]["value"] == 0.0
    assert found["by_chance"] == pytest.approx(math.sqrt(2 / math.pi / 80), rel=0.15)
    assert found["p"] == 1.0


def test_a_constant_is_associated_with_nothing(draws: np.random.Generator) -> None:
    assert associate(["a", "a"], ["x", "y"], rng=draws) is None


def test_means_are_compared_in_standard_deviations() -> None:
    """Means 20 and 10, variances 100 and 100/3: 10 / sqrt(66.7); unknown cells are left out."""
    found = compare_means(
        pd.Series(["10", "20", "30", "", "5", "10", "15", "10"]),
        pd.Series([True] * 4 + [False] * 4),
    )

    assert found is not None
    assert found["n"] == [3, 4]
    assert found["smd"]["value"] == pytest.approx(10 / math.sqrt((100 + 50 / 3) / 2), abs=1e-4)
    assert compare_means(pd.Series(["1", "2"]), pd.Series([True, False])) is None


def measured(shift: float) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "site": [("elm", "oak")[number % 2] for number in range(60)],
            "patient_id": [f"p{number}" for number in range(60)],
            "t1 snr": rng.normal(10, 1, 60) + shift * np.tile([0, 1], 30),
            "t1 efc": rng.normal(0.5, 0.1, 60),
        }
    )


def test_sites_of_different_noise_are_told_apart_and_equal_ones_are_not(
    draws: np.random.Generator,
) -> None:
    """Eight standard deviations apart; by chance half are right."""
    apart, alike = (
        tell_sites_apart(measured(8), rng=draws),
        tell_sites_apart(measured(0), rng=draws),
    )

    assert apart is not None
    assert alike is not None
    assert apart["balanced_accuracy"] == 1.0
    assert apart["p"] == pytest.approx(0.01)
    assert apart["by_chance"]["mean"] == pytest.approx(0.5, abs=0.05)
    assert alike["balanced_accuracy"] < alike["by_chance"]["high"] + 0.1
    assert alike["p"] > 0.05


def test_a_site_of_few_patients_cannot_be_left_out_in_folds(draws: np.random.Generator) -> None:
    assert tell_sites_apart(measured(0).head(8), rng=draws) is None


def check_of(site: str, rows: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Return what a check found of patients, each with a label and an age."""
    return {
        "quarantine": [{"scan_id": f"{site}-aside"}],
        "scans": [
            {
                "scan_id": f"{site}-{name}",
                "patient_id": f"{site}-{patient}",
                "values": {"idh": label, "age": age},
                "files": {},
            }
            for name, (patient, label, age) in zip("abcdefgh", rows, strict=False)
        ]
        + [
            {
                "scan_id": f"{site}-aside",
                "patient_id": "aside",
                "values": {"idh": "mutant", "age": "1"},
                "files": {},
            }
        ],
    }


def test_a_patient_counts_once_and_external_ones_tell_nothing_of_the_label() -> None:
    """Two scans of one patient, an unknown label and one that was set aside count for nothing."""
    checks = {
        "elm": check_of(
            "elm",
            [("1", "mutant", "30"), ("1", "mutant", "30"), ("2", "wildtype", "60"), ("3", "", "9")],
        ),
        "oak": check_of("oak", [("1", "mutant", "40"), ("2", "wildtype", "70")]),
        "ash": check_of("ash", [("1", "wildtype", "90"), ("2", "wildtype", "95")]),
    }
    found = describe_confounding(
        checks,
        training=("elm", "oak"),
        label="idh",
        positive="mutant",
        classes=("wildtype", "mutant"),
        covariates=("age",),
        seed=1,
    )

    assert found["label_by_site"]["all"]["n"] == 6
    assert found["label_by_site"]["training"]["cramers_v"]["value"] == 0.0
    assert found["label_by_covariate"]["age"]["mean"] == [35.0, 65.0]
    assert found["covariates_by_site"]["age"]["ash"]["n"] == [2, 5]
    assert found["site_from_measures"] is None


def test_without_a_positive_class_each_is_set_against_the_others() -> None:
    """Ages 30 and 34, 60 and 64, 44 and 46: 32 against 53.5, and so on."""
    rows = [("1", "a", "30"), ("2", "a", "34"), ("3", "b", "60"), ("4", "b", "64")]
    found = describe_confounding(
        {"elm": check_of("elm", [*rows, ("5", "c", "44"), ("6", "c", "46")])},
        training=("elm",),
        label="idh",
        positive=None,
        classes=("a", "b", "c"),
        covariates=("age",),
        seed=1,
    )["label_by_covariate"]["age"]

    assert {name: told["mean"] for name, told in found.items()} == {
        "a": [32.0, 53.5],
        "b": [62.0, 38.5],
        "c": [45.0, 47.0],
    }
