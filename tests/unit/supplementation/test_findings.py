"""The curve's numbers, on predictions whose AUCs are known by hand."""

import numpy as np
import pytest

from sitesynth.errors import CohortError
from sitesynth.evaluation.predictions import Predictions
from sitesynth.supplementation.amounts import Amount
from sitesynth.supplementation.findings import describe_curve, describe_nothing


REAL = {"alder": {"dark": 4, "bright": 4}}
LABELS = [False, False, True, True]


def predicted(*by_seed: list[float], labels: list[bool] = LABELS) -> Predictions:
    scores = np.array(by_seed)
    patients = tuple(f"p{number}" for number in range(4))
    return Predictions(patients, ("elm",) * 4, np.array(labels), scores.mean(axis=0), scores)


def described(**points: Predictions) -> list[dict[str, object]]:
    curve = {
        Amount("added", int(name.removeprefix("added_"))): found for name, found in points.items()
    }
    found = describe_curve(curve, real=REAL, num_resamples=200, test_sha256="f", seed=0)
    assert found["positives"] == 2
    return list(found["amounts"])


def test_a_point_is_the_mean_of_its_replicates() -> None:
    """One replicate ranks all four right, one gets one pair of four wrong: 1 and 0.75.

    A resample in 16 draws just the wrong pair, whose mean is that of 1 and 0.
    """
    right, half = [0.1, 0.2, 0.8, 0.9], [0.1, 0.6, 0.5, 0.9]
    (point,) = described(added_0=predicted(right, half))

    assert point["auc"] == {"value": 0.875, "low": 0.5, "high": 1.0}
    assert point["replicates"] == [{"replicate": 0, "auc": 1.0}, {"replicate": 1, "auc": 0.75}]
    assert point["sd"] == pytest.approx(0.176777)
    assert point["difference"] is None


def test_a_difference_is_to_the_first_point_and_paired() -> None:
    """Predictions that rank the patients alike differ by nothing, in every resample."""
    right = [0.1, 0.2, 0.8, 0.9]
    _, same, reverse = described(
        added_0=predicted(right),
        added_50=predicted([0.2, 0.3, 0.6, 0.7]),
        added_100=predicted(right[::-1]),
    )

    assert same["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert reverse["difference"] == {"value": -1.0, "low": -1.0, "high": -1.0}
    assert same["synthetic_scans"] == {"alder": {"dark": 2, "bright": 2}}
    assert same["sd"] is None


def test_patients_of_one_class_are_refused() -> None:
    with pytest.raises(CohortError, match="all 4 external patients are of one class"):
        described(added_0=predicted([0.1, 0.2, 0.3, 0.4], labels=[True] * 4))


def test_a_study_that_did_not_ask_is_told_how() -> None:
    found = describe_nothing()

    assert found["amounts"] == []
    assert "percentages is empty" in found["about"]
