"""Intervals by leaving patients out, on Gaussians of which one can draw as many as one likes."""

import numpy as np
import pytest

from sitesynth.quality.fidelity import compare_manifolds
from sitesynth.quality.jackknife import jackknife_neighbourhoods, jackknife_similarity


NAMES = ("precision", "recall", "density", "coverage")


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("shift", [0.3, 0.7])
def test_intervals_hold_what_the_figure_is_in_the_mean(shift: float) -> None:
    """In nine of ten of 150 draws at the least: 95 % are promised, and 0.9 is three errors less.

    Nor are they everything: in the mean less than twice as wide as 95 % of draws are, but for
    coverage, which hardly varies here.
    """
    rng = np.random.default_rng(2)
    values, ends = [], []
    for _ in range(150):
        reference = rng.standard_normal((14, 10))
        candidate = rng.standard_normal((40, 10)) + shift
        found = jackknife_neighbourhoods(
            reference, candidate, patients=(names(14), names(40)), neighbours=5
        )
        told = [found[name] for name in NAMES]
        values.append([v["value"] for v in told if v is not None])
        ends.append([[v["low"], v["high"]] for v in told if v is not None])
    low, high = np.moveaxis(np.array(ends), -1, 0)
    truth = np.mean(values, axis=0)
    middle = np.ptp(np.quantile(values, [0.025, 0.975], axis=0), axis=0)

    assert (((low <= truth) & (truth <= high)).mean(axis=0) >= 0.9).all()
    assert ((high - low).mean(axis=0) < 2 * middle)[:3].all()


def test_the_values_are_those_without_intervals() -> None:
    rng = np.random.default_rng(5)
    reference, candidate = (rng.standard_normal((n, 4)) for n in (12, 20))
    found = jackknife_neighbourhoods(
        reference, candidate, patients=(names(12), names(20)), neighbours=5
    )
    plain = compare_manifolds(reference, candidate, neighbours=5).as_json()

    assert {name: v and v["value"] for name, v in found.items()} == plain


def test_a_patient_is_left_out_with_all_their_scans() -> None:
    """By the definition, from sets without them; patients have one to four scans.

    The smaller set is of eight, and Student's quantile of 7 degrees of freedom 2.3646.
    """
    rng = np.random.default_rng(5)
    reference, candidate = (rng.standard_normal((n, 3)) for n in (20, 16))
    owners = [str(number) for number in (*[0] * 4, *[1] * 3, *[2] * 2, *range(3, 14))]
    others = [str(number // 2) for number in range(16)]
    found = jackknife_neighbourhoods(reference, candidate, patients=(owners, others), neighbours=3)[
        "density"
    ]
    left = [
        [
            compare_manifolds(reference[np.array(owners) != p], candidate, neighbours=3).density
            for p in sorted(set(owners))
        ],
        [
            compare_manifolds(reference, candidate[np.array(others) != p], neighbours=3).density
            for p in sorted(set(others))
        ],
    ]
    variance = sum(float(np.var(values)) * (len(values) - 1) for values in left)

    assert found is not None
    assert (found["high"] - found["value"]) == pytest.approx(2.3646 * variance**0.5, rel=1e-3)


def test_a_share_of_one_leaves_what_so_few_patients_can_say() -> None:
    """Ten scans in one place are all reached, whoever is left out.

    Wilson's lower end of 10 of 10 is 10 / (10 + t^2), with t = 2.2622 of 9 degrees of freedom.
    """
    reference = np.random.default_rng(0).standard_normal((10, 2)) * 1e-3
    found = jackknife_neighbourhoods(
        reference, reference[:, ::-1].copy(), patients=(names(10), names(10)), neighbours=9
    )["precision"]

    assert found == {
        "value": 1.0,
        "low": pytest.approx(10 / (10 + 2.2622**2), abs=1e-4),
        "high": 1.0,
    }


def test_one_patient_has_no_interval() -> None:
    points = np.eye(3)
    found = jackknife_neighbourhoods(points, points, patients=(["a"] * 3, names(3)), neighbours=1)

    assert found == dict.fromkeys(NAMES)


def test_a_mean_over_pairs_has_the_interval_of_its_patients() -> None:
    """Patients differ by z_i, pairs have (z_i + z_j) / 2: all pairs' mean is that of the z.

    So the error is theirs, sd / sqrt(n), but for leaving out one of 40; Student's quantile of 39
    degrees of freedom is 2.0227.
    """
    rng = np.random.default_rng(1)
    levels = 0.5 + 0.1 * rng.standard_normal(40)
    pairs = [(a, b) for a in range(40) for b in range(a)]
    similarities = np.array([(levels[a] + levels[b]) / 2 for a, b in pairs])
    found = jackknife_similarity(similarities, pairs, names(40))

    assert found is not None
    assert found["value"] == pytest.approx(levels.mean(), rel=1e-5)
    error = levels.std(ddof=1) / 40**0.5
    assert (found["high"] - found["low"]) / (2 * 2.0227) == pytest.approx(error, rel=0.03)


def test_pairs_that_share_nothing_do_not_count() -> None:
    """Nor is there an interval if leaving out a patient leaves no pair."""
    similarities = np.array([0.4, np.nan, 0.6, 0.5])
    pairs = [(0, 1), (0, 2), (1, 2), (2, 3)]
    found = jackknife_similarity(similarities, pairs, names(4))

    assert found is not None
    assert found["value"] == 0.5
    assert jackknife_similarity(similarities[:1], pairs[:1], names(2)) is None
    assert jackknife_similarity(np.array([np.nan]), pairs[:1], names(2)) is None
