"""Smooth fields and soft steps."""

import numpy as np

from sitesynth.phantom.fields import SmoothField, draw_field, ramp
from sitesynth.seeds import numpy_generator


def _line(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (places, np.zeros(1), np.zeros(1))


def test_a_field_is_the_same_at_a_place_whatever_the_grid() -> None:
    """A patient does not change with the voxel size."""
    field = draw_field(20.0, rng=numpy_generator(0, "field"))
    fine = field.on(_line(np.arange(-50.0, 51.0, 1.0)))
    coarse = field.on(_line(np.arange(-50.0, 51.0, 10.0)))

    np.testing.assert_array_equal(fine[::10], coarse)


def test_a_field_has_unit_variance_between_control_points_too() -> None:
    """The variance is the sum of the squared responses to each control value alone: exact."""
    places = _line(np.linspace(-30.0, 30.0, 7))
    shape = draw_field(100.0, rng=numpy_generator(0, "variance")).control.shape
    impulses = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    responses = [SmoothField(control=one, length_mm=100.0).on(places).ravel() for one in impulses]

    np.testing.assert_allclose((np.array(responses) ** 2).sum(axis=0), 1.0, rtol=1e-5)


def test_equal_control_values_make_a_field_without_a_slope() -> None:
    """B-splines sum to 1; at control points all weights are alike."""
    shape = draw_field(40.0, rng=numpy_generator(0, "shape")).control.shape
    flat = SmoothField(control=np.ones(shape), length_mm=40.0)
    at_controls = flat.on(_line(np.array([-44.0, -4.0, 36.0])))

    assert np.ptp(at_controls) < 1e-6


def test_a_ramp_is_half_at_its_surface_and_full_half_its_width_inside() -> None:
    depths = np.array([-9.0, -1.0, 0.0, 0.5, 1.0, 9.0], dtype=np.float32)

    np.testing.assert_allclose(ramp(depths, 2.0), [0.0, 0.0, 0.5, 0.75, 1.0, 1.0])
