"""Means over findings: what one finding, equal findings and unrelated findings must give."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sitesynth.errors import CohortError
from sitesynth.evaluation.comparisons import compare_strategies
from sitesynth.evaluation.intervals import auc_interval
from sitesynth.evaluation.metrics import auc
from sitesynth.evaluation.paired import auc_difference
from sitesynth.evaluation.predictions import FindingPredictions, read_predictions
from sitesynth.evaluation.side_by_side import (
    mean_auc,
    mean_auc_difference,
    mean_auc_interval,
    summarize_findings,
)


def cohort(seed: int, *, patients: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, and two classifiers' scores, of two findings."""
    rng = np.random.default_rng(seed)
    labels = rng.random((patients, 2)) < (0.4, 0.25)
    noise = rng.normal(size=(2, patients, 2))
    first, second = 1 / (1 + np.exp(-(labels * 1.2 + noise)))
    return labels, first, second


def predicted(labels: np.ndarray, scores: np.ndarray) -> FindingPredictions:
    names = tuple(f"p{number}" for number in range(len(labels)))
    return FindingPredictions(
        classes=("edema", "mass"),
        patients=names,
        sites=("elm",) * len(labels),
        labels=labels,
        probabilities=scores,
        by_seed=np.stack([scores, scores]),
    )


def test_one_finding_has_delongs_interval_and_difference() -> None:
    labels, first, second = (part[:, :1] for part in cohort(1))
    found = mean_auc_difference(labels, first, second)
    known = auc_difference(labels[:, 0], first[:, 0], second[:, 0])

    assert mean_auc(labels, first) == auc(labels[:, 0], first[:, 0])
    assert mean_auc_interval(labels, first) == pytest.approx(
        auc_interval(labels[:, 0], first[:, 0])
    )
    assert found is not None
    assert known is not None
    assert found.standard_error == pytest.approx(known.standard_error)
    assert found.p == pytest.approx(known.p)


def test_a_finding_told_twice_is_no_more_evidence() -> None:
    """Perfectly correlated findings: a mean that took them for independent would be too narrow."""
    labels, first, _ = (part[:, :1] for part in cohort(2))
    twice = np.hstack([labels, labels]), np.hstack([first, first])

    assert mean_auc_interval(*twice) == pytest.approx(mean_auc_interval(labels, first))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The true AUC is that of a shift of 1.2: Phi(1.2 / sqrt 2) = 0.8019 in either finding."""
    held = []
    for seed in range(400):
        labels, first, _ = cohort(seed)
        interval = mean_auc_interval(labels, first)
        assert interval is not None
        held.append(interval.low <= 0.8019 <= interval.high)

    # 0.95 less three standard errors of 400 cohorts.
    assert np.mean(held) > 0.917


def test_nobody_with_a_finding_leaves_the_mean_undefined() -> None:
    labels, first, second = cohort(3)
    labels[:, 1] = False

    assert mean_auc(labels, first) is None
    assert mean_auc_difference(labels, first, second) is None
    told = summarize_findings(
        predicted(labels, first),
        np.ones(len(labels), dtype=bool),
        weights=np.ones((100, len(labels))),
        rng=np.random.default_rng(0),
    )
    assert told["auc"] == {"value": None, "low": None, "high": None}
    assert told["classes"]["edema"]["auc"]["value"] is not None


def test_figures_are_means_over_findings_and_exact_asks_for_all() -> None:
    """By hand: four patients; edema is called rightly of 4, mass of 2, both of 2."""
    labels = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.8], [0.8, 0.7], [0.2, 0.3], [0.1, 0.2]])
    told = summarize_findings(
        predicted(labels, scores),
        np.ones(4, dtype=bool),
        weights=np.ones((100, 4)),
        rng=np.random.default_rng(0),
    )

    assert told["counts"] == {"edema": 2, "mass": 2}
    assert told["accuracy"]["value"] == pytest.approx(0.75)
    assert told["exact"]["value"] == pytest.approx(0.5)
    assert told["auc"]["value"] == pytest.approx((1 + 0.75) / 2)
    assert told["brier"]["value"] == pytest.approx(
        np.mean([told["classes"][name]["brier"]["value"] for name in ("edema", "mass")])
    )


def test_p_values_are_adjusted_over_the_findings() -> None:
    labels, first, second = cohort(4)
    second = np.random.default_rng(9).permutation(second)
    found = compare_strategies(
        {"centralized": predicted(labels, first), "synthetic": predicted(labels, second)},
        {"centralized": None, "synthetic": None},
        task="findings",
        positive=None,
        sites=["elm"],
        reference="centralized",
        margin=0.05,
        num_resamples=200,
        test_sha256="0",
        seed=1,
    )
    (pair,) = found["comparisons"]
    plain = sorted(told["delong_p"] for told in pair["classes"].values())
    adjusted = sorted(told["delong_p_holm"] for told in pair["classes"].values())

    assert plain[0] < 0.5
    assert adjusted == pytest.approx([2 * plain[0], max(2 * plain[0], plain[1])])
    assert pair["n"] == len(labels)
    assert "side_by_side" in found


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


ROW = {
    "patient_id": "p1", "scan_id": "s1", "site": "elm", "label_edema": 1, "label_mass": 0,
    "probability_edema": 0.9, "probability_mass": 0.8, "seed_0_edema": 0.9, "seed_0_mass": 0.8,
}  # fmt: skip


def test_probabilities_of_findings_need_not_add_up(tmp_path: Path) -> None:
    other = {**ROW, "scan_id": "s2", "probability_edema": 0.5}
    found = read_predictions(write(tmp_path / "predictions.csv", [ROW, other]))

    assert isinstance(found, FindingPredictions)
    assert found.labels.tolist() == [[True, False]]
    assert found.probabilities.tolist() == [[0.7, 0.8]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_mass": ""}, "must be 0 or 1 for each of"),
        ({"probability_mass": 1.5}, r"a number in \[0, 1\]"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(CohortError, match=message):
        read_predictions(write(tmp_path / "predictions.csv", [{**ROW, **changed}]))


def test_ends_enclose_their_value_to_the_last_bit() -> None:
    """Where all are called wrongly, every upper end of the ECE may be its value."""
    for seed in range(40):
        labels, first, _ = cohort(seed, patients=12)
        told = summarize_findings(
            predicted(labels, 1 - first),
            np.ones(12, dtype=bool),
            weights=np.ones((100, 12)),
            rng=np.random.default_rng(0),
        )
        for key in ("ece", "brier", "accuracy"):
            if told[key]["low"] is not None:
                assert told[key]["low"] <= told[key]["value"] <= told[key]["high"]
