"""Registration: a planted movement is found again, and what makes things worse is refused."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sitesynth.errors import VolumeError
from sitesynth.phantom.consortium import draw_patients, render_patient
from sitesynth.preprocessing import alignment
from sitesynth.preprocessing.alignment import align, align_scan, read_template
from sitesynth.preprocessing.geometry import bounding_box, find_foreground, resample, to_ras
from sitesynth.settings import RegistrationSettings, TemplateSettings, load_settings
from sitesynth.storage import digest_of_file
from sitesynth.volumes import Volume, write_nifti


PHANTOM = load_settings(Path(__file__).parents[3] / "studies/phantom.yaml").phantom
assert PHANTOM is not None

SCANNER = PHANTOM.sites["alder"].model_copy(update={"spacing_mm": (6.0, 6.0, 6.0)})

TOLERANCE_MM = {"t1": 0.5, "t2": 3.0}
"""How far a corner of the head's box may end from where it belongs, moved onto the T1: the same
contrast is found to a tenth of a voxel, another to half of one."""


def scan_of(number: int) -> dict[str, Volume]:
    """The T1, T2 and mask of one patient, on one coarse grid."""
    assert PHANTOM is not None
    patients = [one for one in draw_patients("alder", PHANTOM, seed=1) if one.missing is None]
    found = render_patient(patients[number], SCANNER, seed=1)
    return {name: to_ras(found[name]) for name in ("t1", "t2", "mask")}


@pytest.fixture(scope="module")
def scan() -> dict[str, Volume]:
    return scan_of(0)


def planted(
    degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> np.ndarray:
    """A movement of the world."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


def moved(volume: Volume, movement: np.ndarray) -> Volume:
    return Volume(volume.voxels, movement @ volume.affine)


def apart_mm(found: np.ndarray, truth: np.ndarray, head: Volume) -> float:
    """Farthest that two transforms put a corner of the head's box apart."""
    box = bounding_box(find_foreground([head]), head.affine)
    assert box is not None
    corners = np.array(
        [[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64
    )
    corners[:, :3] = box.low + corners[:, :3] * box.extent_mm
    return float(np.linalg.norm((corners @ (found - truth).T)[:, :3], axis=1).max())


@pytest.mark.parametrize("sequence", TOLERANCE_MM)
def test_a_planted_movement_is_found(scan: dict[str, Volume], sequence: str) -> None:
    """Onto the T1, also from the T2, where what is bright there is dark; headers do not know."""
    movement = planted((4.0, -3.0, 5.0), (6.0, -5.0, 4.0))
    volume = moved(scan[sequence], movement)
    found = align(volume, scan["t1"], kind="rigid", named=f"{sequence} onto t1")

    truth = np.linalg.inv(movement)
    assert apart_mm(np.eye(4), truth, volume) > 10
    assert apart_mm(found.transform, truth, volume) < TOLERANCE_MM[sequence]
    assert found.after > 1.2 * found.before


def test_a_search_gives_the_same_bytes_twice(scan: dict[str, Volume]) -> None:
    t2 = moved(scan["t2"], planted((0.0, 0.0, 3.0), (2.0, 0.0, 0.0)))
    first, second = (align(t2, scan["t1"], kind="rigid", named="") for _ in range(2))

    assert first.transform.tobytes() == second.transform.tobytes()
    assert (first.before, first.after) == (second.before, second.after)


def test_a_scan_is_moved_onto_its_reference(scan: dict[str, Volume]) -> None:
    """On grids of their own: T2 comes to lie on T1, and the mask stays with T1."""
    movement = planted((0.0, 0.0, 4.0), (5.0, 3.0, 0.0))
    shifted = moved(scan["t2"], movement)
    cut = Volume(shifted.voxels[2:, :, 1:], shifted.affine.copy())
    cut.affine[:3, 3] = (shifted.affine @ np.array([2.0, 0.0, 1.0, 1.0]))[:3]
    volumes, masks = align_scan(
        {"t2": cut, "t1": scan["t1"]},
        {"mask": scan["mask"]},
        registration=RegistrationSettings(reference="t1", transform="rigid", template=None),
        named={"t1": "t1", "t2": "t2"},
    )

    assert volumes["t1"] is scan["t1"]
    assert masks["mask"] is scan["mask"]
    there = resample(volumes["t2"], scan["t1"].affine, scan["t1"].voxels.shape)
    inside = find_foreground([scan["t1"]])
    before = resample(cut, scan["t1"].affine, scan["t1"].voxels.shape)
    truth = scan["t2"].voxels[inside]
    assert np.corrcoef(there[inside], truth)[0, 1] > 0.93
    assert np.corrcoef(before[inside], truth)[0, 1] < 0.8


def test_a_missing_reference_is_replaced_by_the_first_sequence(scan: dict[str, Volume]) -> None:
    """A scan of one sequence has nothing to be moved onto, and stays."""
    volumes, _ = align_scan(
        {"t2": scan["t2"]},
        {},
        registration=RegistrationSettings(reference="t1", transform="rigid", template=None),
        named={"t2": "t2"},
    )

    assert volumes == {"t2": scan["t2"]}


def test_another_patient_is_moved_onto_a_template(scan: dict[str, Volume], tmp_path: Path) -> None:
    """Middle on middle first, whatever the headers say; the mask goes along with its scan."""
    write_nifti(tmp_path / "template.nii.gz", scan_of(1)["t1"], dtype=np.float32)
    template = TemplateSettings(
        path=str(tmp_path / "template.nii.gz"),
        sha256=digest_of_file(tmp_path / "template.nii.gz"),
    )
    far = planted((0.0, 0.0, 8.0), (70.0, -40.0, 30.0))
    registration = RegistrationSettings(reference="t1", transform="rigid", template=template)
    volumes, masks = align_scan(
        {"t1": moved(scan["t1"], far)},
        {"mask": moved(scan["mask"], far)},
        registration=registration,
        named={"t1": "t1"},
    )

    there = read_template(template)
    inside = find_foreground([there])
    brought = resample(volumes["t1"], there.affine, there.voxels.shape)
    assert np.corrcoef(brought[inside], there.voxels[inside])[0, 1] > 0.5
    overlap = inside & (brought > 0.3 * np.percentile(brought, 99))
    assert overlap.sum() > 0.5 * inside.sum()
    tumour = bounding_box(masks["mask"].voxels > 0, masks["mask"].affine)
    head = bounding_box(inside, there.affine)
    assert tumour is not None
    assert head is not None
    assert (tumour.centre > head.low).all()
    assert (tumour.centre < head.high).all()


def test_another_template_than_the_studys_is_refused(tmp_path: Path) -> None:
    write_nifti(
        tmp_path / "t.nii.gz", Volume(np.ones((3, 3, 3), np.float32), np.eye(4)), dtype=np.float32
    )
    with pytest.raises(VolumeError, match=r"t\.nii\.gz.* must have the SHA-256 000000000000"):
        read_template(TemplateSettings(path=str(tmp_path / "t.nii.gz"), sha256="0" * 64))
    with pytest.raises(VolumeError, match=r"none\.nii, the template .* does not exist"):
        read_template(TemplateSettings(path=str(tmp_path / "none.nii"), sha256="0" * 64))


def test_volumes_that_do_not_overlap_are_refused(scan: dict[str, Volume]) -> None:
    """A header that puts the T2 into another room."""
    far = moved(scan["t2"], planted((0.0, 0.0, 0.0), (900.0, 0.0, 0.0)))

    with pytest.raises(VolumeError, match=r"t2\.nii onto t1\.nii: no transform was found"):
        align(far, scan["t1"], kind="rigid", named="t2.nii onto t1.nii")


def test_a_transform_that_makes_it_worse_is_refused(
    scan: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that ends 40 mm away."""

    def lost(fixed: object, moving: object, guess: object) -> object:
        guess.SetTranslation((40.0, 0.0, 0.0))  # type: ignore[attr-defined]
        return guess

    monkeypatch.setattr(alignment, "_search", lost)
    with pytest.raises(VolumeError, match=r"t2 onto t1: .* mutual information falls from [01]\."):
        align(scan["t2"], scan["t1"], kind="rigid", named="t2 onto t1")


def test_a_scan_that_lies_right_is_not_blurred_by_a_tiny_step(
    scan: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the search finds nothing better, the headers are right."""

    def nearly(fixed: object, moving: object, guess: object) -> object:
        guess.SetTranslation((0.01, 0.0, 0.0))  # type: ignore[attr-defined]
        return guess

    monkeypatch.setattr(alignment, "_search", nearly)
    found = align(scan["t1"], scan["t1"], kind="rigid", named="t1 onto t1")

    assert np.array_equal(found.transform, np.eye(4))
    assert found.after == found.before
