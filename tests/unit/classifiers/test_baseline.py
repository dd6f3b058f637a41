"""A baseline's arithmetic, its facts and its file, by hand."""

from math import exp, log
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sitesynth.classifiers.baseline import (
    Baseline,
    Logistic,
    Term,
    read_baseline,
    write_baseline,
)
from sitesynth.classifiers.predictors import facts_of
from sitesynth.errors import MissingInputError, SettingsError
from sitesynth.images import ImageSet, read_images, write_index, write_voxels


AGE = Term(fact="age", word=None, centre=50.0, spread=10.0, weights=(-2.0,))
WOMAN = Term(fact="sex", word="F", centre=0.5, spread=0.5, weights=(0.7,))


def chance(odds: float) -> float:
    return 1 / (1 + exp(-odds))


def test_log_odds_are_a_sum_over_facts() -> None:
    """Age 45 is half a spread below: 0.3 + 1.0; a woman adds 0.7, a man takes it away."""
    facts = pd.DataFrame({"age": [45.0, 45.0], "sex": ["F", "M"]})
    found = Logistic(intercepts=(0.3,), terms=(AGE, WOMAN)).predict(facts)

    assert found[:, 0] == pytest.approx([chance(2.0), chance(0.6)])


def test_what_is_not_known_adds_nothing() -> None:
    """An unknown cell is as the mean; a column that is not there is unknown of everyone."""
    facts = pd.DataFrame({"age": [np.nan, 60.0], "height": [1.0, 2.0]})
    found = Logistic(intercepts=(0.3,), terms=(AGE, WOMAN)).predict(facts)

    assert found[:, 0] == pytest.approx([chance(0.3), chance(0.3 - 2.0)])


def test_of_several_classes_each_has_a_score() -> None:
    """Odds of 1 : 2 : 3; ten years more double the second's."""
    age = Term(fact="age", word=None, centre=50.0, spread=10.0, weights=(0.0, log(2), 0.0))
    found = Logistic(intercepts=(0.0, log(2), log(3)), terms=(age,)).predict(
        pd.DataFrame({"age": [50.0, 60.0]})
    )

    assert found == pytest.approx(np.array([[1 / 6, 2 / 6, 3 / 6], [1 / 8, 4 / 8, 3 / 8]]))


def test_a_baseline_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    baseline = Baseline(
        strategy="baseline-covariates",
        label="idh",
        classes=("wildtype", "mutant"),
        positive="mutant",
        threshold=0.4,
        covariates=("age", "sex"),
        strength=0.1,
        logistic=Logistic(intercepts=(0.3,), terms=(AGE, WOMAN)),
    )
    write_baseline(tmp_path, baseline)

    assert read_baseline(tmp_path) == baseline
    with pytest.raises(MissingInputError, match=r"holds no baseline \(baseline.json\)"):
        read_baseline(tmp_path / "elsewhere")


@pytest.fixture
def scan(tmp_path: Path) -> ImageSet:
    """Return a scan of a head of 0.2 with a tumour of 0.6 that is a quarter of it, without t2."""
    voxels = np.zeros((3, 8, 8), dtype=np.float32)
    voxels[0, :4, :4] = 0.2
    voxels[0, :2, :2] = 0.6
    voxels[2, :2, :2] = 1.0
    write_voxels(tmp_path, "p", voxels)
    row = {"scan_id": "p", "patient_id": "p", "site": "elm", "split": "test", "age": "", "sex": "F"}
    row |= {"has_t1": "true", "has_t2": "false", "has_mask": "true"}
    write_index(tmp_path, channels=["t1", "t2", "mask"], grid=[8, 8], rows=[row], about={})
    return read_images(tmp_path)


def test_intensities_are_those_inside_the_head_and_inside_the_mask(scan: ImageSet) -> None:
    """Mean 0.3 and variance 3/4 0.1^2 + 1/4 0.3^2 in the head; 0.6 alone in the mask."""
    (found,) = facts_of(scan, baseline="baseline-intensity", covariates=()).to_dict("records")

    assert found == pytest.approx(
        {
            "t1 mean in head": 0.3,
            "t1 spread in head": 0.03**0.5,
            "t1 percentile 5 in head": 0.2,
            "t1 percentile 50 in head": 0.2,
            "t1 percentile 95 in head": 0.6,
            "t1 mean in mask": 0.6,
            "t1 spread in mask": 0.0,
            "t1 percentile 5 in mask": 0.6,
            "t1 percentile 50 in mask": 0.6,
            "t1 percentile 95 in mask": 0.6,
        },
        abs=1e-3,
    )


def test_unknown_covariates_are_nan_whether_numbers_or_words(scan: ImageSet) -> None:
    found = facts_of(scan, baseline="baseline-covariates", covariates=("age", "sex"))

    assert np.isnan(found["age"][0])
    assert found["sex"][0] == "F"


def test_another_baseline_is_refused(scan: ImageSet) -> None:
    with pytest.raises(SettingsError, match="there is no baseline 'baseline-name'"):
        facts_of(scan, baseline="baseline-name", covariates=())
