"""DICOM segmentations (SEG), as masks of the volumes that they were drawn on.

A segmentation is one file with a frame for each segment and slice, often without the empty ones. So
frames are put where they say that they lie, and each must lie on a slice of the volume, pixel on
voxel. All segments are inside the mask.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from sitesynth.errors import VolumeError
from sitesynth.importers.dicom_slices import DAMAGED, LPS_TO_RAS
from sitesynth.volumes import MAX_VOXELS, Volume


__all__ = ["read_mask"]

MAX_OFFSET: Final = 0.1
"""How far a frame's pixels may lie from the volume's voxels, in voxels."""

HALF: Final = 0.5
"""Of a fractional segmentation: the share from which a voxel is inside."""


def read_mask(path: Path, volumes: Sequence[Volume]) -> Volume:
    """Read a segmentation as the mask of the first volume whose voxels it lies on.

    Args:
        path: A DICOM SEG file.
        volumes: What it may have been drawn on; of one patient.

    Returns:
        1 inside any segment and 0 outside, on the volume's grid.

    Raises:
        VolumeError: If the file cannot be read, or lies on none of the volumes.
    """
    frames, corners = _read_frames(path)
    for volume in volumes:
        levels = _levels_in(volume, corners, (frames.shape[2], frames.shape[1]))
        if levels is not None:
            voxels = np.zeros(volume.voxels.shape, dtype=np.float32)
            for frame, level in zip(frames, levels, strict=True):
                voxels[:, :, level][frame.T] = 1.0
            return Volume(voxels, volume.affine)
    raise VolumeError(
        f"{path}: the segmentation lies on the voxels of none of the patient's {len(volumes)} "
        "sequences that went in. Import the series that it was drawn on, or resample it (3D "
        "Slicer, dcmqi) and use `sitesynth import folder`."
    )


def _read_frames(path: Path) -> tuple[np.ndarray, Float64[np.ndarray, "frames 3 3"]]:
    """Return frames (true inside), and of each the centres of three corner pixels, RAS in mm.

    The corners are the first pixel, the last of the first row, and the last of the first column.
    """
    try:
        image = dcmread(path)
        rows, columns, count = int(image.Rows), int(image.Columns), int(image.NumberOfFrames)
        if rows * columns * count > MAX_VOXELS:
            raise VolumeError(f"{path}: the segmentation has more than {MAX_VOXELS} pixels.")
        most = float(image.get("MaximumFractionalValue", 1))
        frames = np.asarray(image.pixel_array).reshape(count, rows, columns) >= HALF * most
        corners = np.stack([_corners(image, number) for number in range(count)])
    except (InvalidDicomError, *DAMAGED) as error:
        raise VolumeError(
            f"{path}: the segmentation cannot be read ({error}). Export it again, uncompressed, or "
            "convert it to NIfTI and use `sitesynth import folder`."
        ) from error
    return frames, corners @ LPS_TO_RAS.T


def _corners(image: Dataset, number: int) -> Float64[np.ndarray, "3 3"]:
    """Return where three corner pixels of a frame lie, LPS in mm."""

    def told(group: str, name: str) -> Float64[np.ndarray, " n"]:
        # What is alike for all frames may be said once.
        frame = image.PerFrameFunctionalGroupsSequence[number]
        holder: Any = frame if group in frame else image.SharedFunctionalGroupsSequence[0]
        return np.array(getattr(getattr(holder, group)[0], name), dtype=np.float64)

    first = told("PlanePositionSequence", "ImagePositionPatient")
    axes = told("PlaneOrientationSequence", "ImageOrientationPatient").reshape(2, 3)
    between_rows, between_columns = told("PixelMeasuresSequence", "PixelSpacing")
    along_row = axes[0] * between_columns * (int(image.Columns) - 1)
    down_column = axes[1] * between_rows * (int(image.Rows) - 1)
    return np.stack([first, first + along_row, first + down_column])


def _levels_in(
    volume: Volume, corners: Float64[np.ndarray, "frames 3 3"], size: tuple[int, int]
) -> list[int] | None:
    """Return the slice of the volume on which each frame lies; None if one lies on none.

    Args:
        volume: As `stack_slices` makes it: the first axis along a row, the second down a column.
        corners: Of each frame, RAS.
        size: Columns and rows of a frame.
    """
    if volume.voxels.shape[:2] != size:
        return None
    to_voxels = np.linalg.inv(volume.affine)
    places = corners @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    levels = np.rint(places[:, 0, 2])
    last_column, last_row = size[0] - 1, size[1] - 1
    for corner, (column, row) in enumerate(((0, 0), (last_column, 0), (0, last_row))):
        expected = np.stack([np.full_like(levels, column), np.full_like(levels, row), levels], 1)
        # Written so that a place that is no number is none on the grid.
        if not (np.abs(places[:, corner] - expected) <= MAX_OFFSET).all():
            return None
    if levels.min() < 0 or levels.max() >= volume.voxels.shape[2]:
        return None
    return [int(level) for level in levels]
