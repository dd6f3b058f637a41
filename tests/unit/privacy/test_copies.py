"""The copy test, on similarities whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from sitesynth.privacy.chance import p_of_copies
from sitesynth.privacy.copies import (
    Similarities,
    count_by_class,
    count_copied_patients,
    find_copies,
)


def similarities(
    *,
    synthetic: list[list[float]],
    unseen: list[list[float]],
    train: list[list[float]] | None = None,
    held_out: list[list[float]] | None = None,
    patients: tuple[str, ...] = ("a", "b", "c"),
) -> Similarities:
    """Return similarities of three training scans and two held-out ones."""
    return Similarities(
        synthetic_to_train=np.array(synthetic, dtype=float),
        synthetic_to_held_out=np.array(unseen, dtype=float),
        train_to_train=np.array(
            train or [[1.0, 0.4, 0.1], [0.4, 1.0, 0.2], [0.1, 0.2, 1.0]], dtype=float
        ),
        held_out_to_train=np.array(held_out or [[0.3, 0.1, 0.1], [0.1, 0.2, 0.5]], dtype=float),
        train_patients=patients,
        held_out_patients=("h", "i"),
    )


def test_the_probability_is_that_of_drawing_synthetic_scans_first() -> None:
    """2 copies of 3 synthetic scans among 4 strangers: 3/7 of the tops, then 2/6."""
    assert p_of_copies(2, 3, 4) == pytest.approx(3 / 7 * 2 / 6)
    assert p_of_copies(0, 3, 4) == 1


def test_a_copy_is_nearer_than_any_two_patients_are() -> None:
    """The most alike strangers are at 0.5, so 0.6 is a copy and 0.5 is not."""
    found = find_copies(
        similarities(synthetic=[[0.6, 0, 0], [0.5, 0, 0]], unseen=[[0.1, 0.1]] * 2), level=0.01
    )

    assert found.threshold == 0.5
    assert found.num_copies == 1
    assert found.rate == 0.5


def test_likeness_to_unseen_patients_is_no_copying() -> None:
    """A generator with one common look is as near to patients that it never saw."""
    found = find_copies(
        similarities(synthetic=[[0.8, 0, 0], [0.8, 0, 0]], unseen=[[0.9, 0.1], [0.1, 0.2]]),
        level=0.01,
    )

    assert found.num_copies == 0


def test_patients_who_match_each_other_are_one_draw() -> None:
    """Patients a and b match each other; c matches b; two held-out scans: 2 + 2 strangers."""
    found = find_copies(similarities(synthetic=[[0, 0, 0]], unseen=[[0, 0]]), level=0.01)

    assert found.num_strangers == 4


def test_training_scans_are_no_strangers_where_the_view_was_learned_from_them() -> None:
    """Held-out patients reach 0.5, training scans 0.9 among themselves: two strangers, from 0.5."""
    near = [[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]]
    alike = similarities(synthetic=[[0.6, 0, 0]], unseen=[[0, 0]], train=near)
    fixed, learned = (
        find_copies(replace(alike, are_members_strangers=is_fixed), level=0.01)
        for is_fixed in (True, False)
    )

    assert (fixed.threshold, fixed.num_strangers, fixed.num_copies) == (0.9, 4, 0)
    assert (learned.threshold, learned.num_strangers, learned.num_copies) == (0.5, 2, 1)


def test_two_scans_of_one_patient_are_no_strangers() -> None:
    """They may well be alike: 0.95 between a patient's own scans is no measure of strangers."""
    twins = [[1.0, 0.95, 0.1], [0.95, 1.0, 0.2], [0.1, 0.2, 1.0]]
    found = find_copies(
        similarities(
            synthetic=[[0.6, 0, 0]], unseen=[[0, 0]], train=twins, patients=("a", "a", "c")
        ),
        level=0.01,
    )

    assert found.threshold == 0.5


def test_what_chance_allows_is_the_most_that_the_test_accepts() -> None:
    synthetic = [[0.0, 0.0, 0.0]] * 40
    found = find_copies(similarities(synthetic=synthetic, unseen=[[0, 0]] * 40), level=0.01)

    assert p_of_copies(found.num_allowed, 40, found.num_strangers) >= 0.01
    assert p_of_copies(found.num_allowed + 1, 40, found.num_strangers) < 0.01


def test_innocent_scans_are_called_copiers_as_often_as_stated() -> None:
    """Best matches of strangers and of synthetic scans drawn from one distribution."""
    rng = np.random.default_rng(2)
    level, refused = 0.1, 0
    for _ in range(300):
        strangers, synthetic = rng.random(20), rng.random(50)
        num_copies = int((synthetic > strangers.max()).sum())
        refused += p_of_copies(num_copies, 50, 20) < level
    assert refused / 300 < level + 2 * np.sqrt(level * (1 - level) / 300)


def test_copies_are_counted_by_class() -> None:
    """The threshold is 0.5: one of two astrocytomas is a copy, the glioblastoma is not."""
    alike = similarities(synthetic=[[0.6, 0, 0], [0.4, 0, 0], [0, 0, 0]], unseen=[[0, 0]] * 3)
    found = find_copies(alike, level=0.01)
    told = count_by_class(alike, found, classes=["astro", "astro", "gbm"])

    assert found.num_strangers == 4
    assert told["astro"] == {
        "num_synthetic": 2,
        "num_copies": 1,
        "p_value": pytest.approx(2 / 6, abs=1e-6),
    }
    assert told["gbm"]["num_copies"] == 0
    assert told["gbm"]["p_value"] == 1


def test_ten_copies_of_one_patient_are_one_patient_copied() -> None:
    """Patient a has two scans, the second is copied ten times; held-out patients reach 0.2."""
    alike = similarities(
        synthetic=[[0.1, 0.9, 0.1]] * 10, unseen=[[0.2, 0.1]] * 10, patients=("a", "a", "c")
    )
    told = count_copied_patients(alike)

    assert (told["num_patients"], told["num_copied"]) == (2, 1)
    assert told["expected_rate"] == pytest.approx(1 / 3, abs=1e-6)
    assert told["p_value"] == pytest.approx(2 / 4)
