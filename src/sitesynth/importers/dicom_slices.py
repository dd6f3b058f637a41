"""Slices of DICOM series, read and stacked to volumes.

A hospital's export is a heap of single-frame slices. Their tags say which slices are one series,
whose it is, and where each slice lies; a series becomes one volume only if its slices are parallel,
of one size and evenly spaced.

Affines are RAS+; DICOM's axes point left, posterior and superior.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float64
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from sitesynth.errors import VolumeError
from sitesynth.volumes import MAX_VOXELS, Volume


__all__ = ["DAMAGED", "LPS_TO_RAS", "Slice", "read_slice", "stack_slices"]

TAGS = (
    "PatientID",
    "PatientName",
    "StudyInstanceUID",
    "StudyDate",
    "SeriesInstanceUID",
    "SeriesDescription",
    "SOPClassUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
)
"""All that is looked at beside the pixels."""

DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)
"""What pydicom and its decoders raise on damaged or unknown content."""

MAX_TILT = 1e-3
"""How far the direction cosines of a series' slices may differ."""

MAX_GAP = 0.05
"""How far the distance of two slices may lie from the series' own, as a share of it."""

MIN_SLICES = 2

MIN_NAME_CHARS = 3
"""A shorter part of a name is in many ids by chance."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@final
@dataclass(frozen=True, eq=False)
class Slice:
    """What the tags of one file say."""

    path: Path
    patient_id: str
    names_patient: bool
    """Whether a part of the patient's name is in the id."""
    study: str
    date: str
    series: str
    description: str
    is_mask: bool
    """Whether it is a segmentation."""
    num_frames: int
    shape: tuple[int, int]
    """Rows and columns."""
    position: Float64[np.ndarray, " 3"] | None
    """Of the first pixel's centre, LPS, in mm; None where the file does not say."""
    axes: Float64[np.ndarray, "2 3"] | None
    """Directions along a row and down a column, LPS."""
    spacing_mm: tuple[float, float] | None
    """Between rows, then between columns."""


def read_slice(path: Path) -> Slice | None:
    """Read a file's tags, and no pixel; None if it is no DICOM image.

    Raises:
        VolumeError: If it is one, and is damaged.
    """
    try:
        tags = dcmread(path, stop_before_pixels=True, specific_tags=[*TAGS])
        if "Rows" in tags and "Columns" in tags:
            return _slice_of(path, tags)
        kind = tags.file_meta.MediaStorageSOPClassUID.name
    except InvalidDicomError:
        return None
    except DAMAGED as error:
        raise VolumeError(
            f"{path}: the tags of a DICOM file cannot be read ({error}). Export it again."
        ) from error
    if "Image" in kind:  # reports and presentation states have no pixels, and are none
        raise VolumeError(f"{path}: a {kind} without Rows is truncated. Export it again.")
    return None


def stack_slices(slices: Sequence[Slice]) -> Volume:
    """Put the slices of a series together, in the order in which they lie.

    Raises:
        VolumeError: If they are not one volume, or the pixels of one cannot be read.
    """
    first = slices[0]
    if len(slices) < MIN_SLICES:
        raise VolumeError(f"{first.path}: a volume needs {MIN_SLICES} slices, but this is alone.")
    places = [_placed(one, first) for one in slices]
    assert first.axes is not None  # noqa: S101
    assert first.spacing_mm is not None  # noqa: S101
    normal = np.cross(first.axes[0], first.axes[1])
    heights = np.array([float(place @ normal) for place in places])
    order = [int(index) for index in np.argsort(heights, kind="stable")]
    gaps = np.diff(heights[order])
    gap = float(np.median(gaps))
    if gap <= 0 or (np.abs(gaps - gap) > MAX_GAP * gap).any():
        raise VolumeError(
            f"{first.path}: slices must be evenly spaced, but are {gaps.min():g} to "
            f"{gaps.max():g} mm apart. A slice is missing, or the series holds several volumes; "
            "export it again, or split it."
        )
    if len(slices) * first.shape[0] * first.shape[1] > MAX_VOXELS:
        raise VolumeError(f"{first.path}: the series has more than {MAX_VOXELS} voxels.")
    # Rows of pixels run down: array axis 0 is to be along a row, axis 1 down the columns.
    voxels = np.stack([_pixels(slices[index]).T for index in order], axis=-1)
    rows_mm, columns_mm = first.spacing_mm
    affine = np.eye(4)
    steps = [first.axes[0] * columns_mm, first.axes[1] * rows_mm, normal * gap]
    affine[:3, :3] = LPS_TO_RAS @ np.stack(steps, axis=1)
    affine[:3, 3] = LPS_TO_RAS @ places[order[0]]
    return Volume(np.ascontiguousarray(voxels), affine)


def _slice_of(path: Path, tags: Dataset) -> Slice:
    patient = str(tags.get("PatientID", "")).strip()
    parts = str(tags.get("PatientName", "")).replace("^", " ").replace("=", " ").lower().split()
    is_named = any(len(part) >= MIN_NAME_CHARS and part in patient.lower() for part in parts)
    spacing = _numbers(tags, "PixelSpacing", 2)
    axes = _numbers(tags, "ImageOrientationPatient", 6)
    return Slice(
        path,
        patient,
        # De-identified exports repeat the id as the name: then it is none.
        is_named and parts != [patient.lower()],
        str(tags.get("StudyInstanceUID", "")),
        str(tags.get("StudyDate", "")),
        str(tags.get("SeriesInstanceUID", "")),
        str(tags.get("SeriesDescription", "")).strip(),
        tags.get("SOPClassUID") == SegmentationStorage,
        int(tags.get("NumberOfFrames", 1) or 1),
        (int(tags.Rows), int(tags.Columns)),
        _numbers(tags, "ImagePositionPatient", 3),
        None if axes is None else axes.reshape(2, 3),
        None if spacing is None else (float(spacing[0]), float(spacing[1])),
    )


def _numbers(tags: Dataset, name: str, count: int) -> Float64[np.ndarray, " n"] | None:
    given: Any = tags.get(name)
    if given is None or len(given) != count:
        return None
    numbers = np.array([float(value) for value in given], dtype=np.float64)
    return numbers if np.isfinite(numbers).all() else None


def _placed(one: Slice, first: Slice) -> Float64[np.ndarray, " 3"]:
    """Return a slice's position, once it is sure to be of the first one's kind."""
    if one.num_frames != 1:
        raise VolumeError(
            f"{one.path}: one file must hold one slice, but holds {one.num_frames} frames. Convert "
            "it with dcm2niix, and use `sitesynth import folder`."
        )
    if one.position is None or one.axes is None or one.spacing_mm is None:
        raise VolumeError(
            f"{one.path}: ImagePositionPatient, ImageOrientationPatient and PixelSpacing must say "
            "where the slice lies. Export the original images, no screenshots."
        )
    assert first.axes is not None  # noqa: S101
    is_alike = one.shape == first.shape and one.spacing_mm == first.spacing_mm
    if not is_alike or np.abs(one.axes - first.axes).max() > MAX_TILT:
        raise VolumeError(
            f"{one.path}: all slices of a series must have one size and direction, but "
            f"{first.path} has others. A localizer, or two series under one id; split it."
        )
    _check_axes(one)
    return one.position


def _check_axes(one: Slice) -> None:
    assert one.axes is not None  # noqa: S101
    assert one.spacing_mm is not None  # noqa: S101
    unit = np.abs(one.axes @ one.axes.T - np.eye(2)).max()
    if unit > MAX_TILT or min(one.spacing_mm) <= 0:
        raise VolumeError(
            f"{one.path}: ImageOrientationPatient must be two perpendicular directions and "
            f"PixelSpacing above 0, got {one.axes.tolist()} and {one.spacing_mm}."
        )


def _pixels(one: Slice) -> np.ndarray:
    """Return a slice's pixels, rows by columns, in the scanner's units."""
    try:
        image = dcmread(one.path)
        pixels = np.asarray(image.pixel_array, dtype=np.float64)
        slope = float(image.get("RescaleSlope", 1))
        intercept = float(image.get("RescaleIntercept", 0))
    except (InvalidDicomError, *DAMAGED) as error:
        raise VolumeError(
            f"{one.path}: the pixels cannot be read ({error}). Export them uncompressed (Explicit "
            "VR Little Endian), or convert the series with dcm2niix."
        ) from error
    if pixels.shape != one.shape:
        raise VolumeError(
            f"{one.path}: a slice must be {one.shape[0]} x {one.shape[1]} gray pixels, but is of "
            f"shape {pixels.shape}."
        )
    return (pixels * slope + intercept).astype(np.float32)
