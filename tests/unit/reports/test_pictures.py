"""Sheets show the right slice, the right way up."""

import base64
import io
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from sitesynth.reports.pictures import Scan, View, draw_sheet, most_pixels, views_of
from sitesynth.slices import slice_of


GRID = (4, 6, 8)


def scan(voxels: np.ndarray, mask: np.ndarray, *, present: bool = True) -> Scan:
    """Return a scan of one sequence and its mask."""
    return Scan(("t1", "mask"), np.stack([voxels, mask]), (present, True))


def pixels_of(svg: str) -> list[np.ndarray]:
    """Return the gray tiles of a sheet, 0 to 255."""
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'href="data:image/png;base64,([^"]+)"', svg)
    ]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_is_the_one_with_most_mask(axis: int) -> None:
    """A single larger plane of mask, off the middle, is chosen across each axis."""
    mask = np.zeros(GRID, dtype=bool)
    mask[2, 3, 5] = True
    mask[np.arange(3) if axis != 0 else 1, np.arange(3) if axis != 1 else 1, 1] = True
    found = slice_of(np.zeros(GRID), mask, axis=axis)

    areas = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    assert found is not None
    assert areas[found] == areas.max()


def test_without_a_mask_the_slice_is_the_middle() -> None:
    """Half of eight is four."""
    assert slice_of(np.zeros(GRID), np.zeros(GRID, dtype=bool), axis=2) == 4


def test_an_axial_slice_hangs_with_right_on_the_left_and_anterior_on_top() -> None:
    """Brightest: right, anterior (last index of both); it is the top left pixel."""
    voxels = np.zeros(GRID)
    voxels[-1, -1, 4] = 1.0
    svg = draw_sheet(
        [scan(voxels, np.zeros(GRID))], [View("t1", 2)], spacing_mm=None, longest_px=64
    )
    (tile,) = pixels_of(svg)

    assert tile.shape == (6, 4)
    assert tile[0, 0] == 255
    assert tile.sum() == 255


def test_a_picture_is_shown_as_its_file_is() -> None:
    """Axis 0 to the image's right, axis 1 to its top: the last of both is the top right pixel."""
    voxels = np.zeros((3, 5))
    voxels[-1, -1] = 1.0
    svg = draw_sheet(
        [scan(voxels, np.zeros((3, 5)))], [View("t1", None)], spacing_mm=None, longest_px=64
    )
    (tile,) = pixels_of(svg)

    assert tile[0, -1] == 255


def test_real_and_synthetic_share_one_window() -> None:
    """Half is half, however bright the rest of the scan: 0.5 is 128 in each."""
    dim, bright = np.full(GRID, 0.5), np.full(GRID, 0.5)
    bright[0] = 1.0
    svg = draw_sheet(
        [scan(dim, np.zeros(GRID)), scan(bright, np.zeros(GRID))],
        [View("t1", 2)],
        spacing_mm=None,
        longest_px=64,
    )
    first, second = pixels_of(svg)

    assert first[0, 0] == second[0, 0] == 128


def test_a_slice_keeps_its_proportions() -> None:
    """8 slices of 6 mm are as tall as 6 columns of 3 mm are wide times 48 to 18."""
    svg = draw_sheet(
        [scan(np.ones(GRID), np.zeros(GRID))],
        [View("t1", 0)],
        spacing_mm=(3.0, 3.0, 6.0),
        longest_px=64,
    )
    image = ET.fromstring(svg).find(".//{http://www.w3.org/2000/svg}image")  # noqa: S314

    assert image is not None
    assert float(image.attrib["height"]) == 100.0
    assert float(image.attrib["width"]) == pytest.approx(100 * 18 / 48, abs=0.1)


def test_a_missing_sequence_is_said_and_not_shown_as_black() -> None:
    """Zeros in its array are no scan."""
    svg = draw_sheet(
        [scan(np.zeros(GRID), np.zeros(GRID), present=False)],
        [View("t1", 2)],
        spacing_mm=None,
        longest_px=64,
    )

    assert "missing" in svg
    assert not pixels_of(svg)


def test_the_outline_surrounds_the_mask() -> None:
    """A mask over the patient's right half lies in the left half of the tile, 50 of 100 wide."""
    mask = np.zeros((4, 4, 4))
    mask[2:] = 1.0
    svg = draw_sheet([scan(mask, mask)], [View("t1", 2)], spacing_mm=None, longest_px=64)
    (path,) = re.findall(r' d="M([^"]+)"', svg)
    columns = [float(point.split()[0]) for point in re.split("[LM]", path)]

    assert 0.0 <= min(columns) < 12.5
    assert max(columns) == pytest.approx(50.0, abs=0.1)


def test_volumes_have_three_planes_and_pictures_one() -> None:
    """The last sequence is shown in all planes."""
    assert [view.title for view in views_of(("t1", "flair"), num_axes=3)] == [
        "t1 axial",
        "flair axial",
        "flair sagittal",
        "flair coronal",
    ]
    assert [view.title for view in views_of(("xray",), num_axes=2)] == ["xray"]


def test_many_tiles_are_small_tiles() -> None:
    """A hundred times as many: a tenth of the edge, so that the page weighs the same."""
    assert most_pixels(100) == 10 * most_pixels(10_000)
