"""Patients compared with themselves, in training and not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.remembered import counterfactual, random_splits
from sitesynth.images import ImageSet


NUM_SPLITS, NUM_PATIENTS = 6, 30


def draw(seed: int, *, remembered: float) -> tuple[np.ndarray, np.ndarray]:
    """Return similarities and who was in training; some patients resemble everybody's scans."""
    rng = np.random.default_rng(seed)
    trained = rng.random((NUM_SPLITS, NUM_PATIENTS)) < 0.7
    best = 0.2 * rng.standard_normal(NUM_PATIENTS) + 0.05 * rng.standard_normal((NUM_SPLITS, 1))
    return best + 0.05 * rng.standard_normal(trained.shape) + remembered * trained, trained


def test_what_is_remembered_is_measured() -> None:
    best, trained = draw(0, remembered=0.1)
    difference, p_value, spread = counterfactual(best, trained, rng=np.random.default_rng(0))

    assert difference == pytest.approx(0.1, abs=0.02)
    assert p_value < 0.001
    assert spread == pytest.approx(0.2, abs=0.06)


def test_chance_is_found_as_often_as_it_should_be() -> None:
    p_values = []
    for seed in range(60):
        best, trained = draw(seed, remembered=0.0)
        p_values.append(counterfactual(best, trained, rng=np.random.default_rng(0))[1])

    assert np.mean(np.array(p_values) < 0.1) < 0.25
    assert 0.35 < np.mean(p_values) < 0.65


def test_a_patient_is_never_divided() -> None:
    table = pd.DataFrame(
        {
            "patient_id": [f"p{number // 2}" for number in range(40)],
            "split": ["train"] * 28 + ["validation"] * 12,
            "idh": ["mutant" if number // 2 % 4 else "wildtype" for number in range(40)],
            # Of 15 mutants, ten lack the sequence: p1, p2, p5, ... p18.
            "has_t1": ["false" if number // 2 % 4 in (1, 2) else "true" for number in range(40)],
        }
    )
    scans = ImageSet(("t1",), (4, 4), table, tuple(Path(str(number)) for number in range(40)))
    splits = [s.table for s in random_splits(scans, "idh", count=3, seed=1)]

    for split in splits:
        assert split.groupby("patient_id")["split"].nunique().max() == 1
        held_out = split[split["split"] == "validation"]
        # Of 5 wild types and 15 mutants, 0.3 each: 1.5 and 4.5, rounded as a study's splits are.
        assert held_out.groupby("idh")["patient_id"].nunique().to_dict() == {
            "mutant": 5,
            "wildtype": 2,
        }
        lacking = held_out[held_out["has_t1"] == "false"]["patient_id"].nunique()
        assert lacking in {3, 4}
    assert not splits[0].equals(splits[1])
