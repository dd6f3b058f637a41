"""Synthetic scans beside their nearest real ones: the right ones, and all of their voxels."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.reports.nearest_sheets import nearest_sheets
from sitesynth.reports.panels import Figure
from sitesynth.reports.study import Results, Study


GRID = (40, 36, 8)
"""Larger than the audit's thumbnails."""

CHANNELS = ("t1", "t1c", "flair", "mask")


def write(folder: Path, scans: np.ndarray, *, split: str, missing: int | None = None) -> ImageSet:
    """Write scans, mutants all, of which one may lack t1c."""
    rows = []
    for number, voxels in enumerate(scans):
        name = f"{split}-{number}"
        write_voxels(folder, name, voxels)
        has = {f"has_{channel}": "true" for channel in CHANNELS}
        has |= {"has_t1c": "false"} if number == missing else {}
        rows.append(
            {"scan_id": name, "patient_id": name, "site": "alder", "split": split, **has}
            | {"idh": "mutant"}
        )
    write_index(folder, channels=CHANNELS, grid=GRID, rows=rows, about={})
    return read_images(folder)


def tiles_of(figure: Figure) -> list[np.ndarray]:
    """Return the pixels of a sheet's tiles, row by row."""
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'href="data:image/png;base64,([^"]+)"', figure.svg)
    ]


@pytest.fixture
def figures(study: Study, results: Results, tmp_path: Path) -> list[Figure]:
    """Draw two synthetic scans: training scan 3, mirrored, and training scan 1."""
    rng = np.random.default_rng(5)
    train = rng.random((6, len(CHANNELS), *GRID)).astype(np.float16)
    drawn = np.stack([np.flip(train[3], axis=1), train[1]])
    mine = replace(
        results,
        images={"alder": write(tmp_path / "real", train, split="train", missing=1)},
        synthetic={"alder": write(tmp_path / "synthetic", drawn, split="synthetic")},
    )
    asked = replace(study, grid=study.grid.model_copy(update={"shape": GRID}))
    return list(nearest_sheets(asked, mine, "alder", most=3).figures)


def test_a_copy_stands_beside_its_original_in_every_view(figures: list[Figure]) -> None:
    """Mirrored as the copy is; a sequence that the original lacks is said to be missing."""
    (figure,) = figures
    tiles = tiles_of(figure)

    # Rows t1, t1c, flair axial, sagittal, coronal; in t1c the second original is missing.
    assert len(tiles) == 5 * 4 - 1
    for first, second in [(0, 1), (2, 3), (4, 5), (7, 8), (9, 10), (11, 12), (15, 16)]:
        np.testing.assert_array_equal(tiles[first], tiles[second])
    assert figure.svg.count(">missing<") == 1
    assert figure.svg.count(">real, 1.000<") == 2
    assert figure.svg.count(">synthetic<") == 2


def test_every_voxel_of_a_slice_is_a_pixel(figures: list[Figure]) -> None:
    tiles = tiles_of(figures[0])

    assert tiles[0].shape == (36, 40)
    assert tiles[11].shape == (8, 36)
    assert tiles[-1].shape == (8, 40)


def test_it_says_in_words_what_it_shows(figures: list[Figure]) -> None:
    assert "each left of the real training scan" in figures[0].alt
    assert figures[0].caption == "mutant; similarity 1.000, 1.000"
    assert figures[0].stage == "sample@alder"
