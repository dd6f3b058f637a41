"""Scans whose looks differ by a known fault."""

import numpy as np
import pytest
from scipy import ndimage

from sitesynth.quality.appearance import (
    AppearanceScores,
    summarize_appearance,
    summarize_artefacts,
)


NUM_SCANS = 6
GRID = (44, 40, 40)


def scans(
    rng: np.random.Generator, *, blur: float = 0.0, noise: float = 0.0, grain: float = 0.0
) -> np.ndarray:
    """Return heads of smooth anatomy and fine noise in air, with two sequences.

    Noise and grain, a checkerboard, are added to the first sequence, in grey levels.
    """
    found = np.zeros((NUM_SCANS, 2, *GRID))
    for scan in found:
        for sequence in scan:
            anatomy = ndimage.gaussian_filter(rng.normal(size=GRID), 3)
            texture = 0.5 + anatomy / anatomy.std() / 8 + rng.normal(0, 0.04, GRID)
            sequence[2:-2, 2:-2, 2:-2] = np.clip(ndimage.gaussian_filter(texture, blur), 0.1, 1)[
                2:-2, 2:-2, 2:-2
            ]
    board = (-1.0) ** np.indices(GRID).sum(axis=0)
    extra = noise * np.random.default_rng(8).standard_normal(GRID) + grain * board
    found[:, 0] += extra / 255 * (found[:, 0] > 0)
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


def summarize_faults(
    scores: AppearanceScores, reference: AppearanceScores | None
) -> dict[str, dict]:  # type: ignore[type-arg]
    names = [str(number) for number in range(NUM_SCANS)]
    return summarize_artefacts(
        scores, reference, patients=names, reference_patients=names, dims=3,
        sequences=("t1", "t2"), num_resamples=200, rng=np.random.default_rng(0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "fault", "amounts", "sign"),
    [
        ("noise_level", "noise", (0, 8, 16), 1),
        ("edge_sharpness", "blur", (0, 0.7, 1.2), -1),
        ("fine_power", "grain", (0, 8, 16), 1),
        ("fine_power", "blur", (0, 0.7, 1.2), -1),
    ],
)
def test_a_planted_fault_moves_its_score_by_its_amount(
    real: AppearanceScores, measure: str, fault: str, amounts: tuple[float, ...], sign: int
) -> None:
    """Fresh scans with more and more of it: farther away, to the right side, in order."""
    told = [
        summarize_faults(scores_of(scans(np.random.default_rng(1), **{fault: amount})), real)
        for amount in amounts
    ]
    shifts = [sign * found[measure]["difference"]["value"] for found in told]
    distances = [found[measure]["distance"]["value"] for found in told]

    assert told[0][measure]["difference"]["low"] < 0 < told[0][measure]["difference"]["high"]
    assert shifts == sorted(shifts)
    assert distances == sorted(distances)
    assert told[-1][measure]["distance"]["low"] > told[0][measure]["distance"]["high"]


def test_a_fault_of_one_sequence_shows_there(real: AppearanceScores) -> None:
    """Noise in t1 alone; t2 stays as near as it was."""
    noisy = summarize_faults(scores_of(scans(np.random.default_rng(1), noise=12)), real)
    same = summarize_faults(scores_of(scans(np.random.default_rng(1))), real)
    by_sequence = noisy["noise_level"]["sequences"]

    assert by_sequence["t1"]["difference"]["low"] > 3
    assert by_sequence["t2"] == same["noise_level"]["sequences"]["t2"]


def test_artefacts_of_a_reference_itself_are_described_alone(real: AppearanceScores) -> None:
    told = summarize_faults(real, None)["edge_sharpness"]

    assert set(told["planes"]) == {"sagittal", "coronal", "axial"}
    assert not {"difference", "distance"} & (set(told) | set(told["sequences"]["t1"]))


def test_a_sequence_that_nobody_has_is_null(real: AppearanceScores) -> None:
    one = np.tile([True, False], (NUM_SCANS, 1))
    told = summarize_faults(scores_of(scans(np.random.default_rng(1)), one), real)

    assert told["fine_power"]["sequences"]["t2"] is None
    assert told["fine_power"]["sequences"]["t1"]["n"] == NUM_SCANS


def test_a_blank_scan_has_no_artefact(real: AppearanceScores) -> None:
    blank = scores_of(np.zeros((NUM_SCANS, 2, *GRID)))

    assert set(summarize_faults(blank, real).values()) == {None}
