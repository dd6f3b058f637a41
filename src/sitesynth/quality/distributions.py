"""Two distributions of one number, beside each other: mean, quartiles, and how far apart they are.

The difference of means is unbiased, and its interval says what can be concluded. The distance is
Wasserstein's, the mean shift of quantiles, in the number's own unit; it sees spread and shape too,
and like every distance it is above 0 for equal sets: read it beside that of real scans in the same
numbers. Its bootstrap is centred on the value, because a resample is farther away than the sample.

Axes: n, m = scans, r = resamples. A scan whose number is unknown (NaN) is left out.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from sitesynth.quality.fidelity import CONFIDENCE, PatientInterval, draw_weights


__all__ = ["compare", "describe", "wasserstein"]

ENDS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
QUARTILES: Final = (0.25, 0.5, 0.75)

Values = Float[np.ndarray, " n"]
Others = Float[np.ndarray, " m"]


def describe(
    values: Values, patients: Sequence[str], *, num_resamples: int, rng: np.random.Generator
) -> dict[str, Any] | None:
    """Return the mean as the contract's `V`, the quartiles and n; None without a known value."""
    known = np.isfinite(values)
    if not known.any():
        return None
    values, patients = values[known], np.asarray(patients)[known].tolist()
    weights = draw_weights(patients, num_resamples, rng)
    means = weights @ values / weights.sum(axis=1)
    low, high = np.quantile(means, ENDS)
    return {
        **PatientInterval(float(values.mean()), float(low), float(high)).as_json(),
        "n": len(values),
        "quartiles": [float(f"{q:.6g}") for q in np.quantile(values, QUARTILES)],
    }


def compare(
    x: Values,
    y: Others,
    *,
    patients_x: Sequence[str],
    patients_y: Sequence[str],
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, float]] | None:
    """Return `difference` of means, x minus y, and `distance`; None if either has no value."""
    known_x, known_y = np.isfinite(x), np.isfinite(y)
    if not known_x.any() or not known_y.any():
        return None
    x, y = x[known_x], y[known_y]
    x_weights = draw_weights(np.asarray(patients_x)[known_x].tolist(), num_resamples, rng)
    y_weights = draw_weights(np.asarray(patients_y)[known_y].tolist(), num_resamples, rng)
    x_weights /= x_weights.sum(axis=1, keepdims=True)
    y_weights /= y_weights.sum(axis=1, keepdims=True)
    low, high = np.quantile(x_weights @ x - y_weights @ y, ENDS)
    difference = PatientInterval(float(x.mean() - y.mean()), float(low), float(high))
    value = float(wasserstein(x, y, *(np.full((1, len(v)), 1 / len(v)) for v in (x, y)))[0])
    resampled = wasserstein(x, y, x_weights, y_weights)
    low, high = value + np.quantile(resampled, ENDS) - resampled.mean()
    distance = PatientInterval(value, max(0.0, float(low)), float(high))
    return {"difference": difference.as_json(), "distance": distance.as_json()}


def wasserstein(
    x: Values, y: Others, x_weights: Float[np.ndarray, "r n"], y_weights: Float[np.ndarray, "r m"]
) -> Float[np.ndarray, " r"]:
    """Return the area between two cumulative distributions, for each row of weights.

    Each row of either sums to 1. `scipy.stats` has it for one row at a time, and takes a second to
    import.
    """
    values = np.concatenate([x, y])
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    masses = np.concatenate([x_weights, -y_weights], axis=1)[:, order]
    area: np.ndarray = np.abs(np.cumsum(masses, axis=1)[:, :-1]) @ steps
    return area
