"""A judge of classes that are as easy to tell apart as planted."""

import numpy as np
import pytest

from sitesynth.judges import Examples
from sitesynth.quality.judge import judge_classes


CLASSES = ("wildtype", "mutant")


def examples(
    count: int, rng: np.random.Generator, *, apart: float, named: str, swapped: float = 0.0
) -> Examples:
    """Return scans whose first feature tells their class; a share has the other class's."""
    labels = np.arange(count) % 2
    shown = np.where(np.arange(count) < swapped * count, 1 - labels, labels)
    features = rng.normal(size=(count, 10))
    features[:, 0] += apart * (2 * shown - 1)
    return Examples(features, labels, tuple(f"{named}{number}" for number in range(count)))


def judge(*, apart: float, swapped: float, count: int = 60) -> dict:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    found = judge_classes(
        examples(count, rng, apart=apart, named="train"),
        examples(20, rng, apart=apart, named="held out"),
        examples(count, rng, apart=apart, named="synthetic", swapped=swapped),
        classes=CLASSES,
        num_resamples=100,
        rng=rng,
    )
    assert found is not None
    return found


def test_an_obedient_generator_agrees_as_often_as_real_scans_do() -> None:
    """Classes three standard deviations from the middle: the judge errs in 0.1 %."""
    found = judge(apart=3, swapped=0)

    assert found["synthetic"]["agreement"]["value"] > 0.95
    assert found["real"]["agreement"]["value"] > 0.95
    assert found["real"]["n"] == 80


def test_a_generator_that_swaps_classes_is_found_out() -> None:
    """Every second scan has the look of the other class."""
    found = judge(apart=3, swapped=0.5)

    assert found["synthetic"]["agreement"]["value"] == pytest.approx(0.5, abs=0.04)
    assert found["real"]["agreement"]["value"] > 0.95


def test_a_judge_that_knows_nothing_is_not_sure_of_itself() -> None:
    """On features without a class, left-out folds show guessing, whatever the fit looks like."""
    found = judge(apart=0, swapped=0)["real"]

    assert found["agreement"]["low"] < 0.5 < found["agreement"]["high"]
    assert found["brier"]["value"] == pytest.approx(0.25, abs=0.03)


def test_calibration_is_that_of_a_known_logistic() -> None:
    """Features one deviation apart have the posterior 1 / (1 + exp(-2 x)): Brier 0.112."""
    found = judge(apart=1, swapped=0, count=1500)["synthetic"]

    assert found["brier"]["value"] == pytest.approx(0.112, abs=0.015)
    assert found["ece"] < 0.04
    assert sum(bin_["n"] for bin_ in found["reliability"]) == 1500


def test_counts_of_a_class_add_up() -> None:
    found = judge(apart=1, swapped=0)["synthetic"]["by_class"]

    for name in CLASSES:
        assert sum(found[name]["called"].values()) == found[name]["n"] == 30
        assert found[name]["agreement"]["value"] == pytest.approx(
            found[name]["called"][name] / 30, abs=1e-6
        )


def test_the_interval_of_none_of_twenty_is_the_exact_one() -> None:
    """Clopper and Pearson: 0 of 20 is 0 to 16.84 %."""
    rng = np.random.default_rng(1)
    found = judge_classes(
        examples(40, rng, apart=6, named="train"),
        examples(10, rng, apart=6, named="held out"),
        examples(20, rng, apart=6, named="synthetic", swapped=1),
        classes=CLASSES,
        num_resamples=20,
        rng=rng,
    )

    assert found is not None
    assert found["synthetic"]["agreement"] == {"value": 0.0, "low": 0.0, "high": 0.168433}


def test_a_class_with_one_patient_leaves_nothing_to_judge_by() -> None:
    rng = np.random.default_rng(2)
    few = examples(9, rng, apart=1, named="train")
    one = Examples(few.features, np.array([1] + [0] * 8), few.patients)

    assert judge_classes(one, few, few, classes=CLASSES, num_resamples=20, rng=rng) is None


def test_three_classes_are_judged_too() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 3
    features = np.eye(3)[labels] * 6 + rng.normal(size=(60, 3))
    given = [
        Examples(features, labels, tuple(f"{name}{number}" for number in range(60)))
        for name in ("train", "held out", "synthetic")
    ]
    found = judge_classes(*given, classes=("a", "b", "c"), num_resamples=20, rng=rng)

    assert found is not None
    assert found["synthetic"]["by_class"]["c"]["called"] == {"a": 0, "b": 0, "c": 20}
