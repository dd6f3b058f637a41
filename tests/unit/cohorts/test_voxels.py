"""Files whose every measure is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sitesynth.cohorts.voxels import FileMeasure, as_record, corner_distance_mm, measure_scan
from sitesynth.volumes import Volume, write_nifti


WriteScan = Callable[..., dict[str, str]]


def written(
    folder: Path, name: str, voxels: np.ndarray, affine: np.ndarray | None = None
) -> dict[str, str]:
    place = np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine
    volume = Volume(voxels.astype(np.float32), place)
    write_nifti(folder / f"{name}.nii.gz", volume, dtype=np.float32)
    return {name: f"{name}.nii.gz"}


def measured(folder: Path, paths: dict[str, str]) -> dict[str, FileMeasure]:
    return {
        measure.column: measure
        for measure in measure_scan("s1", paths, root=folder, mask_labels=None)
    }


def test_a_ramp_is_measured_by_hand(tmp_path: Path) -> None:
    """The whole numbers 0 to 23 have mean 11.5, so half of the voxels lie above it."""
    ramp = np.arange(24).reshape(2, 3, 4)

    t1 = measured(tmp_path, written(tmp_path, "t1", ramp))["t1"]

    assert (t1.low, t1.high, t1.foreground_fraction) == (0.0, 23.0, 0.5)
    assert (t1.shape, t1.spacing_mm, t1.orientation) == ("2 x 3 x 4", (2.0, 2.0, 3.0), "RAS")
    assert (t1.num_nonfinite, t1.num_channels, t1.error, t1.twin) == (0, 1, None, None)
    assert t1.num_values is None


def test_broken_voxels_are_counted_and_left_out_of_the_range(tmp_path: Path) -> None:
    ramp = np.arange(24.0).reshape(2, 3, 4)
    ramp[0, 0, :3] = [np.nan, np.inf, -np.inf]

    t1 = measured(tmp_path, written(tmp_path, "t1", ramp))["t1"]

    assert (t1.num_nonfinite, t1.low, t1.high) == (3, 3.0, 23.0)


def test_a_volume_of_nan_has_no_range(tmp_path: Path) -> None:
    t1 = measured(tmp_path, written(tmp_path, "t1", np.full((2, 2, 2), np.nan)))["t1"]

    assert (t1.num_nonfinite, t1.low, t1.high) == (8, None, None)


def test_a_mask_is_measured_by_its_labels(tmp_path: Path) -> None:
    """Half a voxel inside is what linear resampling leaves behind."""
    mask = np.array([0, 0, 0, 0, 1, 2, 2, 0.5]).reshape(2, 2, 2)

    found = measured(tmp_path, written(tmp_path, "mask", mask))["mask"]

    assert (found.foreground_fraction, found.num_fractional, found.num_values) == (0.5, 1, 4)


def test_a_file_that_cannot_be_read_says_why_and_the_others_are_measured(
    tmp_path: Path, write_scan: WriteScan
) -> None:
    paths = write_scan("s1")
    whole = (tmp_path / paths["t1"]).read_bytes()
    (tmp_path / paths["t1"]).write_bytes(whole[: len(whole) // 2])

    found = measured(tmp_path, paths)

    assert "truncated" in (found["t1"].error or "")
    assert found["t1"].shape is None
    assert found["flair"].reference_shape == "6 x 5 x 4"


def test_shapes_are_compared_with_the_first_sequence(tmp_path: Path, write_scan: WriteScan) -> None:
    paths = write_scan("s1") | written(tmp_path, "flair", np.arange(24).reshape(2, 3, 4))

    flair = measured(tmp_path, paths)["flair"]

    assert (flair.shape, flair.reference_shape) == ("2 x 3 x 4", "6 x 5 x 4")
    assert flair.affine_offset_mm is None


def test_a_shifted_grid_is_off_by_its_shift(tmp_path: Path) -> None:
    """3, 4 and 12 mm along the axes are 13 mm."""
    ramp = np.arange(24).reshape(2, 3, 4)
    moved = np.diag([2.0, 2.0, 3.0, 1.0])
    moved[:3, 3] = [3, 4, 12]
    paths = written(tmp_path, "t1", ramp) | written(tmp_path, "flair", ramp + 1, moved)

    found = measured(tmp_path, paths)

    assert found["t1"].affine_offset_mm == 0
    assert found["flair"].affine_offset_mm == pytest.approx(13)


def test_a_longer_voxel_is_felt_at_the_far_corner() -> None:
    """Four voxels have three steps between their centres, each half a millimetre longer."""
    longer = np.diag([1.0, 1.0, 1.5, 1.0])

    assert corner_distance_mm(np.eye(4), longer, (2, 2, 4)) == pytest.approx(1.5)
    assert corner_distance_mm(np.eye(4), longer, (2, 2)) == 0


def test_the_same_voxels_have_one_digest_under_any_name(tmp_path: Path) -> None:
    """Whatever compression or voxel type the file has; shape is part of the image."""
    ramp = np.arange(24).reshape(2, 3, 4)
    write_nifti(tmp_path / "b.nii", Volume(ramp.astype(np.float32), np.eye(4)), dtype=np.int16)
    paths = written(tmp_path, "t1", ramp) | {"flair": "b.nii"}
    turned = measured(tmp_path, written(tmp_path, "t2", ramp.reshape(2, 4, 3)))["t2"]

    found = measured(tmp_path, paths)

    assert found["t1"].voxel_sha256 == found["flair"].voxel_sha256
    assert found["flair"].twin == "t1"
    assert turned.voxel_sha256 != found["t1"].voxel_sha256


def test_a_picture_has_channels_and_no_size(tmp_path: Path) -> None:
    pixels = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    image = measured(tmp_path, {"image": "a.png"})["image"]

    assert (image.shape, image.num_channels) == ("4 x 2", 3)
    assert (image.spacing_mm, image.orientation, image.affine_offset_mm) == (None, None, 0)


def test_a_record_leaves_out_what_was_not_measured() -> None:
    bare = FileMeasure(scan_id="s1", column="t1", path="a.nii", error="no")

    assert as_record(bare) == {"scan_id": "s1", "column": "t1", "path": "a.nii", "error": "no"}


def test_a_mask_holds_the_labels_that_are_asked_for(tmp_path: Path) -> None:
    """BraTS's necrosis (1) and enhancement (4) are two of eight voxels, the oedema (2) aside."""
    paths = written(tmp_path, "mask", np.array([0, 0, 0, 0, 1, 2, 2, 4]).reshape(2, 2, 2))

    (mask,) = measure_scan("s1", paths, root=tmp_path, mask_labels=(1, 4))
    (none,) = measure_scan("s1", paths, root=tmp_path, mask_labels=(3,))

    assert (mask.foreground_fraction, none.foreground_fraction) == (0.25, 0.0)


def test_a_brain_mask_is_a_mask_whatever_the_tumours_labels_are(tmp_path: Path) -> None:
    """It may be the image of a labelling: all that is not 0 is brain."""
    brain = written(tmp_path, "brain_mask", np.array([0, 0, 3, 4, 41, 42, 2, 2]).reshape(2, 2, 2))

    (found,) = measure_scan("s1", brain, root=tmp_path, mask_labels=(1, 4))

    assert (found.foreground_fraction, found.num_fractional) == (0.75, 0)
