"""What each feature says, on scans whose answer is known."""

import numpy as np
import pytest
from scipy import ndimage

from sitesynth.features import MAX_DEVIATION, Extractor, FeatureScale, mirrored


EXTRACTOR = Extractor(("t1", "t2"), has_mask=True, dims=3)
ALL = np.ones(3, dtype=bool)


def head(rng: np.random.Generator) -> np.ndarray:
    """Return two sequences and a mask: a textured ball with a bright cube in it."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in (16, 16, 12)], indexing="ij")
    ball = np.square(axes).sum(axis=0) < 0.8
    texture = ndimage.gaussian_filter(rng.standard_normal((2, *ball.shape)), (0, 1, 1, 1))
    voxels = np.clip(0.5 + 0.3 * texture, 0.1, 0.8) * ball
    mask = np.zeros(ball.shape)
    mask[3:7, 5:11, 3:8] = 1
    voxels[0] += 0.15 * mask
    return np.stack([*voxels, mask]).astype(np.float32)


def change(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return by how much each feature differs between two scans."""
    first, second = (EXTRACTOR.extract(scan, ALL) for scan in (before, after))
    return dict(zip(EXTRACTOR.names, second - first, strict=True))


@pytest.fixture
def numpy_rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_four_sequences_and_a_mask_give_57_features() -> None:
    """11 per sequence, 6 pairs, the head, and 6 of the mask: fewer than 64."""
    names = Extractor(("t1", "t1c", "t2", "flair"), has_mask=True, dims=3).names

    assert len(names) == len(set(names)) == 4 * 11 + 6 + 1 + 6


def test_a_picture_without_a_mask_has_9_features() -> None:
    extractor = Extractor(("xray",), has_mask=False, dims=2)
    features = extractor.extract(np.full((1, 16, 16), 0.5), np.array([True]))

    assert len(extractor.names) == len(features) == 9
    assert np.isfinite(features).all()


def test_the_shape_of_a_mask_is_measured_by_hand() -> None:
    """A cube of 4 in a grid of 8, moved by one voxel of 8: 6 x 16 faces are those of a cube."""
    scan = np.zeros((2, 8, 8, 8))
    scan[1, 3:7, 2:6, 2:6] = 1
    extractor = Extractor(("t1",), has_mask=True, dims=3)
    features = dict(
        zip(extractor.names, extractor.extract(scan, np.array([True, True])), strict=True)
    )

    assert features["mask volume"] == pytest.approx(np.log10(65))
    assert features["mask centre right"] == pytest.approx(1 / 8)
    assert features["mask centre anterior"] == 0
    assert features["mask elongation"] == pytest.approx(0)
    assert features["mask raggedness"] == pytest.approx(0)


def test_brightness_moves_the_mean_and_not_the_texture(numpy_rng: np.random.Generator) -> None:
    scan = head(numpy_rng)
    brighter = scan.copy()
    brighter[0][scan[0] > 0] += 0.05
    moved = change(scan, brighter)

    assert moved["t1 mean"] == pytest.approx(0.05, abs=1e-4)
    assert moved["t2 mean"] == pytest.approx(0)
    assert moved["t1 mask contrast"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("sigma", [0.7, 1.4])
def test_blur_takes_fine_texture_and_edges_away(
    numpy_rng: np.random.Generator, sigma: float
) -> None:
    scan = head(numpy_rng)
    blurred = scan.copy()
    blurred[0] = ndimage.gaussian_filter(scan[0], sigma)
    moved = change(scan, blurred)

    assert moved["t1 fine texture"] < -0.1
    assert moved["t1 edges"] < -0.03


def test_noise_adds_fine_texture_more_than_coarse(numpy_rng: np.random.Generator) -> None:
    scan = head(numpy_rng)
    noisy = scan.copy()
    head_of = scan[0] > 0
    noisy[0][head_of] += 0.1 * numpy_rng.standard_normal(int(head_of.sum())).astype(np.float32)
    moved = change(scan, noisy)

    assert moved["t1 fine texture"] > 3 * abs(moved["t1 coarse texture"])


def test_a_feature_of_a_missing_channel_is_nan_and_no_other(numpy_rng: np.random.Generator) -> None:
    features = EXTRACTOR.extract(head(numpy_rng), np.array([True, False, True]))

    of_t2 = ["t2" in name for name in EXTRACTOR.names]
    np.testing.assert_array_equal(np.isnan(features), of_t2)


def test_hiding_a_channel_later_is_missing_it_now(numpy_rng: np.random.Generator) -> None:
    """Where the head is seen in another sequence too."""
    scan = head(numpy_rng)
    presence = np.array([[True, False, True]])
    absent = scan.copy()
    absent[1] = 0
    hidden = EXTRACTOR.hide(EXTRACTOR.extract(scan, ALL)[None], presence)[0]

    np.testing.assert_allclose(hidden, EXTRACTOR.extract(absent, presence[0]), equal_nan=True)


def test_mirrored_features_are_those_of_the_mirror_image(numpy_rng: np.random.Generator) -> None:
    scan = head(numpy_rng)
    there = EXTRACTOR.extract(scan, ALL)[None]
    back = EXTRACTOR.extract(np.flip(scan, axis=1), ALL)[None]

    np.testing.assert_allclose(mirrored(there, EXTRACTOR.names), back, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_blank_scan_has_finite_features(value: float) -> None:
    """A generator may give anything; an audit that stops there audits nothing."""
    assert np.isfinite(EXTRACTOR.extract(np.full((3, 8, 8, 8), value), ALL)).all()


def test_standardized_training_features_have_mean_0_and_spread_1() -> None:
    """Over the scans that have them; one that is constant is left out."""
    features = np.array([[1.0, 5.0, 0.0], [2.0, 5.0, np.nan], [3.0, 5.0, 2.0]])
    standard = FeatureScale.of(features).standardize(features)

    expected = [[-1, -(0.5**0.5)], [0, np.nan], [1, 0.5**0.5]]
    np.testing.assert_allclose(standard, expected, equal_nan=True)


def test_a_far_scan_is_clipped() -> None:
    scale = FeatureScale(np.zeros(1), np.ones(1))

    assert scale.standardize(np.array([[99.0]])).item() == MAX_DEVIATION


def test_the_numbers_are_those_of_version_1() -> None:
    """Changed numbers need a new VERSION, or old and new features would bear one digest."""
    grid = np.indices((8, 8, 6)).sum(axis=0)
    scan = np.stack([grid / 20, (grid % 5) / 5, (grid > 10).astype(float)])
    features = EXTRACTOR.extract(scan, ALL)

    assert features @ np.arange(len(features)) == pytest.approx(26.632944, abs=1e-4)
    assert EXTRACTOR.digest[:12] == "1e74fe59815d"
