"""A cohort of three sites, whose table a test spoils in one cell."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sitesynth.settings import CheckSettings, CohortSettings, SiteSettings, TaskSettings
from sitesynth.volumes import Volume, write_nifti


Rows = list[dict[str, str]]


@pytest.fixture
def cohort() -> CohortSettings:
    return CohortSettings(
        source=".",
        table="scans.csv",
        columns={},
        codes={},
        sequences=("t1", "flair"),
        has_mask=True,
        mask_labels=None,
        has_brain_mask=False,
        label_unit="patient",
        labels={"idh": ("wildtype", "mutant")},
        covariates=("age", "sex"),
    )


@pytest.fixture
def sites() -> SiteSettings:
    return SiteSettings(
        all=("alder", "birch", "cedar"), training=("alder", "birch"), external=("cedar",)
    )


@pytest.fixture
def task() -> TaskSettings:
    return TaskSettings(label="idh", positive="mutant", stages=None)


@pytest.fixture
def check() -> CheckSettings:
    return CheckSettings(
        min_patients=2,
        min_patients_per_class=1,
        min_spacing_mm=0.2,
        max_spacing_mm=10.0,
        grids="one",
        affine_tolerance_mm=0.5,
        bad_scans="stop",
        near_duplicates="stop",
    )


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Two patients at each of three sites, one of each class; every file is there, and empty."""
    made = []
    for site in ("alder", "birch", "cedar"):
        for number, label in enumerate(("wildtype", "mutant"), start=1):
            scan = f"{site}-{number:03d}"
            row = {
                "patient_id": scan,
                "scan_id": scan,
                "site": site,
                "split": "",
                "idh": label,
                "age": "61",
                "sex": "F",
            }
            row |= {name: f"{scan}_{name}.nii.gz" for name in ("t1", "flair", "mask")}
            for name in ("t1", "flair", "mask"):
                (tmp_path / row[name]).touch()
            made.append(row)
    return made


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[[Rows], Path]:
    """Return a function that writes `scans.csv` into the test's folder."""

    def write(rows: Rows) -> Path:
        path = tmp_path / "scans.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def write_scan(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function that writes t1, flair and mask of one scan: noise, and a box inside it."""

    def write(scan: str, *, affine: np.ndarray | None = None, seed: int = 0) -> dict[str, str]:
        random = np.random.default_rng([seed, *scan.encode()])
        mask = np.zeros((6, 5, 4), np.float32)
        mask[2:4, 1:3, 1:3] = 1
        arrays = {
            "t1": random.integers(1, 100, mask.shape).astype(np.float32),
            "flair": random.integers(1, 100, mask.shape).astype(np.float32),
            "mask": mask,
        }
        place = np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine
        paths = {name: f"{scan}_{name}.nii.gz" for name in arrays}
        for name, array in arrays.items():
            write_nifti(tmp_path / paths[name], Volume(array, place), dtype=np.float32)
        return paths

    return write
