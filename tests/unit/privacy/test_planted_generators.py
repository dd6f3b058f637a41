"""Flows that were really trained, as long as is right and ten times as long, before the gate."""

from pathlib import Path

import pytest

from benchmarks.planted_generators import HONEST_STEPS, OVER_FITTED, audit_planted
from sitesynth.settings import load_settings


ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_flow_trained_ten_times_too_long_is_refused_and_an_honest_one_passes() -> None:
    """The same flow of the same patients, under the rules of params.yaml."""
    settings = load_settings(ROOT / "params.yaml").privacy
    assert OVER_FITTED == 10 * HONEST_STEPS

    for kind, verdict in (("honest", "passed"), ("over-fitted", "refused")):
        audit = audit_planted(kind, settings=settings, seed=3)
        assert audit["gate"]["verdict"] == verdict, audit["gate"]["reasons"]
    assert any("told from flow" in reason for reason in audit["gate"]["reasons"])


@pytest.mark.parametrize("kind", ["copies", "noisy copies"])
def test_returned_training_scans_are_refused(kind: str) -> None:
    """As they are, and with noise added."""
    settings = load_settings(ROOT / "params.yaml").privacy
    gate = audit_planted(kind, settings=settings, seed=3)["gate"]

    assert gate["verdict"] == "refused"
    assert any("copies of training scans" in reason for reason in gate["reasons"])
