"""Intensities: ramps, whose percentiles are their values."""

import numpy as np
import pytest

from sitesynth.errors import VolumeError
from sitesynth.preprocessing.intensity import (
    DECILES,
    deciles_of,
    match_landmarks,
    rescale_intensity,
    standardize_intensity,
)


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


def standardized(voxels: np.ndarray) -> np.ndarray:
    return standardize_intensity(
        voxels, EVERYWHERE, low_percentile=0.0, high_percentile=100.0, named="t1.nii"
    )


def test_a_ramps_z_scores_are_known() -> None:
    """Mean 50, variance (101^2 - 1) / 12 = 850; four standard deviations either side are [0, 1]."""
    found = standardized(RAMP)

    assert found[50] == 0.5
    np.testing.assert_allclose(found[79], 0.5 + 29 / (8 * 850**0.5), atol=1e-6)
    np.testing.assert_allclose(found, standardized(RAMP * 37 - 500), atol=1e-6)


def test_an_outlier_does_not_set_the_z_scores() -> None:
    """It is lowered to the percentile first."""
    spiked = RAMP.copy()
    spiked[100] = 1e6
    found = standardize_intensity(
        spiked, EVERYWHERE, low_percentile=1.0, high_percentile=99.0, named="t1.nii"
    )

    np.testing.assert_allclose(found[:99], standardized(np.clip(RAMP, 1, 99))[:99], atol=1e-3)


def test_a_scans_deciles_become_the_standards() -> None:
    """A ramp from 0 to 1 bent to its squares: exactly at deciles, a little above between them."""
    ramp = RAMP / 100
    standard = [(share / 100) ** 2 for share in DECILES]
    found = match_landmarks(ramp, EVERYWHERE, standard)

    np.testing.assert_allclose(deciles_of(found, EVERYWHERE), standard, atol=1e-6)
    np.testing.assert_allclose(found[[0, 100]], [0, 1], atol=1e-6)
    assert np.all(found >= ramp**2 - 1e-6)
    assert np.abs(found - ramp**2).max() < 0.003


def test_a_scan_at_the_standard_stays_and_air_stays_air() -> None:
    ramp = RAMP / 100
    head = RAMP >= 20
    found = match_landmarks(ramp, head, deciles_of(ramp, head))

    np.testing.assert_allclose(found[head], ramp[head], atol=1e-6)
    assert not found[~head].any()


def test_many_voxels_of_one_value_keep_the_order_of_intensities() -> None:
    """Half of the head is clipped to 0, so five deciles are."""
    clipped = np.maximum(RAMP / 50 - 1, 0)
    found = match_landmarks(clipped, EVERYWHERE, [n / 10 for n in range(1, 10)])

    assert np.isfinite(found).all()
    assert np.all(np.diff(found) >= 0)
    assert found[0] == 0
    assert found[100] == 1
