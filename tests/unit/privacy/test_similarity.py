"""Who is like whom, in either view."""

import numpy as np
import pytest

from sitesynth.described import Described
from sitesynth.privacy.similarity import feature_view, voxel_view


NAMES = ("t1 mean", "t1 spread", "mask centre right")


def describe(
    rng: np.random.Generator,
    count: int,
    *,
    features: np.ndarray | None = None,
    presence: np.ndarray | None = None,
) -> Described:
    """Return unrelated scans of two channels."""
    return Described(
        rng.standard_normal((count, len(NAMES))) if features is None else features,
        rng.random((count, 2, 8, 8, 8)),
        np.ones((count, 2), dtype=bool) if presence is None else presence,
        tuple(str(number) for number in range(count)),
    )


@pytest.fixture
def numpy_rng() -> np.random.Generator:
    return np.random.default_rng(6)


def test_a_scan_is_like_itself_and_its_mirror_image(numpy_rng: np.random.Generator) -> None:
    """A generator is trained on both, so a mirrored copy is a copy."""
    train = describe(numpy_rng, 12)
    mirrored = Described(
        train.features * [1, 1, -1],
        np.flip(train.thumbnails, axis=2),
        train.presence,
        train.patients,
    )
    # The feature's mean is not 0 in twelve scans, so its mirror image is near, and not the same.
    for view, least in ((voxel_view(train), 0.999), (feature_view(train, NAMES), 0.9)):
        assert np.diag(view(train, train)) == pytest.approx(1)
        assert np.diag(view(mirrored, train)).min() > least


def test_strangers_are_uncorrelated(numpy_rng: np.random.Generator) -> None:
    """Though all have the same mean picture, which is taken away."""
    train, others = describe(numpy_rng, 30), describe(numpy_rng, 30)
    similar = voxel_view(train)(others, train)

    assert np.abs(similar).max() < 0.3


def test_brightness_and_contrast_hide_no_copy(numpy_rng: np.random.Generator) -> None:
    """Correlation does not see them; the mean picture, which stays, blurs it a little."""
    train = describe(numpy_rng, 30)
    changed = Described(
        train.features, 0.9 * train.thumbnails + 0.1, train.presence, train.patients
    )

    assert np.diag(voxel_view(train)(changed, train)).min() > 0.95


def test_an_average_scan_is_like_nobody(numpy_rng: np.random.Generator) -> None:
    """By distance it would be everybody's nearest."""
    train = describe(numpy_rng, 30)
    average = describe(numpy_rng, 1, features=train.features.mean(axis=0, keepdims=True))
    average.thumbnails[0] = train.thumbnails.mean(axis=0)
    average.thumbnails[0] += 1e-3 * numpy_rng.random(average.thumbnails[0].shape)

    assert voxel_view(train)(average, train).max() < 0.3


def test_only_shared_channels_are_compared(numpy_rng: np.random.Generator) -> None:
    """Zeros where a channel is missing would make two patients alike."""
    presence = np.ones((12, 2), dtype=bool)
    presence[0, 1] = False
    train = describe(numpy_rng, 12, presence=presence)
    train.thumbnails[0, 1] = 0
    whole = describe(numpy_rng, 12)
    whole.thumbnails[0, 0] = train.thumbnails[0, 0]

    assert voxel_view(train)(whole, train)[0, 0] == pytest.approx(1)


def test_scans_without_a_shared_channel_are_not_alike(numpy_rng: np.random.Generator) -> None:
    first = describe(numpy_rng, 2, presence=np.array([[True, False]] * 2))
    second = describe(numpy_rng, 2, presence=np.array([[False, True]] * 2))

    assert (voxel_view(first)(first, second) == -1).all()


def test_a_missing_feature_is_left_out_of_the_cosine(numpy_rng: np.random.Generator) -> None:
    train = describe(numpy_rng, 12)
    partly = train.features.copy()
    partly[:, 1] = np.nan
    hidden = Described(partly, train.thumbnails, train.presence, train.patients)

    assert np.diag(feature_view(train, NAMES)(hidden, train)) == pytest.approx(1)
