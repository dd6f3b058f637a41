"""What a scanner does to a signal, in closed form."""

import numpy as np
import pytest

from sitesynth.phantom.fields import draw_field
from sitesynth.phantom.scanner import acquire, affine_of, grid_axes, oriented
from sitesynth.seeds import numpy_generator


AXES = grid_axes((6.0, 6.0, 6.0))
SHAPE = tuple(len(axis) for axis in AXES)


def _acquired(
    signal: np.ndarray,
    *,
    contrast: float = 1.0,
    bias_field: float = 0.0,
    blur_mm: float = 0.0,
    noise: float = 0.0,
) -> np.ndarray:
    rng = numpy_generator(0, "scanner")
    return acquire(
        signal.astype(np.float32),
        AXES,
        contrast=contrast,
        bias=draw_field(70.0, rng=rng),
        bias_field=bias_field,
        blur_mm=blur_mm,
        noise=noise,
        rng=rng,
    )


def test_an_ideal_scanner_shows_the_signal() -> None:
    signal = np.random.default_rng(0).uniform(0.0, 3.0, SHAPE)

    np.testing.assert_allclose(_acquired(signal), signal, rtol=1e-5, atol=1e-6)


def test_contrast_is_an_exponent_that_leaves_white_matter_alone() -> None:
    signal = np.ones(SHAPE)
    signal[0] = 0.25
    image = _acquired(signal, contrast=1.5)

    np.testing.assert_allclose(image[0], 0.125, rtol=1e-5)
    np.testing.assert_allclose(image[1:], 1.0, rtol=1e-5)


def test_the_bias_field_has_the_stated_amplitude_from_peak_to_peak() -> None:
    image = _acquired(np.ones(SHAPE), bias_field=0.3)

    assert np.ptp(image) == pytest.approx(0.3, rel=1e-4)
    assert (image.max() + image.min()) / 2 == pytest.approx(1.0, rel=1e-4)


def test_air_is_rayleigh_and_tissue_is_gaussian() -> None:
    """In air: mean sigma sqrt(pi / 2), deviation sigma sqrt(2 - pi / 2). In tissue: sigma."""
    sigma = 0.05
    air = _acquired(np.zeros(SHAPE), noise=sigma)
    tissue = _acquired(np.ones(SHAPE), noise=sigma)

    assert air.mean() == pytest.approx(sigma * (np.pi / 2) ** 0.5, rel=0.02)
    assert air.std() == pytest.approx(sigma * (2 - np.pi / 2) ** 0.5, rel=0.02)
    assert tissue.std() == pytest.approx(sigma, rel=0.02)


def test_blur_spreads_a_point_by_its_width() -> None:
    """A Gaussian of this full width at half maximum has variance (fwhm / 2.355)^2."""
    signal = np.zeros(SHAPE)
    middle = tuple(size // 2 for size in SHAPE)
    signal[middle] = 1.0
    image = _acquired(signal, blur_mm=24.0)
    profile = image.sum(axis=(1, 2))
    places = AXES[0] - AXES[0][middle[0]]

    assert image.sum() == pytest.approx(1.0, rel=1e-4)
    # Cut off at three standard deviations, a Gaussian loses 3 % of its variance.
    assert (profile * places**2).sum() == pytest.approx((24.0 / 2.3548) ** 2, rel=0.05)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "RPI"])
def test_a_voxel_keeps_its_place_in_any_orientation(orientation: str) -> None:
    """Voxels hold their own right coordinate, and the affine says the same of each."""
    voxels = np.broadcast_to(AXES[0][:, None, None], SHAPE)
    turned, affine = oriented(voxels, orientation), affine_of(AXES, orientation)
    for index in ((0, 0, 0), (3, 1, 2), (SHAPE[0] - 1, 0, 5)):
        assert (affine @ [*index, 1])[0] == pytest.approx(turned[index])
