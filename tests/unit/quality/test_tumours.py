"""Tumours of known size, place and brightness."""

import numpy as np
import pytest

from sitesynth.features import Extractor
from sitesynth.quality.tumours import compare_tumours, tumour_statistics


EXTRACTOR = Extractor(("t1c",), has_mask=True, dims=3)
GRID = (20, 20, 10)
SPACING_MM = (2.0, 2.0, 5.0)


def scan(*, half: int, brightness: float, right: int = 0) -> np.ndarray:
    """Return a head at 0.5 with a box of a tumour, `right` voxels off the centre."""
    voxels = np.full((2, *GRID), 0.5)
    voxels[1] = 0
    box = (slice(10 - half + right, 10 + half + right), slice(10 - half, 10 + half), slice(3, 7))
    if half:
        voxels[0][box] = brightness
        voxels[1][box] = 1
    return voxels


def statistics(*voxels: np.ndarray) -> dict[str, np.ndarray]:
    present = np.array([True, True])
    features = np.stack([EXTRACTOR.extract(found, present) for found in voxels])
    return tumour_statistics(features, EXTRACTOR, grid=GRID, spacing_mm=SPACING_MM)


def test_volume_place_and_enhancement_by_hand() -> None:
    """4 x 4 x 4 voxels of 20 mm3, three voxels of 2 mm to the right, 0.3 above the head."""
    found = statistics(scan(half=2, brightness=0.8, right=3))

    assert found["volume, ml"][0] == pytest.approx(64 * 20 / 1000)
    assert found["centre right, mm"][0] == pytest.approx(6)
    assert found["centre anterior, mm"][0] == pytest.approx(0)
    assert found["t1c contrast"][0] == pytest.approx(0.3)
    assert found["t1c rim"][0] == pytest.approx(0)


def test_a_scan_without_tumour_has_volume_zero_and_no_place() -> None:
    found = statistics(scan(half=0, brightness=0))

    assert found["volume, ml"][0] == 0
    assert np.isnan(found["centre right, mm"][0])
    assert np.isnan(found["t1c contrast"][0])


def test_without_a_voxel_size_volumes_are_in_voxels() -> None:
    features = EXTRACTOR.extract(scan(half=2, brightness=0.8), np.array([True, True]))[None]
    found = tumour_statistics(features, EXTRACTOR, grid=GRID, spacing_mm=None)

    assert found["volume, voxels"][0] == pytest.approx(64)


def test_a_class_whose_tumours_do_not_enhance_is_told() -> None:
    """Real mutants are dim and wild types bright; the generator draws all of them bright."""
    labels = np.arange(12) % 2
    rng = np.random.default_rng(0)
    real = [
        scan(half=2, brightness=(0.9 if label == 0 else 0.6) + rng.normal(0, 0.01))
        for label in labels
    ]
    drawn = [scan(half=2, brightness=0.9 + rng.normal(0, 0.01)) for _ in labels]
    names = tuple(str(number) for number in range(12))
    found = compare_tumours(
        statistics(*real),
        statistics(*real),
        statistics(*drawn),
        labels=(labels, labels, labels),
        patients=(names, tuple(f"held out {name}" for name in names), names),
        classes=("wildtype", "mutant"),
        num_resamples=100,
        rng=rng,
    )

    wrong = found["mutant"]["t1c contrast"]["synthetic"]
    right = found["wildtype"]["t1c contrast"]["synthetic"]
    assert wrong["difference"]["value"] == pytest.approx(0.3, abs=0.02)
    assert wrong["distance"]["low"] > 0.25
    assert right["difference"]["low"] < 0.01
    assert found["all"]["volume, ml"]["synthetic"]["difference"]["value"] == pytest.approx(0)
    assert found["mutant"]["t1c contrast"]["real"]["n"] == 12


def test_a_study_without_masks_has_no_tumour() -> None:
    extractor = Extractor(("t1c",), has_mask=False, dims=3)

    assert tumour_statistics(np.zeros((1, 9)), extractor, grid=GRID, spacing_mm=None) == {}
