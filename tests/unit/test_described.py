"""What is kept of scans that were looked at."""

import numpy as np
import pytest

from sitesynth.described import shrink


def test_blocks_are_averaged_by_hand() -> None:
    """Rows 0..3 of 0..15 in blocks of two: (0 + 1 + 4 + 5) / 4 is 2.5, and so on."""
    shrunk = shrink(np.arange(16.0).reshape(1, 4, 4), most=2)

    np.testing.assert_allclose(shrunk, [[[2.5, 4.5], [10.5, 12.5]]])


def test_what_fills_no_block_is_cut_on_both_sides() -> None:
    """Five in blocks of two and of three: one left over goes, two left over go left and right."""
    np.testing.assert_allclose(shrink(np.arange(5.0).reshape(1, 5), most=3), [[0.5, 2.5]])
    np.testing.assert_allclose(shrink(np.arange(5.0).reshape(1, 5), most=2), [[2.0]])


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 5, 3)])
def test_a_small_scan_stays_as_it_is(shape: tuple[int, ...]) -> None:
    voxels = np.random.default_rng(0).random(shape)

    np.testing.assert_array_equal(shrink(voxels, most=8), voxels)


def test_an_axis_shorter_than_a_block_keeps_one_voxel() -> None:
    assert shrink(np.ones((2, 64, 64, 3)), most=8).shape == (2, 8, 8, 1)
