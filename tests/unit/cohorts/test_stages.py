"""From a table to splits, by the stages themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from pipelines import acquire, split
from pipelines.check import run as run_check
from sitesynth.errors import CohortError, LeakageError
from sitesynth.settings import (
    CheckSettings,
    CohortSettings,
    SiteSettings,
    SplitSettings,
    TaskSettings,
)
from sitesynth.tracking import Silent
from sitesynth.volumes import Volume, read_volume, write_nifti


pytestmark = pytest.mark.slow  # great-expectations takes 5 s to import

Rows = list[dict[str, str]]
Stages = Callable[..., None]


@pytest.fixture
def rows(rows: Rows, write_scan: Callable[..., dict[str, str]]) -> Rows:
    """Four patients at each site, each with real files."""
    more = [row | dict.fromkeys(("patient_id", "scan_id"), f"{row['scan_id']}-b") for row in rows]
    return [row | write_scan(row["scan_id"]) for row in rows + more]


@pytest.fixture
def stages(
    tmp_path: Path,
    write_table: Callable[[Rows], Path],
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    check: CheckSettings,
) -> Stages:
    """Return a function that runs acquire, check and split on a table, in the test's folder."""

    def run_stages(rows: Rows, bad_scans: Literal["stop", "quarantine"] = "stop") -> None:
        write_table(rows)
        for site in sites.all:
            acquire.run(
                site=site,
                source=tmp_path,
                acquired=tmp_path / "acquired" / site,
                cohort=cohort,
                sites=sites,
                phantom=None,
                seed=1,
                tracked=Silent(),
            )
            run_check(
                site=site,
                acquired=tmp_path / "acquired" / site,
                checks=tmp_path / "checks" / f"{site}.json",
                page=tmp_path / "checks" / f"{site}.html",
                cohort=cohort,
                task=task,
                check=check.model_copy(update={"bad_scans": bad_scans}),
                extractors={},
                tracked=Silent(),
            )
        split.run(
            acquired=tmp_path / "acquired",
            checks=tmp_path / "checks",
            splits=tmp_path / "splits",
            cohort=cohort,
            sites=sites,
            task=task,
            check=check,
            split=SplitSettings(validation_fraction=0.5),
            seed=1,
            tracked=Silent(),
        )

    return run_stages


def test_a_table_becomes_checked_splits(rows: Rows, stages: Stages, tmp_path: Path) -> None:
    """Half of each class's two patients is held out; external sites are tested on."""
    stages(rows)

    frozen = json.loads((tmp_path / "splits" / "frozen.json").read_text())
    assert frozen["counts"]["alder"]["validation"] == {"wildtype": 1, "mutant": 1, "unknown": 0}
    assert frozen["counts"]["cedar"]["test"] == {"wildtype": 2, "mutant": 2, "unknown": 0}
    assert list(pd.read_csv(tmp_path / "splits" / "alder.csv")) == [
        "scan_id",
        "patient_id",
        "split",
    ]


def test_a_failed_check_leaves_its_page(rows: Rows, stages: Stages, tmp_path: Path) -> None:
    (tmp_path / rows[0]["t1"]).write_bytes(b"not a scan")

    with pytest.raises(CohortError, match="Every file can be read"):
        stages(rows)

    assert "1 of 21 rules broken" in (tmp_path / "checks" / "alder.html").read_text()
    assert not (tmp_path / "splits").exists()


def test_a_scan_in_quarantine_is_in_no_split(rows: Rows, stages: Stages, tmp_path: Path) -> None:
    """Nor does it spoil its site, or is it forgotten."""
    cedar = rows[4]
    (tmp_path / cedar["t1"]).write_bytes(b"not a scan")

    stages(rows, bad_scans="quarantine")

    split_up = pd.read_csv(tmp_path / "splits" / "cedar.csv")["scan_id"]
    assert set(split_up) == {row["scan_id"] for row in rows if row["site"] == "cedar"} - {
        cedar["scan_id"]
    }
    found = json.loads((tmp_path / "checks" / "cedar.json").read_text())
    assert [row["scan_id"] for row in found["quarantine"]] == [cedar["scan_id"]]
    assert cedar["t1"] in (tmp_path / "checks" / "cedar.html").read_text()


def test_too_few_left_stop_the_study(rows: Rows, stages: Stages, tmp_path: Path) -> None:
    """What is set aside does not count towards the patients that a site must have."""
    for row in rows:
        if row["site"] == "alder" and row["idh"] == "mutant":
            (tmp_path / row["t1"]).write_bytes(b"not a scan")

    with pytest.raises(CohortError, match="patients with idh = mutant: num_patients = 0"):
        stages(rows, bad_scans="quarantine")


def test_an_image_that_was_copied_to_another_site_is_a_leak(
    rows: Rows, stages: Stages, tmp_path: Path
) -> None:
    alder, cedar = rows[0], rows[4]
    (tmp_path / cedar["t1"]).write_bytes((tmp_path / alder["t1"]).read_bytes())

    with pytest.raises(LeakageError, match="t1 of scan 'alder-001' at alder and t1 of scan 'cedar"):
        stages(rows)


def test_a_patient_who_is_there_twice_under_two_names_is_a_leak(
    rows: Rows, stages: Stages, tmp_path: Path
) -> None:
    """Brighter, and with noise: no file and no voxel is the same."""
    alder, cedar = rows[0], rows[4]
    for column in ("t1", "flair"):
        volume = read_volume(tmp_path / alder[column])
        noise = np.random.default_rng(1).normal(0, 0.01 * volume.voxels.std(), volume.voxels.shape)
        voxels = (3 * volume.voxels + noise).astype(np.float32)
        write_nifti(tmp_path / cedar[column], Volume(voxels, volume.affine), dtype=np.float32)

    with pytest.raises(LeakageError, match="'alder-001' at alder and scan 'cedar-001' at cedar"):
        stages(rows)
    assert not (tmp_path / "splits").exists()
