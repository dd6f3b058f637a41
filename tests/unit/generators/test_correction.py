"""Samples of known blur and grey levels get back what they lack, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from sitesynth.errors import TrainingError
from sitesynth.generators.correction import (
    NUM_BANDS,
    SequenceCorrection,
    bands_of,
    correct,
    fit_correction,
    power_of,
    read_correction,
    sharpened,
    write_correction,
)
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.settings import CorrectionSettings


SETTINGS = CorrectionSettings(samples_per_scan=1, max_gain=16.0)
FLAT = (1.0,) * NUM_BANDS


def pictures(count: int, grid: tuple[int, ...], *, seed: int, blur: float) -> np.ndarray:
    """Return soft blobs with some grain, two sequences of them, in [0, 1]."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, 2, *grid))
    axes = tuple(range(2, noise.ndim))
    smooth = ndimage.gaussian_filter(noise, 1.0, axes=axes)
    smooth = smooth / smooth.std() + 0.2 * noise
    smooth = ndimage.gaussian_filter(smooth, blur, axes=axes) if blur else smooth
    return np.asarray((0.5 + 0.12 * smooth).clip(0, 1), dtype=np.float32)


def image_set(folder: Path, voxels: np.ndarray, presence: np.ndarray) -> ImageSet:
    """Write scans of two sequences as a site's training scans, and read them."""
    rows = []
    for number, (scan, has) in enumerate(zip(voxels, presence, strict=True)):
        name = f"scan{number}"
        write_voxels(folder, name, scan * has.reshape(2, *[1] * (scan.ndim - 1)))
        shown = {f"has_{c}": str(bool(h)).lower() for c, h in zip(("t1", "t2"), has, strict=True)}
        rows.append(
            {"scan_id": name, "patient_id": name, "site": "alder", "split": "train", "idh": "a"}
            | shown
        )
    write_index(folder, channels=("t1", "t2"), grid=voxels.shape[2:], rows=rows, about={})
    return read_images(folder)


@pytest.mark.parametrize("grid", [(16, 16, 8), (48, 40)])
def test_blurred_and_greyed_samples_get_back_power_and_levels(
    tmp_path: Path, grid: tuple[int, ...]
) -> None:
    """Of other scans than those it was fitted to, all within a tenth; without it, far off."""
    real = pictures(24, grid, seed=1, blur=0.0)
    scans = image_set(tmp_path, real, np.ones((24, 2), dtype=bool))
    drawn = 0.3 + 0.4 * pictures(24, grid, seed=2, blur=0.5)
    found = fit_correction(drawn, scans, SETTINGS)
    fresh = 0.3 + 0.4 * pictures(24, grid, seed=3, blur=0.5)
    mended = correct(fresh, found)
    bands = bands_of(grid)

    def strength(samples: np.ndarray) -> np.ndarray:
        return np.sqrt(sum(power_of(sample, bands) for sample in samples[:, 0]))

    # The first band holds few frequencies, and so chance; the last one many of unlike power.
    middle = slice(1, NUM_BANDS - 1)
    assert np.abs(strength(mended) / strength(real) - 1)[middle].max() < 0.1
    assert np.abs(strength(fresh) / strength(real) - 1)[middle].min() > 0.3
    shares = [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(
        np.quantile(mended, shares), np.quantile(real, shares), rtol=0, atol=0.02
    )
    assert mended.dtype == np.float32
    assert mended.min() >= 0
    assert mended.max() <= 1


def test_samples_that_lack_nothing_hardly_change(tmp_path: Path) -> None:
    real, drawn = (pictures(40, (16, 16, 8), seed=seed, blur=0.0) for seed in (1, 2))
    scans = image_set(tmp_path, real, np.ones((40, 2), dtype=bool))
    found = fit_correction(drawn, scans, SETTINGS)

    assert np.abs(correct(drawn, found) - drawn).mean() < 0.01


def test_no_band_is_amplified_beyond_the_limit(tmp_path: Path) -> None:
    real = pictures(8, (16, 16, 8), seed=1, blur=0.0)
    scans = image_set(tmp_path, real, np.ones((8, 2), dtype=bool))
    drawn = pictures(8, (16, 16, 8), seed=2, blur=1.5)
    found = fit_correction(drawn, scans, CorrectionSettings(samples_per_scan=1, max_gain=1.5))

    assert max(found[0].gains) == 1.5
    assert min(found[0].gains) >= round(1 / 1.5, 4)


def test_scans_without_a_sequence_say_nothing_of_it(tmp_path: Path) -> None:
    """Their zeros are not grey levels: the rest alone is looked at, or nothing."""
    real = pictures(8, (16, 16, 8), seed=1, blur=0.0)
    drawn = pictures(8, (16, 16, 8), seed=2, blur=0.5)
    has = np.ones((8, 2), dtype=bool)
    has[4:, 1] = False
    some = fit_correction(drawn, image_set(tmp_path / "some", real, has), SETTINGS)
    first = fit_correction(
        drawn, image_set(tmp_path / "first", real[:4], np.ones((4, 2), dtype=bool)), SETTINGS
    )
    none = fit_correction(drawn, image_set(tmp_path / "none", real, has & [True, False]), SETTINGS)

    assert some[1] == first[1]
    assert some[0] != first[0]
    assert none[1] == SequenceCorrection(gains=FLAT, drawn=(0.0, 1.0), real=(0.0, 1.0))
    np.testing.assert_allclose(correct(drawn, none)[:, 1], drawn[:, 1], atol=1e-6)


def test_a_generator_that_draws_one_grey_is_an_error(tmp_path: Path) -> None:
    real = pictures(4, (8, 8, 8), seed=1, blur=0.0)
    scans = image_set(tmp_path, real, np.ones((4, 2), dtype=bool))

    with pytest.raises(TrainingError, match=r"generator of alder draws of t1 are alike.*correct"):
        fit_correction(np.full_like(real, 0.5), scans, SETTINGS)


def test_the_mask_is_let_be_and_the_mean_kept() -> None:
    samples = pictures(2, (8, 8, 8), seed=1, blur=0.0)
    told = SequenceCorrection(gains=(2.0,) * NUM_BANDS, drawn=(0.0, 1.0), real=(0.0, 1.0))

    np.testing.assert_array_equal(correct(samples, (told,))[:, 1], samples[:, 1])
    sharp = sharpened(samples[:, 0] * 0.2 + 0.4, np.full(NUM_BANDS, 2.0), bands_of((8, 8, 8)))
    np.testing.assert_allclose(sharp.mean(), (samples[:, 0] * 0.2 + 0.4).mean(), rtol=1e-6)


def test_a_correction_is_written_and_read(tmp_path: Path) -> None:
    told = SequenceCorrection(gains=FLAT, drawn=(0.1, 0.9), real=(0.0, 1.0))
    write_correction(tmp_path / "one.json", (told,))
    write_correction(tmp_path / "none.json", None)

    assert read_correction(tmp_path / "one.json") == (told,)
    assert read_correction(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gains": FLAT[1:]}, "at least 13 items"),
        ({"gains": (float("nan"), *FLAT[1:])}, "gains.0"),
        ({"gains": (17.0, *FLAT[1:])}, "less than or equal to 16"),
        ({"drawn": (0.5, 0.5)}, "drawn levels must rise"),
        ({"real": (0.5, 0.4)}, "real ones must not fall"),
        ({"real": (0.0, 0.5, 1.0)}, "2 levels become 3"),
        ({"real": (0.0, 1.5)}, "less than or equal to 1"),
        ({"real": (0.0, float("nan"))}, "1.real|real.1"),
    ],
)
def test_a_correction_from_another_site_is_checked(
    changed: dict[str, tuple[float, ...]], message: str
) -> None:
    told = {"gains": FLAT, "drawn": (0.0, 1.0), "real": (0.0, 1.0)}
    SequenceCorrection.model_validate(told)

    with pytest.raises(ValidationError, match=message):
        SequenceCorrection.model_validate(told | changed)
