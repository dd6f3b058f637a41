"""Scans whose looks differ by a known fault."""

import numpy as np
import pytest
from scipy import ndimage

from sitesynth.quality.appearance import AppearanceScores, summarize_appearance


NUM_SCANS = 6
GRID = (44, 40, 40)


def scans(rng: np.random.Generator, *, blur: float = 0.0) -> np.ndarray:
    """Return heads of smooth anatomy and fine noise in air, with two sequences."""
    found = np.zeros((NUM_SCANS, 2, *GRID))
    for scan in found:
        for sequence in scan:
            anatomy = ndimage.gaussian_filter(rng.normal(size=GRID), 3)
            texture = 0.5 + anatomy / anatomy.std() / 8 + rng.normal(0, 0.04, GRID)
            sequence[2:-2, 2:-2, 2:-2] = np.clip(ndimage.gaussian_filter(texture, blur), 0.1, 1)[
                2:-2, 2:-2, 2:-2
            ]
    return found


def scores_of(voxels: np.ndarray, presence: np.ndarray | None = None) -> AppearanceScores:
    if presence is None:
        presence = np.ones(voxels.shape[:2], dtype=bool)
    scores = AppearanceScores(presence, 2)
    for number, scan in enumerate(voxels):
        scores.observe(number, scan)
    return scores


@pytest.fixture(scope="module")
def real() -> AppearanceScores:
    return scores_of(scans(np.random.default_rng(0)))


def summarize(scores: AppearanceScores, reference: AppearanceScores) -> dict[str, dict]:  # type: ignore[type-arg]
    names = [str(number) for number in range(NUM_SCANS)]
    return summarize_appearance(
        scores, reference, patients=names, reference_patients=names, dims=3, num_resamples=200,
        rng=np.random.default_rng(0),
    )  # fmt: skip


def test_scans_of_the_same_kind_are_near_each_other(real: AppearanceScores) -> None:
    """The interval of the difference holds 0, in both metrics."""
    found = summarize(scores_of(scans(np.random.default_rng(1))), real)

    for metric in ("brisque", "piqe"):
        assert found[metric]["difference"]["low"] < 0 < found[metric]["difference"]["high"]
        assert set(found[metric]["planes"]) == {"sagittal", "coronal", "axial"}


def test_blurred_scans_are_far_from_sharp_ones(real: AppearanceScores) -> None:
    same = summarize(scores_of(scans(np.random.default_rng(1))), real)
    blurred = summarize(scores_of(scans(np.random.default_rng(1), blur=1.0)), real)

    for metric in ("brisque", "piqe"):
        assert blurred[metric]["difference"]["low"] > 0
        assert blurred[metric]["distance"]["low"] > same[metric]["distance"]["high"]


def test_air_does_not_count(real: AppearanceScores) -> None:
    """Two grey levels of noise around the head change no score."""
    rng = np.random.default_rng(0)
    noisy = scans(rng)
    noise = np.random.default_rng(9).uniform(0, 0.008, noisy.shape)
    noisy += noise * (noisy == 0)

    for metric in ("brisque", "piqe"):
        np.testing.assert_allclose(scores_of(noisy).of(metric), real.of(metric))


def test_a_missing_sequence_has_no_part_in_the_score() -> None:
    """Zeros stand where it was not acquired; a scan of one sequence is scored by that alone."""
    voxels = scans(np.random.default_rng(2))[:1]
    lacking = voxels.copy()
    lacking[:, 1] = 0
    one = np.array([[True, False]])

    np.testing.assert_allclose(
        scores_of(lacking, one).of("brisque"), scores_of(voxels, one).of("brisque")
    )


def test_a_picture_is_one_slice() -> None:
    voxels = scans(np.random.default_rng(3))[:1, :, 16]

    assert scores_of(voxels).of("piqe").shape == (1, 1)


def test_a_blank_scan_has_no_score(real: AppearanceScores) -> None:
    """And the summary says null, with no comparison."""
    blank = scores_of(np.zeros((NUM_SCANS, 2, *GRID)))

    assert np.isnan(blank.overall("brisque")).all()
    assert summarize(blank, real) == {"brisque": None, "piqe": None}
