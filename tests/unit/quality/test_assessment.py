"""The audit of a generator whose faults are known."""

import json
from typing import Any

import numpy as np
import pytest

from sitesynth.described import Described
from sitesynth.features import Extractor
from sitesynth.quality.appearance import AppearanceScores
from sitesynth.quality.assessment import assess_quality
from sitesynth.settings import QualitySettings


EXTRACTOR = Extractor(("t1",), has_mask=False, dims=2)
SETTINGS = QualitySettings(neighbours=5, num_pairs=20, num_resamples=100)


def describe(count: int, rng: np.random.Generator, *, shift: float = 0.0) -> Described:
    """Return unrelated scans; a shift moves their first feature, the mean of t1."""
    features = rng.standard_normal((count, 9))
    features[:, 0] += shift
    return Described(
        features,
        rng.uniform(0.2, 1, (count, 1, 16, 16)),
        np.ones((count, 1), dtype=bool),
        tuple(str(number) for number in range(count)),
    )


def look_at(scans: Described) -> AppearanceScores:
    """Score the thumbnails, which are whole scans here."""
    scores = AppearanceScores(scans.presence, num_sequences=1)
    for number, voxels in enumerate(scans.thumbnails):
        scores.observe(number, voxels)
    return scores


def assess(shift: float) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    train, held_out = describe(40, rng), describe(12, rng)
    synthetic = describe(40, rng, shift=shift)
    return assess_quality(
        train,
        held_out,
        synthetic,
        appearance={
            name: look_at(scans)
            for name, scans in (("train", train), ("held_out", held_out), ("synthetic", synthetic))
        },
        extractor=EXTRACTOR,
        settings=SETTINGS,
        rng=rng,
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return assess(0.0)


def test_a_perfect_generator_is_near_the_floor(report: dict[str, Any]) -> None:
    """Its KID interval and the floor's overlap, and so do all that is counted in shares."""
    synthetic, real = report["synthetic"], report["real"]

    assert synthetic["kid"]["low"] < real["kid"]["high"]
    assert real["kid"]["low"] < synthetic["kid"]["high"]
    for name in ("precision", "recall", "coverage"):
        assert abs(synthetic[name] - real[name]) < 0.4


def test_a_planted_shift_raises_the_distance_and_is_named() -> None:
    """Three standard deviations of the mean intensity."""
    report = assess(3.0)

    assert report["synthetic"]["kid"]["low"] > report["real"]["kid"]["high"]
    assert report["largest_shifts"][0]["feature"] == "t1 mean"
    assert report["largest_shifts"][0]["shift"] == pytest.approx(3, abs=0.7)


def test_every_set_of_scans_has_its_scores_without_a_reference(report: dict[str, Any]) -> None:
    """For synthetic and held-out real ones, as the contract says, and for the floor."""
    assert report["not_measured"] == []
    for metric in ("brisque", "piqe"):
        assert set(report["held_out"][metric]) >= {"value", "low", "high", "n", "quartiles"}
        for candidate in ("synthetic", "real"):
            found = report[candidate][metric]
            assert found["distance"]["value"] >= 0
            assert found["difference"]["value"] == pytest.approx(
                found["value"] - report["held_out"][metric]["value"], abs=1e-3
            )


def test_the_regression_behind_brisque_is_named(report: dict[str, Any]) -> None:
    """Several circulate, and their scores do not compare."""
    assert report["brisque_model"]["name"] == "LIVE release of 2011"
    assert len(report["brisque_model"]["digest"]) == 64


def test_the_extractor_is_named_with_its_digest(report: dict[str, Any]) -> None:
    assert report["extractor"] == {"name": "radiomics", "digest": EXTRACTOR.digest}


def test_the_report_is_json(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report
