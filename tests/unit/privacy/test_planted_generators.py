"""Flows that were really trained, as long as is right and ten times as long, before the gate."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.planted_generators import (
    FIRST_SEED,
    HONEST_STEPS,
    OVER_FITTED,
    audit_planted,
    draw_patients,
)
from sitesynth.settings import load_settings


ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_flow_trained_ten_times_too_long_is_refused_and_an_honest_one_passes() -> None:
    """The same flow of the same patients, under the rules of params.yaml; one seed of many."""
    settings = load_settings(ROOT / "params.yaml").privacy
    assert OVER_FITTED == 10 * HONEST_STEPS

    for kind, verdict in (("honest", "passed"), ("over-fitted", "refused")):
        audit = audit_planted(kind, settings=settings, seed=FIRST_SEED)
        assert audit["gate"]["verdict"] == verdict, audit["gate"]["reasons"]
    assert any("told from flow" in reason for reason in audit["gate"]["reasons"])


def test_patients_have_mean_0_variance_1_and_a_square_that_no_covariance_shows() -> None:
    """Number 12 is mostly the square of number 0: uncorrelated with it, at 0.9 with its square."""
    drawn = draw_patients(20_000, np.random.default_rng(0))
    first, second = drawn[:, 0], drawn[:, 12]

    assert np.abs(drawn.mean(axis=0)).max() < 0.03
    assert np.abs(drawn.var(axis=0) - 1).max() < 0.1
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert np.corrcoef(first**2, second)[0, 1] == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("kind", ["copies", "noisy copies"])
def test_returned_training_scans_are_refused(kind: str) -> None:
    """As they are, and with noise added."""
    settings = load_settings(ROOT / "params.yaml").privacy
    gate = audit_planted(kind, settings=settings, seed=3)["gate"]

    assert gate["verdict"] == "refused"
    assert any("copies of training scans" in reason for reason in gate["reasons"])
