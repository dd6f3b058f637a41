"""Intensities: ramps, whose percentiles are their values."""

import numpy as np
import pytest

from sitesynth.errors import VolumeError
from sitesynth.preprocessing.intensity import rescale_intensity


RAMP = np.arange(101, dtype=np.float32)
EVERYWHERE = np.ones(101, dtype=bool)


def rescaled(
    voxels: np.ndarray, foreground: np.ndarray, low: float = 10.0, high: float = 90.0
) -> np.ndarray:
    """Rescale between two percentiles."""
    return rescale_intensity(
        voxels, foreground, low_percentile=low, high_percentile=high, named="t1.nii"
    )


def test_a_ramps_percentiles_are_its_values() -> None:
    """0 to 100: the 10th percentile is 10 and becomes 0, the 90th is 90 and becomes 1."""
    found = rescaled(RAMP, EVERYWHERE)

    assert found[[0, 10, 50, 90, 100]].tolist() == [0, 0, 0.5, 1, 1]


def test_the_scanners_gain_and_offset_do_not_matter() -> None:
    np.testing.assert_allclose(
        rescaled(RAMP * 37 - 500, EVERYWHERE), rescaled(RAMP, EVERYWHERE), atol=1e-6
    )


def test_only_the_foreground_is_measured_and_kept() -> None:
    """Air, however much and bright, changes nothing and becomes 0."""
    voxels = np.concatenate([RAMP, np.full(900, 1e4, np.float32)])
    foreground = np.arange(1001) < 101

    found = rescaled(voxels, foreground)
    np.testing.assert_array_equal(found[:101], rescaled(RAMP, EVERYWHERE))
    assert not found[101:].any()


def test_the_volume_is_left_as_it_was() -> None:
    voxels = RAMP.copy()
    rescaled(voxels, EVERYWHERE)

    np.testing.assert_array_equal(voxels, RAMP)


def test_one_intensity_is_refused() -> None:
    with pytest.raises(VolumeError, match=r"t1\.nii: intensities must differ .* are both 7"):
        rescaled(np.full(101, 7, np.float32), EVERYWHERE)


def test_an_empty_foreground_is_refused() -> None:
    with pytest.raises(VolumeError, match=r"t1\.nii: no head or body stands out"):
        rescaled(RAMP, ~EVERYWHERE)
