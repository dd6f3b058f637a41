"""Similarity of pictures whose similarity is known."""

import numpy as np
import pytest

from sitesynth.quality.diversity import (
    draw_pairs,
    mean_of_known,
    multiscale_ssim,
    num_scales,
    pair_similarities,
)


@pytest.fixture
def numpy_rng() -> np.random.Generator:
    return np.random.default_rng(8)


def test_equal_pictures_have_similarity_one(numpy_rng: np.random.Generator) -> None:
    picture = numpy_rng.random((16, 16, 16))

    assert multiscale_ssim(picture, picture) == pytest.approx(1)


def test_flat_pictures_differ_by_their_brightness() -> None:
    """Structure is equal, so (2ab + C1) / (a^2 + b^2 + C1) is left, to the last scale's weight."""
    a, b, floor = 0.2, 0.6, 1e-4
    luminance = (2 * a * b + floor) / (a**2 + b**2 + floor)
    weight = 0.2856 / (0.0448 + 0.2856)
    found = multiscale_ssim(np.full((16, 16), a), np.full((16, 16), b))

    assert found == pytest.approx(luminance**weight)


def test_a_negative_is_nothing_alike(numpy_rng: np.random.Generator) -> None:
    picture = numpy_rng.random((8, 8, 8))

    assert multiscale_ssim(picture, 1 - picture) == 0


def test_noise_makes_pictures_less_alike(numpy_rng: np.random.Generator) -> None:
    picture = numpy_rng.random((16, 16))
    noise = numpy_rng.standard_normal((16, 16))
    similarities = [multiscale_ssim(picture, picture + level * noise) for level in (0, 0.05, 0.2)]

    assert similarities == sorted(similarities, reverse=True)


@pytest.mark.parametrize(
    ("grid", "scales"), [((32, 32, 16), 2), ((8, 8), 1), ((6, 40, 40), 1), ((256, 256), 5)]
)
def test_the_grid_decides_the_number_of_scales(grid: tuple[int, ...], scales: int) -> None:
    """Eight voxels are left along the shortest axis; five scales are all there are."""
    assert num_scales(grid) == scales


def test_a_set_of_copies_has_no_variety(numpy_rng: np.random.Generator) -> None:
    scan = numpy_rng.random((1, 2, 8, 8, 8))
    copies, varied = np.repeat(scan, 4, axis=0), numpy_rng.random((4, 2, 8, 8, 8))
    presence = np.ones((4, 2), dtype=bool)
    pairs = draw_pairs(["a", "b", "c", "d"], count=6, rng=numpy_rng)

    assert mean_of_known(pair_similarities(copies, presence, pairs)) == pytest.approx(1)
    assert (mean_of_known(pair_similarities(varied, presence, pairs)) or 0) < 0.5


def test_a_missing_channel_is_not_compared(numpy_rng: np.random.Generator) -> None:
    """Zeros of a scan that lacks a channel are no picture."""
    scans = np.repeat(numpy_rng.random((1, 2, 8, 8)), 2, axis=0)
    scans[0, 1] = 0
    presence = np.array([[True, False], [True, True]])

    whole = pair_similarities(scans, presence, [(0, 1)])
    unshared = pair_similarities(scans[:, 1:], presence[:, 1:], [(0, 1)])

    assert mean_of_known(whole) == pytest.approx(1)
    assert mean_of_known(unshared) is None


def test_pairs_are_of_different_patients_and_drawn_once(numpy_rng: np.random.Generator) -> None:
    """Patients a, a, b, c make 5 such pairs."""
    pairs = draw_pairs(["a", "a", "b", "c"], count=60, rng=numpy_rng)

    assert pairs == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert len(draw_pairs(["a", "a", "b", "c"], count=2, rng=numpy_rng)) == 2
