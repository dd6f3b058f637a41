"""Intervals of figures that a resample would break, by leaving one patient out at a time.

A bootstrap repeats scans. A repeated scan is its own nearest neighbour, at distance 0, so that the
neighbourhoods behind precision, recall, density and coverage shrink, and all four with them; the
similarity of a scan to itself is 1. Subsamples without replacement repeat nothing, but are smaller,
and these figures depend on the numbers of scans; how fast is not known, and the interval would
have to be scaled by it (Politis and Romano, 1994). Leaving out one patient changes the numbers
least of all. The variance is that of the jackknife, summed over both sets, which are independent:

    (n - 1) / n  sum over patients of (figure without the patient - mean of those)^2

with Student's quantile of as many degrees of freedom as the smaller set has patients, less one.
The variance is not too small in expectation (Efron and Stein, 1981), and for neighbourhoods too
large. Of Gaussians in 2 to 40 dimensions, 10 to 40 scans against 40 to 58, from equal sets to far
apart ones, intervals held the mean figure in 89 to 100 % of 400 draws, and were as wide as 95 % of
draws are up to twice as wide; wider only for coverage near 1, which hardly varies. They are about
what the figure is at these numbers of scans, not about its bias. Nothing is drawn.

Axes: n, m = scans, p = pairs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from sitesynth.quality.fidelity import (
    CONFIDENCE,
    Manifolds,
    PatientInterval,
    compare_neighbourhoods,
    distances_between,
    radii_of,
)


__all__ = ["jackknife_neighbourhoods", "jackknife_similarity"]

Intervals = dict[str, dict[str, float] | None]


def jackknife_neighbourhoods(
    reference: Float[np.ndarray, "n d"],
    candidate: Float[np.ndarray, "m d"],
    *,
    patients: tuple[Sequence[str], Sequence[str]],
    neighbours: int,
) -> Intervals:
    """Return 95 % intervals of what `compare_manifolds` finds, by name, as the contract's `V`.

    Args:
        reference: Standardized features of real scans.
        candidate: Those of the scans that are judged.
        patients: Whose the reference and the candidate scans are.
        neighbours: As for `compare_manifolds`.

    Returns:
        By name; None where a set is of one patient.
    """
    names = ("precision", "recall", "density", "coverage")
    owners = tuple(np.unique(np.asarray(of), return_inverse=True)[1] for of in patients)
    num_reference, num_candidate = (int(of.max()) + 1 for of in owners)
    if min(num_reference, num_candidate) < 2:  # noqa: PLR2004
        return dict.fromkeys(names)
    between = distances_between(reference, candidate)
    within = [distances_between(of_one_set, of_one_set) for of_one_set in (reference, candidate)]
    radii = [radii_of(distances, neighbours) for distances in within]
    whole = _numbers(compare_neighbourhoods(between, *radii, neighbours=neighbours))
    without_reference = [
        _numbers(compare_neighbourhoods(between[kept], without, radii[1], neighbours=neighbours))
        for kept, without in _leave_out(within[0], owners[0], neighbours)
    ]
    without_candidate = [
        _numbers(compare_neighbourhoods(between[:, kept], radii[0], without, neighbours=neighbours))
        for kept, without in _leave_out(within[1], owners[1], neighbours)
    ]
    error = np.sqrt(_variance(without_reference) + _variance(without_candidate))
    quantile = _quantile(min(num_reference, num_candidate))
    # Whose share it is: of candidates that lie well, or of reference scans that are reached.
    units = {"precision": num_candidate, "recall": num_reference, "coverage": num_reference}
    return {
        name: (
            _share_interval(value, spread, units[name], quantile)
            if name in units
            else PatientInterval(
                value, max(0.0, value - quantile * spread), value + quantile * spread
            )
        ).as_json()
        for name, value, spread in zip(names, whole, error.tolist(), strict=True)
    }


def jackknife_similarity(
    similarities: Float[np.ndarray, " p"],
    pairs: Sequence[tuple[int, int]],
    patients: Sequence[str],
) -> dict[str, float] | None:
    """Return the 95 % interval of a mean over pairs of scans, as the contract's `V`.

    A patient is left out with all their pairs. That few pairs were drawn counts too, about twice.

    Args:
        similarities: Of each pair; NaN where a pair has none.
        pairs: Which scans they are of.
        patients: Whose each scan is.

    Returns:
        None if, without some patient, no pair is left.
    """
    known = np.isfinite(similarities)
    if not known.any():
        return None
    values = similarities[known]
    names = np.asarray(patients)
    ends = names[np.array(pairs)[known]]
    left = [values[(ends != patient).all(axis=1)] for patient in np.unique(names)]
    if any(len(rest) == 0 for rest in left):
        return None
    mean = float(values.mean())
    reach = _quantile(len(left)) * float(
        np.sqrt(_variance([[float(rest.mean())] for rest in left])[0])
    )
    return PatientInterval(mean, max(0.0, mean - reach), min(1.0, mean + reach)).as_json()


def _leave_out(
    distances: np.ndarray, owners: np.ndarray, neighbours: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for each patient of a set: which scans are others', and their radii without theirs."""
    most = int(np.bincount(owners).max())
    # Without a patient's scans, the k-th neighbour is among the first k + most of before.
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : neighbours + most + 1]
    ordered = np.take_along_axis(distances, nearest, axis=1)
    for patient in range(int(owners.max()) + 1):
        kept = owners != patient
        is_there = kept[nearest[kept]]
        place = min(neighbours, int(kept.sum()) - 1)
        column = (is_there.cumsum(axis=1) == place + 1).argmax(axis=1)
        yield kept, np.take_along_axis(ordered[kept], column[:, None], axis=1)[:, 0]


def _numbers(found: Manifolds) -> list[float]:
    return [found.precision, found.recall, found.density, found.coverage]


def _variance(left_out: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the jackknife's variances of one set's part in figures, told by patient."""
    values = np.array(left_out)
    spread: np.ndarray = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    variance: np.ndarray = spread * (len(values) - 1) / len(values)
    return variance


def _quantile(num_patients: int) -> float:
    """Return how many errors an interval reaches to either side."""
    return float(stdtrit(num_patients - 1, (1 + CONFIDENCE) / 2))


def _share_interval(
    share: float, error: float, num_patients: int, quantile: float
) -> PatientInterval:
    """Return Wilson's interval of as many patients as would make this error.

    That is their effective number, at most the true one (Korn and Graubard, 1998), with Wilson's
    interval in the place of Clopper and Pearson's: at a share of 1, where leaving out changes
    nothing, the interval still has the width that so many patients leave it. The share in the
    effective number is drawn to the middle by two patients on either side, so that a share of 1 has
    a variance.
    """
    drawn_in = (num_patients * share + 2) / (num_patients + 4)
    size = float(num_patients)
    if error > 0.0:
        size = min(size, drawn_in * (1 - drawn_in) / error**2)
    square = quantile**2
    middle = (share + square / (2 * size)) / (1 + square / size)
    half = np.sqrt(share * (1 - share) / size + square / (4 * size**2)) / (1 + square / size)
    reach = quantile * float(half)
    return PatientInterval(
        share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))
    )
