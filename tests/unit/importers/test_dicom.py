"""DICOM series become volumes that lie where the scanner said."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SegmentationStorage,
)

from sitesynth.errors import CohortError, VolumeError
from sitesynth.importers.dicom import import_dicom
from sitesynth.importers.dicom_slices import read_slice, stack_slices
from sitesynth.importers.drafts import Draft
from sitesynth.importers.general import Meaning
from sitesynth.progress import show_progress
from sitesynth.volumes import read_volume
from tests.unit.importers.archives import write_table
from tests.unit.importers.drafted import by_patient, reasons


MEANING = Meaning({"idh": ("wildtype", "mutant")}, (), {}, {}, "north")

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SHAPE = (3, 4)
"""Rows and columns of a slice."""


def write_slice(path: Path, number: int, **changes: Any) -> None:
    """Write slice `number` of a series: pixel (row, column) is 100 number + 10 row + column."""
    tags = Dataset()
    tags.file_meta = FileMetaDataset()
    tags.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    tags.file_meta.MediaStorageSOPClassUID = tags.SOPClassUID = MRImageStorage
    tags.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.{number + 1}")
    tags.SOPInstanceUID = tags.file_meta.MediaStorageSOPInstanceUID
    tags.PatientID, tags.PatientName = "P1", "Doe^Jane"
    tags.StudyInstanceUID, tags.StudyDate = "1.1", "20200101"
    tags.SeriesInstanceUID, tags.SeriesDescription = "1.1.1", "AX FLAIR"
    tags.ImagePositionPatient = [10.0, 20.0, 30.0 + 5.0 * number]
    tags.ImageOrientationPatient = [*AXIAL]
    tags.PixelSpacing = [0.5, 2.0]
    tags.Rows, tags.Columns = SHAPE
    tags.BitsAllocated = tags.BitsStored = 16
    tags.HighBit, tags.PixelRepresentation, tags.SamplesPerPixel = 15, 0, 1
    tags.PhotometricInterpretation = "MONOCHROME2"
    rows, columns = np.indices(SHAPE)
    tags.PixelData = (100 * number + 10 * rows + columns).astype("<u2").tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(tags, name)
        else:
            setattr(tags, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    tags.save_as(path, enforce_file_format=True)


def write_series(folder: Path, series: str, *, num_slices: int = 3, **changes: Any) -> None:
    """Write slices under names that do not tell their order."""
    for number in range(num_slices):
        write_slice(folder / f"{series}-{9 - number}", number, SeriesInstanceUID=series, **changes)


def write_segmentation(
    path: Path, frames: Mapping[tuple[float, int], tuple[int, int]], **changes: Any
) -> None:
    """Write a segmentation: by height in mm and segment, the row and column that is inside."""
    inside = np.zeros((len(frames), *SHAPE), dtype=np.uint8)
    for number, place in enumerate(frames.values()):
        inside[number][place] = 1
    packed = np.packbits(inside.ravel(), bitorder="little").tobytes()
    spacing = changes.pop("spacing", [0.5, 2.0])
    tags = {
        "SOPClassUID": SegmentationStorage,
        "SeriesInstanceUID": "1.1.9",
        "SeriesDescription": "FLAIR tumour",
        "NumberOfFrames": len(frames),
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "PixelData": packed + bytes(len(packed) % 2),
        "SegmentationType": "BINARY",
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
        "SharedFunctionalGroupsSequence": [
            dataset(
                PlaneOrientationSequence=[dataset(ImageOrientationPatient=[*AXIAL])],
                PixelMeasuresSequence=[dataset(PixelSpacing=spacing)],
            )
        ],
        "PerFrameFunctionalGroupsSequence": [
            dataset(PlanePositionSequence=[dataset(ImagePositionPatient=[10.0, 20.0, height])])
            for height, _ in frames
        ],
    }
    kept = {name: value for name, value in (tags | changes).items() if value != "absent"}
    write_slice(path, 0, **kept)


def dataset(**tags: Any) -> Dataset:
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def ours(
    source: Path,
    tmp_path: Path,
    sequences: Mapping[str, str] | None = None,
    patients: str = "P1",
    mask: str | None = None,
) -> Draft:
    table = write_table(
        tmp_path / "labels.csv", "patient_id|idh", [f"{one}|mutant" for one in patients.split()]
    )
    return import_dicom(
        source,
        [table],
        MEANING,
        sequences={"t1c": "*T1*POST*", "flair": "*FLAIR*"} if sequences is None else sequences,
        mask=mask,
        volumes=tmp_path / "volumes",
        progress=show_progress,
    )


def test_every_voxel_lies_where_its_tags_say(tmp_path: Path) -> None:
    """Position (10, 20, 30) to the left, back and top; 2 mm along a row, 0.5 mm down, 5 mm up."""
    write_series(tmp_path / "in", "1.5", RescaleSlope="2", RescaleIntercept="-7")

    ours(tmp_path / "in", tmp_path)
    volume = read_volume(tmp_path / "volumes" / "P1" / "flair.nii.gz")

    assert volume.voxels.shape == (4, 3, 3)
    assert volume.voxels[3, 1, 2] == 2 * (200 + 10 * 1 + 3) - 7
    column, row, number = 3, 1, 2
    left, back, up = 10 + 2.0 * column, 20 + 0.5 * row, 30 + 5.0 * number
    assert np.allclose(volume.affine @ [column, row, number, 1], [-left, -back, up, 1])


def test_a_sagittal_series_lies_where_its_tags_say(tmp_path: Path) -> None:
    """Rows run backward, columns down: the normal points to the right."""
    for number in range(3):
        write_slice(
            tmp_path / f"{number}",
            number,
            ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
            ImagePositionPatient=[4.0 * number, -80.0, 90.0],
        )
    slices = [one for n in range(3) if (one := read_slice(tmp_path / f"{n}")) is not None]

    volume = stack_slices(slices)

    for number in range(3):  # the highest position is the first of the volume: the normal is -x
        where = volume.affine @ [1, 2, 2 - number, 1]
        assert np.allclose(where[:3], [-4.0 * number, 80 - 2.0, 90 - 2 * 0.5])
        assert volume.voxels[1, 2, 2 - number] == 100 * number + 10 * 2 + 1
    assert volume.orientation == "PIR"


def test_nothing_of_the_patient_but_the_id_is_written(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.5")

    draft = ours(tmp_path / "in", tmp_path)

    written = [path for path in (tmp_path / "volumes").rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "volumes/P1/flair.nii.gz"
    ]
    assert b"Doe" not in gzip.decompress(written[0].read_bytes())
    assert [*by_patient(draft)["P1"].files] == ["flair"]


def test_series_and_first_study_are_chosen_by_tags(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.5")
    write_series(tmp_path / "in", "1.6", SeriesDescription="ax t1 fs post Gd")
    write_series(tmp_path / "in", "1.7", SeriesDescription="DWI")
    write_series(tmp_path / "in", "1.8", StudyInstanceUID="1.9", StudyDate="20210101")
    (tmp_path / "in" / "report.txt").write_text("no DICOM")

    draft = ours(tmp_path / "in", tmp_path)

    assert sorted(by_patient(draft)["P1"].files) == ["flair", "t1c"]
    assert reasons(draft) == {"1.8": "follow-up"}


def test_two_series_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.5", SeriesDescription="T1 POST")
    write_series(tmp_path / "in", "1.6")
    write_series(tmp_path / "in", "1.7")

    draft = ours(tmp_path / "in", tmp_path)

    assert [*by_patient(draft)["P1"].files] == ["t1c"]
    assert reasons(draft) == {"flair": "several files for one sequence"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ImagePositionPatient": [10.0, 20.0, 99.0]}, "evenly spaced, but are 5 to 64 mm"),
        ({"ImagePositionPatient": [10.0, 20.0, 30.0]}, "evenly spaced, but are 0 to 5 mm"),
        ({"ImagePositionPatient": None}, "must say where the slice lies"),
        ({"PixelSpacing": [1.0, 2.0]}, "must have one size and direction"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "must have one size and direction"),
        ({"NumberOfFrames": 7}, "but holds 7 frames"),
        ({"PixelData": b"\0\0"}, "the pixels cannot be read"),
    ],
    ids=["gap", "twice", "nowhere", "spacing", "tilted", "frames", "truncated"],
)
def test_a_series_that_is_no_volume_is_left_out_with_its_fault(
    tmp_path: Path, changes: Mapping[str, Any], says: str
) -> None:
    """The scan keeps its other sequence."""
    write_series(tmp_path / "in", "1.6", SeriesDescription="T1 POST")
    write_series(tmp_path / "in", "1.5")
    write_slice(tmp_path / "in" / "1.5-7", 2, **({"SeriesInstanceUID": "1.5"} | dict(changes)))

    draft = ours(tmp_path / "in", tmp_path)

    assert [*by_patient(draft)["P1"].files] == ["t1c"]
    [left] = draft.left_out
    assert (left.patient_id, left.scan_id, left.reason) == ("P1", "flair", "series is no volume")
    assert says in left.detail


def test_an_id_with_the_name_in_it_is_left_out_and_not_repeated(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.5")
    write_series(tmp_path / "in", "1.6", PatientID="jane-doe-1970")

    draft = ours(tmp_path / "in", tmp_path)

    assert [*by_patient(draft)] == ["P1"]
    [left] = draft.left_out
    assert "holds a part of PatientName" in left.detail
    assert "jane" not in str(left).lower()


@pytest.mark.parametrize("num_bytes", [310, 420, 500])
def test_a_damaged_file_is_left_out_by_name(tmp_path: Path, num_bytes: int) -> None:
    """Cut off before, within and after the tags that tell whose it is."""
    write_series(tmp_path / "in", "1.5")
    write_slice(tmp_path / "in" / "bad", 0)
    whole = (tmp_path / "in" / "bad").read_bytes()
    (tmp_path / "in" / "bad").write_bytes(whole[:num_bytes])

    draft = ours(tmp_path / "in", tmp_path)

    assert [*by_patient(draft)] == ["P1"]
    [left] = draft.left_out
    assert (left.scan_id, left.reason) == ("bad", "unreadable file")


def test_a_report_among_the_slices_is_passed_over(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.5")
    write_slice(tmp_path / "in" / "report", 0, Rows=None, Columns=None, PixelData=None)
    report = tmp_path / "in" / "report"
    tags = dcmread(report)
    tags.file_meta.MediaStorageSOPClassUID = tags.SOPClassUID = BasicTextSRStorage
    tags.save_as(report)

    assert ours(tmp_path / "in", tmp_path).left_out == ()


def test_no_series_of_that_name_lists_those_that_are_there(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.5")

    with pytest.raises(CohortError, match=r"no series called T2, but \['AX FLAIR'\]"):
        ours(tmp_path / "in", tmp_path, {"t2": "T2"})
    assert not (tmp_path / "volumes").exists()


def test_a_failed_import_leaves_no_volumes(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.5")

    with pytest.raises(CohortError, match="not in the label table"):
        ours(tmp_path / "in", tmp_path, patients="P2")
    assert not (tmp_path / "volumes").exists()


def test_a_folder_without_dicom_is_told_the_other_command(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii.gz").write_bytes(b"x" * 400)

    with pytest.raises(CohortError, match=r"is a DICOM image; .*sitesynth import folder"):
        ours(tmp_path / "in", tmp_path)


def test_a_slice_alone_is_no_volume(tmp_path: Path) -> None:
    write_slice(tmp_path / "a", 0)
    one = read_slice(tmp_path / "a")

    assert one is not None
    with pytest.raises(VolumeError, match="needs 2 slices"):
        stack_slices([one])


def test_a_segmentation_lies_on_the_slices_that_its_frames_name(tmp_path: Path) -> None:
    """Slices lie at 30, 35 and 40 mm; frames of two segments say 40, 30 and 40, in any order."""
    write_series(tmp_path / "in", "1.1.1")
    frames = {(40.0, 1): (1, 2), (30.0, 1): (0, 0), (40.0, 2): (2, 3)}
    write_segmentation(tmp_path / "in" / "seg", frames)

    draft = ours(tmp_path / "in", tmp_path, mask="*TUMOUR")
    mask = read_volume(tmp_path / "volumes" / "P1" / "mask.nii.gz")
    flair = read_volume(tmp_path / "volumes" / "P1" / "flair.nii.gz")

    assert draft.left_out == ()
    assert [tuple(place) for place in np.argwhere(mask.voxels)] == [(0, 0, 0), (2, 1, 2), (3, 2, 2)]
    np.testing.assert_allclose(mask.affine, flair.affine)
    assert mask.voxels.max() == 1.0


def test_without_its_option_a_segmentation_stays_out(tmp_path: Path) -> None:
    """Although its description fits the sequence's pattern."""
    write_series(tmp_path / "in", "1.1.1")
    write_segmentation(tmp_path / "in" / "seg", {(30.0, 1): (0, 0)})

    draft = ours(tmp_path / "in", tmp_path)

    assert draft.left_out == ()
    assert [path.name for path in (tmp_path / "volumes" / "P1").iterdir()] == ["flair.nii.gz"]


@pytest.mark.parametrize(
    ("height", "changes", "says"),
    [
        (32.5, {}, "lies on the voxels of none of the patient's 1 sequences"),
        (45.0, {}, "lies on the voxels of none"),
        (30.0, {"spacing": [0.5, 1.0]}, "lies on the voxels of none"),
        (30.0, {"NumberOfFrames": 300}, "cannot be read"),
        (30.0, {"PerFrameFunctionalGroupsSequence": "absent"}, "cannot be read"),
        (30.0, {"NumberOfFrames": 2**30}, "has more than"),
    ],
    ids=["between slices", "above", "other pixels", "truncated", "placed nowhere", "absurd"],
)
def test_a_segmentation_that_fits_nothing_is_left_out(
    tmp_path: Path, height: float, changes: dict[str, Any], says: str
) -> None:
    """Its sequence goes in without it."""
    write_series(tmp_path / "in", "1.1.1")
    write_segmentation(tmp_path / "in" / "seg", {(height, 1): (0, 0)}, **changes)

    draft = ours(tmp_path / "in", tmp_path, mask="*tumour")

    (left,) = draft.left_out
    assert (left.patient_id, left.scan_id) == ("P1", "mask")
    assert says in left.detail
    assert [path.name for path in (tmp_path / "volumes" / "P1").iterdir()] == ["flair.nii.gz"]


def test_two_segmentations_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "1.1.1")
    for name in ("seg1", "seg2"):
        write_segmentation(tmp_path / "in" / name, {(30.0, 1): (0, 0)})

    draft = ours(tmp_path / "in", tmp_path, mask="*tumour")

    assert [(left.scan_id, left.reason.name) for left in draft.left_out] == [("mask", "AMBIGUOUS")]
