"""What the acquire stage leaves behind."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sitesynth.cohorts.acquired import read_acquired
from sitesynth.cohorts.acquisition import acquire_site
from sitesynth.errors import MissingInputError
from sitesynth.settings import (
    CohortSettings,
    PhantomSettings,
    PhantomSiteSettings,
    SiteSettings,
)
from sitesynth.tracking import Silent


Rows = list[dict[str, str]]


def acquired(
    site: str,
    folder: Path,
    *,
    source: Path,
    cohort: CohortSettings,
    sites: SiteSettings,
    phantom: PhantomSettings | None = None,
) -> None:
    acquire_site(
        site,
        source=source,
        folder=folder,
        cohort=cohort,
        sites=sites,
        phantom=phantom,
        seed=1,
        progress=Silent().progress,
    )


def test_a_site_gets_its_own_rows_with_the_digests_of_its_files(
    tmp_path: Path,
    rows: Rows,
    write_table: Callable[[Rows], Path],
    cohort: CohortSettings,
    sites: SiteSettings,
) -> None:
    (tmp_path / rows[2]["t1"]).write_bytes(b"a scan")
    rows[2]["mask"] = ""
    write_table(rows)

    acquired("birch", tmp_path / "birch", source=tmp_path, cohort=cohort, sites=sites)

    found = read_acquired(tmp_path / "birch")
    assert (found.site, found.role, found.root) == ("birch", "training", tmp_path)
    assert list(found.table["scan_id"]) == ["birch-001", "birch-002"]
    assert found.table["sha256_t1"][0] == hashlib.sha256(b"a scan").hexdigest()
    assert found.table["sha256_mask"][0] == ""


def test_the_counts_are_of_patients(
    tmp_path: Path,
    rows: Rows,
    write_table: Callable[[Rows], Path],
    cohort: CohortSettings,
    sites: SiteSettings,
) -> None:
    rows[4]["t1"] = ""
    rows[5]["idh"] = ""
    write_table([*rows, rows[0] | {"site": "zelkova"}])

    acquired("cedar", tmp_path / "cedar", source=tmp_path, cohort=cohort, sites=sites)

    about = json.loads((tmp_path / "cedar" / "cohort.json").read_text())
    assert about["patients"] == {"idh": {"wildtype": 1, "mutant": 0, "unknown": 1}}
    assert about["missing"] == {"t1": 1, "flair": 0, "mask": 0}
    assert about["left_out"] == {"zelkova": 1}
    assert about["role"] == "external"


def test_a_folder_that_is_not_acquired_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="holds no acquired site"):
        read_acquired(tmp_path)


def test_the_phantom_passes_as_any_table_and_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    cohort = CohortSettings(
        source="src/sitesynth/phantom",
        table=None,
        columns={},
        codes={},
        sequences=("t1", "t1c", "t2", "flair"),
        has_mask=True,
        mask_labels=None,
        has_brain_mask=False,
        label_unit="patient",
        labels={
            "idh": ("wildtype", "mutant"),
            "tumour_type": ("glioblastoma", "astrocytoma", "oligodendroglioma"),
        },
        covariates=("age", "sex", "scanner", "field_strength_t"),
    )
    sites = SiteSettings(all=("alder", "birch"), training=("alder",), external=("birch",))
    one = PhantomSiteSettings(
        num_patients=1,
        mutant_fraction=0.5,
        mean_age_shift=0.0,
        contrast=1.0,
        bias_field=0.1,
        noise=0.03,
        blur_mm=2.0,
        spacing_mm=(8.0, 8.0, 8.0),
        orientation="RAS",
        scanner="Aquila",
        field_strength_t=3.0,
        missing_fraction=0.0,
    )
    phantom = PhantomSettings(
        separation=1.0, astrocytoma_fraction=0.5, sites={"alder": one, "birch": one}
    )
    for folder in ("first", "second"):
        acquired(
            "alder",
            tmp_path / folder,
            source=tmp_path,
            cohort=cohort,
            sites=sites,
            phantom=phantom,
        )

    first, second = (read_acquired(tmp_path / folder).table for folder in ("first", "second"))
    assert first.equals(second)
    assert list(first["site"]) == ["alder"]
    assert (tmp_path / "first" / first["flair"][0]).is_file()
