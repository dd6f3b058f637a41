"""N4: a planted bias field goes, the same way every time, and nothing else does."""

import math
from pathlib import Path

import numpy as np
import pytest

from sitesynth.errors import VolumeError
from sitesynth.phantom.consortium import Patient, draw_patients, render_patient
from sitesynth.preprocessing.bias import correct_bias
from sitesynth.preprocessing.geometry import find_foreground
from sitesynth.settings import load_settings
from sitesynth.volumes import Volume


PHANTOM = load_settings(Path(__file__).parents[3] / "studies/phantom.yaml").phantom
assert PHANTOM is not None

SCANNER = PHANTOM.sites["alder"].model_copy(
    update={
        "spacing_mm": (6.0, 6.0, 6.0),
        "contrast": 1.0,
        "bias_field": 0.0,
        "noise": 0.0,
        "blur_mm": 0.0,
    }
)
"""A perfect scanner, with large voxels."""

WHITE_MATTER = 100.0


@pytest.fixture(scope="module")
def patient() -> Patient:
    """A patient of whom no sequence is missing."""
    assert PHANTOM is not None
    return next(one for one in draw_patients("alder", PHANTOM, seed=1) if one.missing is None)


def scan(patient: Patient, *, bias_field: float) -> Volume:
    """The patient's T1, with a bias field of that amplitude and little noise."""
    scanner = SCANNER.model_copy(update={"bias_field": bias_field, "noise": 0.01})
    return render_patient(patient, scanner, seed=1)["t1"]


def variation(volume: Volume, patient: Patient) -> float:
    """Coefficient of variation over the voxels that are all white matter."""
    clean = render_patient(patient, SCANNER, seed=1)["t1"]
    white = volume.voxels[clean.voxels == WHITE_MATTER]
    assert white.size > 500
    return float(white.std() / white.mean())


def corrected(volume: Volume, *, iterations: tuple[int, ...] = (2, 2)) -> Volume:
    return correct_bias(
        volume, find_foreground([volume]), shrink=1, iterations=iterations, named="t1.nii.gz"
    )


def test_white_matter_becomes_even(patient: Patient) -> None:
    """A field of 60 % peak to peak; what varies then is mostly noise."""
    volume = scan(patient, bias_field=0.6)
    after = corrected(volume, iterations=(10, 10, 10))

    assert variation(volume, patient) > 0.06
    assert variation(after, patient) < 0.5 * variation(volume, patient)
    assert np.array_equal(after.affine, volume.affine)


def test_an_even_scan_stays_even(patient: Patient) -> None:
    """Without a planted field, white matter varies by little more than it did."""
    volume = scan(patient, bias_field=0.0)

    assert variation(corrected(volume), patient) < variation(volume, patient) + 0.015


def test_the_level_of_brightness_stays(patient: Patient) -> None:
    """The field's logarithm has mean 0 where there is signal, so the unit of intensity is kept."""
    volume = scan(patient, bias_field=0.6)
    head = find_foreground([volume]) & (volume.voxels > 0)
    ratio = corrected(volume).voxels[head] / volume.voxels[head]

    assert math.isclose(np.log(ratio).mean(), 0, abs_tol=1e-4)


def test_two_runs_give_the_same_bytes(patient: Patient) -> None:
    volume = scan(patient, bias_field=0.3)

    assert corrected(volume).voxels.tobytes() == corrected(volume).voxels.tobytes()


def test_a_plane_is_corrected_too() -> None:
    """Two dimensions: a disc with a brightness that doubles from one side to the other."""
    x, y = np.indices((48, 48))
    disc = (x - 24) ** 2 + (y - 24) ** 2 < 400
    even = np.where(disc, 100 + 20 * ((x // 6 + y // 6) % 2), 0).astype(np.float32)
    shaded = Volume(even * (1 + x / 47).astype(np.float32), np.eye(4))
    after = correct_bias(shaded, disc, shrink=1, iterations=(20, 20), named="xray.png")
    bright = even == 120

    before = shaded.voxels[bright].std() / shaded.voxels[bright].mean()
    assert after.voxels[bright].std() / after.voxels[bright].mean() < 0.5 * before


def test_a_head_without_positive_voxels_is_refused(patient: Patient) -> None:
    """A logarithm of nothing: real-part images may be all negative."""
    volume = scan(patient, bias_field=0.0)
    negative = Volume(-1 - volume.voxels, volume.affine)

    with pytest.raises(VolumeError, match=r"t1\.nii\.gz: N4 needs voxels above 0 inside the head"):
        correct_bias(
            negative, find_foreground([volume]), shrink=2, iterations=(5,), named="t1.nii.gz"
        )


def test_a_constant_head_is_left_as_it_is() -> None:
    """One brightness everywhere has no field; the range of intensities is refused later."""
    volume = Volume(np.full((16, 16, 16), 7.0, np.float32), np.eye(4))
    everywhere = np.ones((16, 16, 16), dtype=bool)
    after = correct_bias(volume, everywhere, shrink=1, iterations=(5,), named="t1.nii.gz")

    assert np.array_equal(after.voxels, volume.voxels)
