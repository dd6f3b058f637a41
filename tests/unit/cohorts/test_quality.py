"""Measures of an image's quality, against what was put into it."""

import numpy as np
import pandas as pd
import pytest

from sitesynth.cohorts.quality import MEASURES, assess_image, find_outliers


def two_tissues(noise: float) -> np.ndarray:
    """Return air, and inside it tissue of 100 and of 140 in halves, with noise of a known size."""
    rng = np.random.default_rng(3)
    voxels = np.zeros((60, 60, 24), dtype=np.float32)
    voxels[10:50, 10:30] = 100
    voxels[10:50, 30:50] = 140
    voxels[10:50, 10:50] += rng.normal(0, noise, (40, 40, 24)).astype(np.float32)
    return voxels


def test_signal_and_contrast_are_in_units_of_the_noise() -> None:
    """A mean of 120 is 60 times a noise of 2, and contrast 21.7 times.

    The 10th and 90th percentiles are those of 20 and 80 % inside either tissue, 0.8416 standard
    deviations from its mean.
    """
    found = assess_image(two_tissues(2.0))

    assert found.snr == pytest.approx(60.0, rel=0.03)
    assert found.cnr == pytest.approx((40 + 4 * 0.8416) / 2, rel=0.03)


def test_twice_the_noise_is_half_the_ratio() -> None:
    one, two = assess_image(two_tissues(1.0)).snr, assess_image(two_tissues(2.0)).snr

    assert one is not None
    assert two is not None
    assert one / two == pytest.approx(2.0, rel=0.02)


def test_the_entropy_focus_is_1_of_a_flat_image_and_0_of_a_point() -> None:
    point = np.zeros((8, 8, 8), dtype=np.float32)
    point[4, 4, 4] = 3.0

    assert assess_image(point).efc == pytest.approx(0.0)
    flat = np.ones((8, 8, 8), dtype=np.float32)
    flat[0, 0, 4] = 1.001  # a constant has no foreground
    assert assess_image(flat).efc == pytest.approx(1.0, abs=1e-3)


def test_ghosts_raise_the_entropy_focus() -> None:
    """A copy of a tenth of the signal, shifted into the air, as a breathing patient leaves it."""
    sharp = two_tissues(0.5)
    ghosted = 0.9 * sharp + 0.1 * np.roll(sharp, 20, axis=0)

    assert (assess_image(ghosted).efc or 0.0) > 1.02 * (assess_image(sharp).efc or 1.0)


def test_one_scan_unlike_the_others_is_flagged_and_a_small_site_is_not_judged() -> None:
    """Values 1 to 9 have median 5 and a median deviation of 2: 5 robust SD end at 19.8."""
    files = pd.DataFrame(
        [
            {"scan_id": f"s{n}", "column": "t1", "snr": value}
            for n, value in enumerate([1, 2, 3, 4, 5, 6, 7, 8, 25], start=1)
        ]
    ).reindex(columns=["scan_id", "column", *MEASURES])

    (found,) = find_outliers(files)
    assert (found["scan_id"], found["measure"], found["median"]) == ("s9", "snr", 5.0)
    assert found["deviation"] == pytest.approx(20 / (2 / 0.6745), abs=0.01)
    assert find_outliers(files.head(7)) == []
