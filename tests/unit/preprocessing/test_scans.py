"""Scans: the folder's bytes depend on the scans and the settings, and on nothing else."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from sitesynth.cohorts.acquired import Acquired
from sitesynth.errors import CohortError, VolumeError
from sitesynth.images import read_images, write_voxels
from sitesynth.preprocessing import scans
from sitesynth.preprocessing.scans import preprocess_scan, preprocess_site, read_splits
from sitesynth.settings import (
    BiasFieldSettings,
    CohortSettings,
    GridSettings,
    IntensitySettings,
    RegistrationSettings,
)
from sitesynth.storage import digest_of, digest_of_file, read_json
from sitesynth.volumes import Volume, write_nifti


COHORT = CohortSettings(
    source="data",
    table="table.csv",
    columns={},
    codes={},
    sequences=("t1", "flair"),
    has_mask=True,
    mask_labels=None,
    has_brain_mask=False,
    label_unit="patient",
    labels={"idh": ("wildtype", "mutant")},
    covariates=("age",),
)
GRID = GridSettings(region="tumour", shape=(8, 8, 4), spacing_mm=(2.0, 2.0, 4.0), registration=None)
INTENSITY = IntensitySettings(
    bias_field=None,
    foreground="head",
    scale="range",
    low_percentile=1.0,
    high_percentile=99.0,
    landmarks=None,
)
CHANNELS = ("t1", "flair", "mask")

FAR = np.array([[1, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
"""An affine that puts a volume outside the room."""

TUMOUR = (11, 9, 7)
"""Middle voxel of the phantom's tumour."""


def head(offset: float = 0.0) -> np.ndarray:
    """A bright ball with a gradient, in air; `offset` makes another patient of it."""
    x, y, z = np.indices((20, 20, 16))
    ball = (x - 10) ** 2 + (y - 10) ** 2 + (z - 8) ** 2 < 49
    return np.where(ball, 100 + 5 * x + 3 * y + z + offset * (x % 3), 0).astype(np.float32)


def mask() -> np.ndarray:
    """A tumour of 3 x 3 x 3 voxels, with BraTS's labels."""
    inside = np.zeros((20, 20, 16), np.float32)
    inside[10:13, 8:11, 6:9] = 1
    inside[TUMOUR] = 4
    return inside


def as_lps(voxels: np.ndarray) -> Volume:
    """The same head, stored with its first two axes the other way."""
    affine = np.diag([-1.5, -1.5, 2.0, 1.0])
    affine[:2, 3] = 1.5 * 19
    return Volume(voxels[::-1, ::-1], affine)


def as_ras(voxels: np.ndarray) -> Volume:
    """The head on the grid it was made on."""
    return Volume(voxels, np.diag([1.5, 1.5, 2.0, 1.0]))


def write_scan(folder: Path, scan_id: str, offset: float = 0.0) -> dict[str, str]:
    """Write one scan's files and return its row, without digests."""
    write_nifti(folder / f"{scan_id}_t1.nii.gz", as_ras(head(offset)), dtype=np.float32)
    write_nifti(folder / f"{scan_id}_flair.nii.gz", as_ras(300 - head(offset)), dtype=np.float32)
    write_nifti(folder / f"{scan_id}_mask.nii.gz", as_ras(mask()), dtype=np.uint8)
    row = {"patient_id": f"p-{scan_id}", "scan_id": scan_id, "site": "alder", "split": ""}
    row |= {"idh": "mutant", "age": "41"}
    return row | {name: f"{scan_id}_{name}.nii.gz" for name in CHANNELS}


def acquired(folder: Path, rows: list[dict[str, str]], columns: tuple[str, ...]) -> Acquired:
    """What the acquire stage says of files in a folder."""
    full = [
        row | {f"sha256_{c}": digest_of_file(folder / row[c]) if row[c] else "" for c in columns}
        for row in rows
    ]
    return Acquired("alder", "training", folder, pd.DataFrame(full, dtype=str))


@pytest.fixture
def site(tmp_path: Path) -> Acquired:
    """Four scans; the second lacks FLAIR and the label, the third the mask."""
    folder = tmp_path / "files"
    rows = [write_scan(folder, f"s{number}", offset=number) for number in range(4)]
    rows[1] |= {"flair": "", "idh": ""}
    rows[2] |= {"mask": ""}
    return acquired(folder, rows, CHANNELS)


def preprocess(
    found: Acquired,
    folder: Path,
    *,
    grid: GridSettings = GRID,
    cohort: CohortSettings = COHORT,
    splits: Mapping[str, str] | None = None,
    num_workers: int = 1,
) -> int:
    """Run on a site whose scans are all of the train split, unless told otherwise."""
    return preprocess_site(
        found,
        splits=dict.fromkeys(found.table["scan_id"], "train") if splits is None else splits,
        folder=folder,
        cohort=cohort,
        grid=grid,
        intensity=INTENSITY,
        num_workers=num_workers,
        on_scan=lambda number, values: None,
    )


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder, with their bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def files_of(folder: Path, **volumes: Volume) -> dict[str, Path]:
    """Write volumes and return their paths."""
    for name, volume in volumes.items():
        write_nifti(folder / f"{name}.nii.gz", volume, dtype=np.float32)
    return {name: folder / f"{name}.nii.gz" for name in volumes}


def one_scan(paths: Mapping[str, Path], grid: GridSettings = GRID) -> np.ndarray:
    """Preprocess one scan of two sequences and a mask."""
    return preprocess_scan(
        paths, channels=CHANNELS, grid=grid, intensity=INTENSITY, mask_labels=None
    )


class TestScan:
    def test_a_tumour_is_the_labels_that_are_asked_for(self, tmp_path: Path) -> None:
        """BraTS's label 4 is one voxel of the 27 of the mask."""
        paths = files_of(tmp_path, t1=as_ras(head()), mask=as_ras(mask()))
        grid = GridSettings(
            region="tumour", shape=(9, 9, 5), spacing_mm=(1.5, 1.5, 2.0), registration=None
        )
        whole, core = (
            preprocess_scan(
                paths, channels=CHANNELS, grid=grid, intensity=INTENSITY, mask_labels=labels
            )[2]
            for labels in ((1, 4), (4,))
        )

        assert whole.sum() == 27
        assert core.sum() == 1
        assert core[4, 4, 2] == 1

    def test_sequences_are_moved_onto_their_reference(self, tmp_path: Path) -> None:
        """A FLAIR whose header lies by 6 mm comes to lie on the T1, and the T1 where it lay."""
        random = np.random.default_rng(0)
        marks = ndimage.gaussian_filter(random.random((20, 20, 16)), 1.5, mode="nearest")
        voxels = np.where(head() > 0, 100 + 2000 * (marks - marks.min()), 0).astype(np.float32)
        shifted = np.diag([1.5, 1.5, 2.0, 1.0])
        shifted[:3, 3] = (4.0, -4.0, 2.0)
        paths = files_of(tmp_path, t1=as_ras(voxels), flair=Volume(2 * voxels, shifted))
        grid = GridSettings(
            region="head", shape=(15, 15, 12), spacing_mm=(1.5, 1.5, 2.0), registration=None
        )
        onto_t1 = RegistrationSettings(reference="t1", transform="rigid", template=None)
        before, after = (
            one_scan(paths, grid.model_copy(update={"registration": registration}))
            for registration in (None, onto_t1)
        )
        alone = one_scan({"t1": paths["t1"]}, grid)

        assert np.abs(before[0] - before[1]).mean() > 0.1
        assert np.abs(after[0] - after[1]).mean() < 0.02
        np.testing.assert_array_equal(after[0], alone[0])

    def test_a_brain_mask_strips_the_skull(self, tmp_path: Path) -> None:
        """Outside all is 0, inside the range is the brain's own; no other grid is needed."""
        x, y, z = np.indices((20, 20, 16))
        radius = (x - 10) ** 2 + (y - 10) ** 2 + (z - 8) ** 2
        scalp = np.where((radius >= 36) & (radius < 49), 900, 0).astype(np.float32)
        inside = radius < 36
        voxels = np.where(inside, 50 + x, scalp).astype(np.float32)
        paths = files_of(
            tmp_path, t1=as_ras(voxels), brain_mask=as_lps(2.0 * inside.astype(np.float32))
        )
        grid = GridSettings(
            region="head", shape=(15, 15, 11), spacing_mm=(1.5, 1.5, 2.0), registration=None
        )
        array = preprocess_scan(
            paths,
            channels=("t1",),
            grid=grid,
            intensity=INTENSITY.model_copy(update={"foreground": "brain"}),
            mask_labels=None,
        )[0]

        middle = array[:, 7, 5]
        assert (np.flatnonzero(middle) == np.arange(3, 13)).all()
        assert np.all(np.diff(middle[3:13]) > 0)
        assert array.max() == 1

    def test_a_brain_mask_that_lies_elsewhere_is_refused(self, tmp_path: Path) -> None:
        """Of another patient, or with a broken header."""
        far = Volume(np.ones((4, 4, 4), np.float32), FAR)
        paths = files_of(tmp_path, t1=as_ras(head()), brain_mask=far)
        stripped = INTENSITY.model_copy(update={"foreground": "brain"})

        with pytest.raises(VolumeError, match=r"brain_mask\.nii\.gz: the brain's mask must lie"):
            preprocess_scan(
                paths, channels=("t1",), grid=GRID, intensity=stripped, mask_labels=None
            )
        with pytest.raises(VolumeError, match="must have a brain_mask"):
            preprocess_scan(
                {"t1": paths["t1"]},
                channels=("t1",),
                grid=GRID,
                intensity=stripped,
                mask_labels=None,
            )

    def test_a_planted_bias_field_goes(self, tmp_path: Path) -> None:
        """Each sequence that is there is corrected; a missing one stays zeros, the mask a mask."""
        x, y, z = np.indices((20, 20, 16))
        even = np.where(head() > 0, 100 + 20 * ((x // 2 + y // 2 + z // 2) % 2), 0)
        shaded = as_ras((even * (1 + x / 19)).astype(np.float32))
        paths = files_of(tmp_path, t1=shaded, mask=as_ras(mask()))
        grid = GridSettings(
            region="head", shape=(9, 9, 9), spacing_mm=(1.5, 1.5, 2.0), registration=None
        )
        n4 = INTENSITY.model_copy(
            update={"bias_field": BiasFieldSettings(shrink=1, iterations=(20, 20))}
        )
        before, after = (
            preprocess_scan(
                paths, channels=CHANNELS, grid=grid, intensity=intensity, mask_labels=None
            )
            for intensity in (INTENSITY, n4)
        )

        def slope(array: np.ndarray) -> float:
            """Brightness of the right half over that of the left."""
            return float(array[0, 5:].mean() / array[0, :4].mean())

        assert slope(before) > 1.5
        assert 0.8 < slope(after) < 1.25
        assert not after[1].any()
        assert np.array_equal(after[2], before[2])

    def test_the_orientation_of_the_file_does_not_show(self, tmp_path: Path) -> None:
        """LPS and RAS copies of one phantom give equal arrays."""
        arrays = [
            one_scan(files_of(tmp_path, t1=stored(head()), mask=stored(mask())))
            for stored in (as_ras, as_lps)
        ]

        np.testing.assert_allclose(arrays[0], arrays[1], atol=1e-6)
        assert arrays[0][0].std() > 0.1

    def test_the_tumour_is_in_the_middle(self, tmp_path: Path) -> None:
        grid = GridSettings(
            region="tumour", shape=(9, 9, 5), spacing_mm=(1.5, 1.5, 2.0), registration=None
        )
        array = one_scan(files_of(tmp_path, t1=as_ras(head()), mask=as_ras(mask())), grid)

        expected = np.zeros((9, 9, 5))
        expected[3:6, 3:6, 1:4] = 1
        np.testing.assert_array_equal(array[-1], expected)

    def test_without_a_mask_the_head_is_in_the_middle(self, tmp_path: Path) -> None:
        """A ball, brighter outward, looks the same from all sides about its middle."""
        squares = sum(
            (i - c) ** 2 for i, c in zip(np.indices((20, 20, 16)), (9, 11, 8), strict=True)
        )
        ball = np.where(squares < 49, 100 + squares, 0).astype(np.float32)
        grid = GridSettings(
            region="tumour", shape=(15, 15, 15), spacing_mm=(1.5, 1.5, 2.0), registration=None
        )
        array = one_scan(files_of(tmp_path, t1=as_ras(ball)), grid)

        np.testing.assert_allclose(array[0], array[0, ::-1, ::-1, ::-1], atol=1e-6)
        assert array[0, 7, 7, 7] < array[0, 7, 7, 3]
        assert not array[1:].any()

    def test_an_empty_mask_is_no_place(self, tmp_path: Path) -> None:
        t1 = as_ras(head())
        empty = one_scan(files_of(tmp_path, t1=t1, mask=as_ras(0 * mask())))

        np.testing.assert_array_equal(empty, one_scan({"t1": tmp_path / "t1.nii.gz"}))

    def test_the_region_of_the_grid_does_not_change_intensities(self, tmp_path: Path) -> None:
        """The range is measured in the whole volume, so a smaller grid is a part of a larger."""
        paths = files_of(tmp_path, t1=as_ras(head()), mask=as_ras(mask()))
        large = one_scan(paths, GRID.model_copy(update={"shape": (12, 12, 6)}))

        np.testing.assert_allclose(one_scan(paths), large[:, 2:-2, 2:-2, 1:-1], atol=1e-6)

    def test_sequences_on_different_grids_meet_in_the_world(self, tmp_path: Path) -> None:
        """FLAIR is T1 without its last two slices in each axis."""
        part = Volume(head()[2:18, 2:18, :], as_ras(head()).affine.copy())
        part.affine[:2, 3] = 3.0
        grid = GridSettings(
            region="head", shape=(8, 8, 4), spacing_mm=(1.5, 1.5, 2.0), registration=None
        )
        array = one_scan(files_of(tmp_path, t1=as_ras(head()), flair=part), grid)

        np.testing.assert_allclose(array[0], array[1], atol=0.02)

    def test_nan_is_refused_by_name(self, tmp_path: Path) -> None:
        broken = head()
        broken[TUMOUR] = np.nan
        with pytest.raises(VolumeError, match=r"flair\.nii\.gz: every voxel .* 1 are NaN"):
            one_scan(files_of(tmp_path, t1=as_ras(head()), flair=as_ras(broken)))

    def test_a_constant_sequence_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match=r"flair\.nii\.gz: intensities must differ"):
            one_scan(files_of(tmp_path, t1=as_ras(head()), flair=as_ras(0 * head() + 9)))

    def test_a_blank_scan_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match=r"t1\.nii\.gz: no head or body stands out"):
            one_scan(files_of(tmp_path, t1=as_ras(0 * head())))

    def test_a_scan_without_sequences_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match="must have at least one sequence"):
            one_scan(files_of(tmp_path, mask=as_ras(mask())))

    def test_a_volume_in_a_2d_study_is_refused(self, tmp_path: Path) -> None:
        flat = GridSettings(region="head", shape=(8, 8), spacing_mm=None, registration=None)
        with pytest.raises(VolumeError, match=r"must have 2 axes, as grid.shape does, but has 3"):
            one_scan(files_of(tmp_path, t1=as_ras(head())), flat)


class TestSite:
    @pytest.mark.slow
    def test_workers_give_the_same_folder(self, site: Acquired, tmp_path: Path) -> None:
        """Two processes, that import all this anew; what they finish first is not to be seen."""
        preprocess(site, tmp_path / "one")
        assert preprocess(site, tmp_path / "two", num_workers=2) == 4

        assert content(tmp_path / "one") == content(tmp_path / "two")

    @pytest.mark.slow
    def test_a_bad_scan_keeps_no_other_from_being_made(
        self, site: Acquired, tmp_path: Path
    ) -> None:
        """It is named; what was made stays, and the next run makes the rest."""
        path = site.root / str(site.table["t1"][3])
        good = path.read_bytes()
        path.write_bytes(b"no image")
        with pytest.raises(VolumeError, match="s3_t1"):
            preprocess(site, tmp_path / "images", num_workers=2)
        num_made = len(read_json(tmp_path / "images" / "keys.json"))
        path.write_bytes(good)

        assert preprocess(site, tmp_path / "images") == 4 - num_made
        assert read_images(tmp_path / "images").table["scan_id"].tolist() == [
            f"s{number}" for number in range(4)
        ]

    def test_a_bad_scan_costs_itself_only(self, site: Acquired, tmp_path: Path) -> None:
        """The three before it are not made again."""
        path = site.root / str(site.table["t1"][3])
        good = path.read_bytes()
        path.write_bytes(b"no image")
        with pytest.raises(VolumeError, match="is not the file that was acquired"):
            preprocess(site, tmp_path / "images")
        path.write_bytes(good)

        assert preprocess(site, tmp_path / "images") == 1

    def test_options_that_are_off_leave_keys_as_they_were(
        self, site: Acquired, tmp_path: Path
    ) -> None:
        """So a study from before an option keeps its arrays, to the byte of keys.json."""
        preprocess(site, tmp_path / "images")
        row = site.table.iloc[0]
        before = digest_of(
            [
                1,
                ["t1", "flair", "mask"],
                {"region": "tumour", "shape": [8, 8, 4], "spacing_mm": [2.0, 2.0, 4.0]},
                {"low_percentile": 1.0, "high_percentile": 99.0},
                {name: row[f"sha256_{name}"] for name in CHANNELS},
            ]
        )

        assert read_json(tmp_path / "images" / "keys.json")["s0"] == before

    def test_labels_of_the_mask_are_part_of_the_key(self, site: Acquired, tmp_path: Path) -> None:
        """Another whole tumour is another array."""
        preprocess(site, tmp_path / "images")
        other = COHORT.model_copy(update={"mask_labels": (1,)})

        assert preprocess(site, tmp_path / "images", cohort=other) == 4

    def test_a_missing_sequence_is_zeros_and_says_so(self, site: Acquired, tmp_path: Path) -> None:
        preprocess(site, tmp_path / "images")

        images = read_images(tmp_path / "images")
        assert images.channels == CHANNELS
        assert images.grid == GRID.shape
        assert images.table["has_flair"].tolist() == ["true", "false", "true", "true"]
        assert images.table["has_mask"].tolist() == ["true", "true", "false", "true"]
        arrays = images.load(range(4)).numpy()
        present = arrays.reshape(4, 3, -1).any(axis=2)
        np.testing.assert_array_equal(present, images.presence.numpy())
        assert arrays.min() >= 0
        assert arrays.max() <= 1

    def test_labels_and_covariates_come_along(self, site: Acquired, tmp_path: Path) -> None:
        preprocess(site, tmp_path / "images")

        table = read_images(tmp_path / "images").table
        assert table["idh"].tolist() == ["mutant", "", "mutant", "mutant"]
        assert table["age"].tolist() == ["41"] * 4
        assert list(table.columns) == [
            *("scan_id", "patient_id", "site", "split"),
            *("has_t1", "has_flair", "has_mask", "idh", "age"),
        ]

    def test_only_scans_of_the_split_are_taken(self, site: Acquired, tmp_path: Path) -> None:
        preprocess(site, tmp_path / "images", splits={"s2": "validation", "s0": "train"})

        table = read_images(tmp_path / "images").table
        assert table["scan_id"].tolist() == ["s0", "s2"]
        assert table["split"].tolist() == ["train", "validation"]

    def test_a_split_with_a_stranger_is_refused(self, site: Acquired, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match="1 are not, first s9"):
            preprocess(site, tmp_path / "images", splits={"s0": "train", "s9": "train"})

    def test_the_split_file_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "s.csv").write_text("scan_id,patient_id,split\n001,p,train\n")

        assert read_splits(tmp_path / "s.csv") == {"001": "train"}

    def test_nothing_changed_computes_nothing(self, site: Acquired, tmp_path: Path) -> None:
        assert preprocess(site, tmp_path / "images") == 4
        before = content(tmp_path / "images")

        assert preprocess(site, tmp_path / "images") == 0
        assert content(tmp_path / "images") == before

    def test_a_changed_scan_computes_one_array(self, site: Acquired, tmp_path: Path) -> None:
        """And the folder is the one that a fresh run makes."""
        preprocess(site, tmp_path / "images")
        rows = site.table[list(site.table.columns[:9])].to_dict("records")
        write_scan(site.root, "s3", offset=7.5)
        changed = acquired(site.root, [{str(k): v for k, v in r.items()} for r in rows], CHANNELS)

        assert preprocess(changed, tmp_path / "images") == 1
        preprocess(changed, tmp_path / "fresh")
        assert content(tmp_path / "images") == content(tmp_path / "fresh")

    def test_a_removed_scan_leaves_no_array(self, site: Acquired, tmp_path: Path) -> None:
        preprocess(site, tmp_path / "images")
        fewer = {"s0": "train", "s1": "train"}

        assert preprocess(site, tmp_path / "images", splits=fewer) == 0
        preprocess(site, tmp_path / "fresh", splits=fewer)
        assert content(tmp_path / "images") == content(tmp_path / "fresh")

    def test_another_grid_computes_all_again(self, site: Acquired, tmp_path: Path) -> None:
        other = GRID.model_copy(update={"region": "head"})
        preprocess(site, tmp_path / "images")

        assert preprocess(site, tmp_path / "images", grid=other) == 4
        preprocess(site, tmp_path / "fresh", grid=other)
        assert content(tmp_path / "images") == content(tmp_path / "fresh")

    def test_another_version_of_the_code_computes_all_again(
        self, site: Acquired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        preprocess(site, tmp_path / "images")
        monkeypatch.setattr(scans, "ALGORITHM_VERSION", -1)

        assert preprocess(site, tmp_path / "images") == 4

    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_a_killed_run_goes_on_to_the_same_bytes(
        self, after: int, site: Acquired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed while writing an array: some are there, one half written, and no index.

        The folder held another grid's arrays before, none of which may survive.
        """
        preprocess(site, tmp_path / "fresh")
        folder = tmp_path / "images"
        preprocess(site, folder, grid=GRID.model_copy(update={"region": "head"}))
        with monkeypatch.context() as patch:
            patch.setattr(scans, "write_voxels", dies(folder, after=after))
            with pytest.raises(KeyboardInterrupt):
                preprocess(site, folder)
        assert not (folder / "images.json").exists()

        assert preprocess(site, folder) == 4 - after
        assert content(folder) == content(tmp_path / "fresh")

    def test_settings_there_and_back_during_a_kill_leave_no_wrong_array(
        self, site: Acquired, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Grid A, then B killed after an array but before its key, then A: that array is B's."""
        folder = tmp_path / "images"
        preprocess(site, folder)
        before = content(folder)
        with monkeypatch.context() as patch:
            patch.setattr(scans, "write_voxels", dies_after_writing)
            with pytest.raises(KeyboardInterrupt):
                preprocess(site, folder, grid=GRID.model_copy(update={"region": "head"}))

        preprocess(site, folder)
        assert content(folder) == before

    def test_a_file_that_changed_since_it_was_acquired_is_refused(
        self, site: Acquired, tmp_path: Path
    ) -> None:
        write_scan(site.root, "s3", offset=9)
        with pytest.raises(VolumeError, match=r"s3_t1\.nii\.gz is not the file that was acquired"):
            preprocess(site, tmp_path / "images")

    def test_a_file_that_is_gone_is_named(self, site: Acquired, tmp_path: Path) -> None:
        (site.root / "s3_t1.nii.gz").unlink()
        with pytest.raises(VolumeError, match=r"s3_t1\.nii\.gz does not exist"):
            preprocess(site, tmp_path / "images")

    def test_keys_do_not_depend_on_where_the_files_are(
        self, site: Acquired, tmp_path: Path
    ) -> None:
        preprocess(site, tmp_path / "images")
        site.root.rename(tmp_path / "moved")
        moved = Acquired(site.site, site.role, tmp_path / "moved", site.table)

        preprocess(moved, tmp_path / "again")
        assert content(tmp_path / "again") == content(tmp_path / "images")
        assert str(tmp_path) not in json.dumps(
            [str(value) for value in content(tmp_path / "images").values()]
        )


class TestPlanes:
    """2D: the same path, with pictures."""

    COHORT = COHORT.model_copy(update={"has_mask": False})
    GRID = GridSettings(region="head", shape=(8, 8), spacing_mm=None, registration=None)

    @pytest.fixture
    def pictures(self, tmp_path: Path) -> Acquired:
        """One picture of two gray pages: t1 and flair."""
        folder = tmp_path / "files"
        folder.mkdir()
        rows, columns = np.indices((16, 16))
        body = (np.abs(rows - 7.5) < 4) & (np.abs(columns - 7.5) < 4)
        first = Image.fromarray(np.where(body, 1000 + 100 * columns, 0).astype("u2"))
        second = Image.fromarray(np.where(body, 5000 - 200 * rows, 0).astype("u2"))
        first.save(folder / "a.tif", save_all=True, append_images=[second])
        row = {"patient_id": "p", "scan_id": "a", "site": "alder", "split": ""}
        row |= {"idh": "", "age": "", "image": "a.tif"}
        return acquired(folder, [row], ("image",))

    def test_the_pages_of_an_image_are_its_sequences(
        self, pictures: Acquired, tmp_path: Path
    ) -> None:
        """The body fills the grid; t1 grows toward the right, FLAIR toward the top."""
        preprocess(pictures, tmp_path / "images", cohort=self.COHORT, grid=self.GRID)

        images = read_images(tmp_path / "images")
        t1, flair = images.load([0]).numpy()[0]
        assert images.channels == ("t1", "flair")
        assert images.presence.all()
        assert (np.diff(t1, axis=0) > 0).all()
        np.testing.assert_allclose(t1[:, 0], np.linspace(0, 1, 8), atol=2e-3)
        np.testing.assert_allclose(t1, t1[:, :1].repeat(8, axis=1))
        assert (np.diff(flair, axis=1) > 0).all()

    def test_another_number_of_channels_is_refused(
        self, pictures: Acquired, tmp_path: Path
    ) -> None:
        three = self.COHORT.model_copy(update={"sequences": ("t1", "t2", "flair")})
        with pytest.raises(VolumeError, match=r"must hold one channel for each of .* but holds 2"):
            preprocess(pictures, tmp_path / "images", cohort=three, grid=self.GRID)


def dies(folder: Path, *, after: int) -> Callable[..., None]:
    """A `write_voxels` whose process is killed in the middle of an array."""
    number = iter(range(10))

    def write_or_die(where: Path, scan_id: str, voxels: np.ndarray) -> None:
        if next(number) == after:
            (folder / "voxels" / f".writing-x-{scan_id}.npy").write_bytes(b"half an arr")
            raise KeyboardInterrupt
        write_voxels(where, scan_id, voxels)

    return write_or_die


def dies_after_writing(folder: Path, scan_id: str, voxels: np.ndarray) -> None:
    """Write an array; the process is killed before it can say so."""
    write_voxels(folder, scan_id, voxels)
    raise KeyboardInterrupt
