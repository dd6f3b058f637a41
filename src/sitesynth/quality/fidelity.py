r"""Distances between two sets of scans, from their standardized features.

KID (Binkowski et al., 2018): the squared maximum mean discrepancy under k(a, b) = (a.b / d + 1)^3,

    mean of k(x, x') over pairs in X + mean of k(y, y') over pairs in Y - 2 mean of k(x, y),

unbiased at any number of scans, and so negative about as often as positive for equal sets. It is
the headline. FID (Heusel et al., 2017): the squared Frechet distance between Gaussians of the sets'
moments. At the number of scans that a hospital has it is mostly bias: it says something only beside
another FID of the same numbers of scans. Both are here on features of this project and compare
with no published value.

The unit is the patient: pairs of scans of one patient are left out, and intervals resample
patients. FID's bootstrap is centred on its value, because a resample repeats scans and is biased
twice; the interval is about the spread between patients, and not about the bias.

Missing features are 0 here, which is their mean. Two sets are only comparable if as many scans lack
them in both; see `Extractor.hide`.

Axes: n, m = scans, d = features, r = resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from jaxtyping import Bool, Float


__all__ = [
    "CONFIDENCE",
    "DISTANCES",
    "Manifolds",
    "PatientInterval",
    "compare_manifolds",
    "compare_neighbourhoods",
    "distances_between",
    "draw_weights",
    "fid",
    "fid_with_interval",
    "kid",
    "kid_with_interval",
    "measure_distances",
    "measure_fidelity",
    "radii_of",
]

CONFIDENCE: Final = 0.95

Features = Float[np.ndarray, "n d"]
Others = Float[np.ndarray, "m d"]


@final
@dataclass(frozen=True, slots=True)
class PatientInterval:
    """A value with its 95 % interval by resampling patients."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Return the contract's `V`, in six digits: what follows differs between machines."""
        return {
            "value": _rounded(self.value),
            "low": _rounded(self.low),
            "high": _rounded(self.high),
        }


def kid(x: Features, y: Others, *, patients_x: Sequence[str], patients_y: Sequence[str]) -> float:
    """Return the unbiased kernel distance of two sets of standardized features."""
    terms = _KernelTerms.of(x, y, patients_x, patients_y)
    return float(terms.distance(np.ones((1, len(x))), np.ones((1, len(y))))[0])


def kid_with_interval(
    x: Features,
    y: Others,
    *,
    patients_x: Sequence[str],
    patients_y: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> PatientInterval:
    """Return KID and its percentile interval over resampled patients.

    A resample that drew a patient twice does not compare the patient with itself, so it is as
    unbiased as the value.
    """
    terms = _KernelTerms.of(x, y, patients_x, patients_y)
    value = float(terms.distance(np.ones((1, len(x))), np.ones((1, len(y))))[0])
    resampled = terms.distance(
        draw_weights(patients_x, num_resamples, rng), draw_weights(patients_y, num_resamples, rng)
    )
    low, high = np.nanquantile(resampled, _ENDS)
    return PatientInterval(value, float(low), float(high))


def fid(x: Features, y: Others) -> float:
    """Return the squared Frechet distance of two sets of standardized features.

    The trace of the root of the product of two covariances is the sum of the singular values of
    the product of their centred, scaled data matrices, which is small where scans are few.
    """
    x, y = _known(x), _known(y)
    a = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    b = (y - y.mean(axis=0)) / np.sqrt(len(y) - 1)
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return max(0.0, float(shift + (a**2).sum() + (b**2).sum() - 2 * overlap))


def fid_with_interval(
    x: Features,
    y: Others,
    *,
    patients_x: Sequence[str],
    patients_y: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> PatientInterval:
    """Return FID and how far it would be moved by other patients, without its bias."""
    value = fid(x, y)
    x_weights = draw_weights(patients_x, num_resamples, rng)
    y_weights = draw_weights(patients_y, num_resamples, rng)
    resampled = np.array(
        [
            fid(np.repeat(x, v.astype(int), axis=0), np.repeat(y, w.astype(int), axis=0))
            for v, w in zip(x_weights, y_weights, strict=True)
        ]
    )
    low, high = value + np.quantile(resampled, _ENDS) - resampled.mean()
    return PatientInterval(value, max(0.0, float(low)), float(high))


def measure_distances(
    x: Features,
    y: Others,
    *,
    patients_x: Sequence[str],
    patients_y: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """Return both distances, named as in `DISTANCES`, each as the contract's `V`."""
    return {
        name: with_interval(
            x,
            y,
            patients_x=patients_x,
            patients_y=patients_y,
            num_resamples=num_resamples,
            rng=rng,
        ).as_json()
        for name, with_interval in DISTANCES.items()
    }


DISTANCES: Final = {"kid": kid_with_interval, "fid": fid_with_interval}
"""By name, in the order in which they draw their resamples."""


@final
@dataclass(frozen=True, slots=True)
class Manifolds:
    """How two sets' neighbourhoods overlap (Kynkaanniemi et al., 2019; Naeem et al., 2020)."""

    precision: float
    """Share of candidates that lie in some reference scan's neighbourhood."""

    recall: float
    """Share of reference scans that lie in some candidate's neighbourhood."""

    density: float
    """Mean number of reference neighbourhoods a candidate lies in, over k; can exceed 1."""

    coverage: float
    """Share of reference scans in whose neighbourhood some candidate lies."""

    def as_json(self) -> dict[str, float]:
        """Return the four numbers by name."""
        return {
            "precision": _rounded(self.precision),
            "recall": _rounded(self.recall),
            "density": _rounded(self.density),
            "coverage": _rounded(self.coverage),
        }


def compare_manifolds(reference: Features, candidate: Others, *, neighbours: int) -> Manifolds:
    """Compare neighbourhoods: balls that reach to a scan's k-th nearest neighbour of its own set.

    For equal sets the values are not 1, and depend on the numbers of scans: compare them with those
    of real scans in the same numbers.

    Args:
        reference: Real scans.
        candidate: Scans that are judged.
        neighbours: The k; a set of k scans or fewer has its largest distances as radii.
    """
    between = distances_between(reference, candidate)
    radii = (
        radii_of(distances_between(of_one_set, of_one_set), neighbours)
        for of_one_set in (reference, candidate)
    )
    return compare_neighbourhoods(between, *radii, neighbours=neighbours)


def compare_neighbourhoods(
    between: Float[np.ndarray, "n m"],
    reference_radii: Float[np.ndarray, " n"],
    candidate_radii: Float[np.ndarray, " m"],
    *,
    neighbours: int,
) -> Manifolds:
    """Do what `compare_manifolds` does, from distances between two sets and radii of each."""
    in_real = between < reference_radii[:, None]
    return Manifolds(
        precision=float(in_real.any(axis=0).mean()),
        recall=float((between < candidate_radii[None, :]).any(axis=1).mean()),
        density=float(in_real.sum(axis=0).mean() / neighbours),
        coverage=float((between.min(axis=1) < reference_radii).mean()),
    )


def measure_fidelity(
    candidate: Features,
    reference: Others,
    *,
    patients: tuple[Sequence[str], Sequence[str]],
    neighbours: int,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return distances and neighbourhoods of scans that are judged by reference scans.

    Args:
        candidate: Standardized features of the scans that are judged.
        reference: Those of held-out real scans.
        patients: Whose the candidate and the reference scans are.
        neighbours: As for `compare_manifolds`.
        num_resamples: Resamples behind each interval.
        rng: Source of the resamples.
    """
    distances = measure_distances(
        candidate,
        reference,
        patients_x=patients[0],
        patients_y=patients[1],
        num_resamples=num_resamples,
        rng=rng,
    )
    return distances | compare_manifolds(reference, candidate, neighbours=neighbours).as_json()


def distances_between(a: Features, b: Others) -> Float[np.ndarray, "n m"]:
    """Return how far scans lie from each other; a missing feature counts as its mean."""
    a, b = _known(a), _known(b)
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    root: np.ndarray = np.sqrt(np.maximum(square, 0.0))
    return root


def radii_of(distances: Float[np.ndarray, "n n"], neighbours: int) -> Float[np.ndarray, " n"]:
    """Return each scan's distance to its k-th nearest neighbour, itself not counted."""
    ordered = np.sort(distances, axis=1)
    radii: np.ndarray = ordered[:, min(neighbours, len(distances) - 1)]
    return radii


_ENDS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@final
@dataclass(frozen=True, slots=True)
class _KernelTerms:
    """Kernel values within and between two sets, and which pairs are of different patients."""

    within_x: Float[np.ndarray, "n n"]
    within_y: Float[np.ndarray, "m m"]
    between: Float[np.ndarray, "n m"]
    pairs_x: Bool[np.ndarray, "n n"]
    pairs_y: Bool[np.ndarray, "m m"]

    @classmethod
    def of(
        cls, x: Features, y: Others, patients_x: Sequence[str], patients_y: Sequence[str]
    ) -> "_KernelTerms":
        x, y = _known(x), _known(y)
        pairs_x, pairs_y = _strangers(patients_x), _strangers(patients_y)
        within_x, within_y = _kernel(x, x) * pairs_x, _kernel(y, y) * pairs_y
        return cls(within_x, within_y, _kernel(x, y), pairs_x, pairs_y)

    def distance(
        self, x_weights: Float[np.ndarray, "r n"], y_weights: Float[np.ndarray, "r m"]
    ) -> Float[np.ndarray, " r"]:
        """Return the distance for each row of weights; NaN where a row holds one patient only."""

        def mean(weights: np.ndarray, values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
            total = ((weights @ values) * weights).sum(axis=1)
            count = ((weights @ pairs) * weights).sum(axis=1)
            known: np.ndarray = np.divide(
                total, count, out=np.full_like(total, np.nan), where=count > 0
            )
            return known

        across = ((x_weights @ self.between) * y_weights).sum(axis=1)
        across = across / (x_weights.sum(axis=1) * y_weights.sum(axis=1))
        within_x = mean(x_weights, self.within_x, self.pairs_x.astype(float))
        within_y = mean(y_weights, self.within_y, self.pairs_y.astype(float))
        distance: np.ndarray = within_x + within_y - 2 * across
        return distance


def _known(features: np.ndarray) -> np.ndarray:
    """Return features with missing ones at their mean over training scans, 0."""
    return np.nan_to_num(np.asarray(features, dtype=np.float64), nan=0.0)


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    values: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
    return values


def _strangers(patients: Sequence[str]) -> np.ndarray:
    names = np.asarray(patients)
    different: np.ndarray = names[:, None] != names[None, :]
    return different


def draw_weights(
    patients: Sequence[str], num_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw how often each resample contains each scan: whole patients, with replacement."""
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
    weights: np.ndarray = drawn[:, owner].astype(float)
    return weights


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
