"""Smooth random fields and soft steps, evaluated on any grid.

A field is a cubic B-spline through random control values at fixed places in millimetres, so that a
patient's anatomy is the same patient's anatomy at any voxel size.

Axes: x right, y anterior, z superior (RAS); u, v, w control values along them.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float


__all__ = ["FIELD_OF_VIEW_MM", "Axes", "SmoothField", "draw_field", "ramp"]

FIELD_OF_VIEW_MM: Final = ((-84.0, 84.0), (-104.0, 100.0), (-68.0, 92.0))
"""What every scan covers, along x, y and z; the origin is between the thalami."""

Axes = tuple[Float[np.ndarray, " x"], Float[np.ndarray, " y"], Float[np.ndarray, " z"]]
"""Coordinates in mm along the three axes of a grid."""


@final
@dataclass(frozen=True, slots=True)
class SmoothField:
    """A standard normal random field with a correlation length."""

    control: Float[np.ndarray, "u v w"]
    """Independent standard normal values, one per `length_mm` along each axis."""

    length_mm: float
    """Distance between control values; detail is smoothed over about twice that."""

    def on(self, axes: Axes) -> Float[np.ndarray, "x y z"]:
        """Evaluate the field; its mean is 0 and its variance 1 at every place."""
        weights = [
            _spline_weights(axis, low, size, self.length_mm)
            for axis, (low, _), size in zip(axes, FIELD_OF_VIEW_MM, self.control.shape, strict=True)
        ]
        # In float64, so that a library's order of summation cannot show in a rounded voxel.
        field = self.control
        for axis_weights in weights:
            # Contracts the leading axis and appends the evaluated one: after three turns, in order.
            field = np.tensordot(field, axis_weights, axes=(0, 1))
        return field.astype(np.float32)


def draw_field(length_mm: float, *, rng: np.random.Generator) -> SmoothField:
    """Draw a field over the field of view; the number of draws depends on `length_mm` alone."""
    shape = tuple(int(np.ceil((high - low) / length_mm)) + 3 for low, high in FIELD_OF_VIEW_MM)
    return SmoothField(control=rng.standard_normal(shape), length_mm=length_mm)


def ramp(distance_mm: Float[np.ndarray, "*grid"], width_mm: float) -> Float[np.ndarray, "*grid"]:
    """Rise from 0 to 1 over `width_mm`, half way up at distance 0: a soft inside-or-outside."""
    share = distance_mm * 1.0 / width_mm
    share += 0.5
    return np.clip(share, 0.0, 1.0, out=share)


def _spline_weights(
    axis: Float[np.ndarray, " n"], low: float, size: int, length_mm: float
) -> Float[np.ndarray, "n size"]:
    """Cubic B-spline of each control value at each place, scaled to unit sum of squares."""
    places = (axis - low) / length_mm
    offsets = np.abs(places[:, None] - (np.arange(size) - 1.0))
    near = 2.0 / 3.0 - offsets**2 + 0.5 * offsets**3
    far = np.maximum(2.0 - offsets, 0.0) ** 3 / 6.0
    weights = np.where(offsets < 1.0, near, far)
    return np.asarray(weights / np.sqrt((weights**2).sum(axis=1, keepdims=True)))
