"""A thumbnail shows the right slice, the right way round, of the scans that matter most."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sitesynth.cohorts.thumbnails import choose_scans, draw_thumbnails
from sitesynth.volumes import Volume, write_nifti, write_png


def result_of(files: dict[str, Any], **changes: Any) -> dict[str, Any]:
    scan = {"scan_id": "s", "files": files}
    return {"scans": [scan], "quarantine": [], "outliers": []} | changes


def pixels(uri: str) -> np.ndarray:
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("flipped", [False, True], ids=["RAS", "LPS"])
def test_right_is_left_and_anterior_on_top(tmp_path: Path, *, flipped: bool) -> None:
    """A bright right anterior quarter is at the upper left, however the voxels are stored."""
    voxels = np.zeros((8, 8, 3), np.float32)
    voxels[4:, 4:, :] = 9.0
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    if flipped:
        voxels, affine = voxels[::-1, ::-1].copy(), affine @ np.diag([-1.0, -1.0, 1.0, 1.0])
    write_nifti(tmp_path / "a.nii", Volume(voxels, affine), dtype=np.float32)

    found = pixels(draw_thumbnails(result_of({"t1": {"path": "a.nii"}}), root=tmp_path)["s", "t1"])

    assert found.shape == (96, 96)
    assert found[:40, :40].min() == 255
    assert found[56:].max() == found[:, 56:].max() == 0


def test_the_slice_is_the_masks_largest(tmp_path: Path) -> None:
    """The image is bright in slice 5 of 6 only, where the mask is; a slice is 1 x 2 cm."""
    mask = np.zeros((10, 20, 6), np.float32)
    mask[2:8, 4:16, 5] = 1
    mask[4, 4, 1] = 1
    for name, voxels in (("t1", 7 * mask), ("mask", mask)):
        write_nifti(tmp_path / f"{name}.nii", Volume(voxels, np.eye(4)), dtype=np.float32)
    files = {name: {"path": f"{name}.nii"} for name in ("t1", "mask")}

    drawn = draw_thumbnails(result_of(files), root=tmp_path)

    for column in ("t1", "mask"):
        found = pixels(drawn["s", column])
        assert found.shape == (96, 48)
        assert found[48, 24] == 255
        assert found[4, 4] == 0


def test_a_picture_is_shown_as_it_is_stored(tmp_path: Path) -> None:
    rows = np.zeros((4, 8), np.float32)
    rows[0, :] = 1.0  # on top
    write_png(tmp_path / "a.png", Volume(np.ascontiguousarray(rows[::-1].T), np.eye(4)))

    drawn = draw_thumbnails(result_of({"xray": {"path": "a.png"}}), root=tmp_path)
    found = pixels(drawn["s", "xray"])

    assert found.shape == (48, 96)
    assert (found[0].min(), found[-1].max()) == (255, 0)


def test_files_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    files = {"t1": {"path": "gone.nii", "error": "does not exist"}}

    assert draw_thumbnails(result_of(files), root=tmp_path) == {}


def test_odd_voxels_are_drawn(tmp_path: Path) -> None:
    """Nothing to see in them, and nothing to stumble over."""
    voxels = np.full((4, 4, 2), np.nan, np.float32)
    voxels[0, 0], voxels[1, 1] = np.inf, np.finfo(np.float32).max
    voxels[2, 2] = -np.finfo(np.float32).max
    write_nifti(tmp_path / "a.nii", Volume(voxels, np.eye(4)), dtype=np.float32)

    drawn = draw_thumbnails(result_of({"t1": {"path": "a.nii"}}), root=tmp_path)

    assert pixels(drawn["s", "t1"]).shape == (96, 96)


def test_what_was_set_aside_or_flagged_is_shown_first() -> None:
    """And twelve at most."""
    result = {
        "scans": [{"scan_id": f"s{number}", "files": {}} for number in range(20)],
        "quarantine": [{"scan_id": "s9"}, {"scan_id": "s9"}],
        "outliers": [{"scan_id": "s15"}, {"scan_id": "s9"}],
    }

    shown = [scan["scan_id"] for scan in choose_scans(result)]

    assert shown == ["s9", "s15", *(f"s{number}" for number in range(9)), "s10"]
