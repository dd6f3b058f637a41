"""Landmarks: sites become alike, and nobody but training scans has a part in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sitesynth.cohorts.acquired import Acquired
from sitesynth.errors import CohortError
from sitesynth.landmarks import MIN_SCANS, join_landmarks, measure_landmarks
from sitesynth.preprocessing.intensity import DECILES
from sitesynth.preprocessing.opened import open_scan
from sitesynth.settings import (
    CohortSettings,
    GridSettings,
    IntensitySettings,
    load_settings,
)
from sitesynth.storage import digest_of_file
from sitesynth.volumes import Volume, write_nifti


STUDY = load_settings(Path(__file__).parents[2] / "studies/phantom.yaml")
COHORT: CohortSettings = STUDY.cohort.model_copy(
    update={"sequences": ("t1", "flair"), "has_mask": False}
)
GRID: GridSettings = STUDY.grid.model_copy(update={"region": "head"})
INTENSITY: IntensitySettings = STUDY.intensity
SPLITS = ("train",) * 6 + ("validation", "test")


def head(patient: int, *, gamma: float) -> Volume:
    """A ball of many intensities, bent by a scanner, each patient's with a grain of its own."""
    x, y, z = np.indices((16, 16, 12))
    ball = (x - 8) ** 2 + (y - 8) ** 2 + (z - 6) ** 2 < 30
    grain = np.random.default_rng(patient).random(ball.shape)
    voxels = np.where(ball, 10 + 500 * (0.7 * x / 15 + 0.3 * grain) ** gamma, 0)
    return Volume(voxels.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


def site(folder: Path, name: str, *, gamma: float, role: str = "training") -> Acquired:
    """Six training scans, one of validation and one of test; half have no FLAIR."""
    rows = []
    for number in range(len(SPLITS)):
        row = {"scan_id": f"{name}-{number}", "t1": f"{name}-{number}_t1.nii.gz", "flair": ""}
        write_nifti(folder / row["t1"], head(number, gamma=gamma), dtype=np.float32)
        if number % 2:
            row["flair"] = f"{name}-{number}_flair.nii.gz"
            write_nifti(folder / row["flair"], head(number + 50, gamma=gamma), dtype=np.float32)
        rows.append(row)
    table = pd.DataFrame(rows, dtype=str)
    for column in ("t1", "flair"):
        table[f"sha256_{column}"] = [
            digest_of_file(folder / path) if path else "" for path in table[column]
        ]
    assert role in {"training", "external"}
    return Acquired(name, "training" if role == "training" else "external", folder, table)


def measure(found: Acquired) -> dict[str, Any]:
    return measure_landmarks(
        found,
        splits=dict(zip(found.table["scan_id"], SPLITS, strict=True)),
        cohort=COHORT,
        grid=GRID,
        intensity=INTENSITY,
        on_scan=lambda number, values: None,
    )


def join(measures: list[Any], **changes: Any) -> dict[str, tuple[float, ...]]:
    return join_landmarks(
        measures,
        training=("alder", "birch"),
        cohort=changes.get("cohort", COHORT.model_copy(update={"sequences": ("t1",)})),
        grid=GRID,
        intensity=changes.get("intensity", INTENSITY),
    )


def told(name: str, deciles: list[float], *, num_scans: int = 10) -> dict[str, Any]:
    """What a site says of its T1."""
    content = {
        "site": name,
        "sequences": {"t1": {"num_scans": num_scans, "deciles": deciles}},
    }
    empty = measure_landmarks(
        Acquired(name, "training", Path(), pd.DataFrame({"scan_id": []}, dtype=str)),
        splits={},
        cohort=COHORT.model_copy(update={"sequences": ("t1",)}),
        grid=GRID,
        intensity=INTENSITY,
        on_scan=lambda number, values: None,
    )
    return content | {"prepared": empty["prepared"]}


def test_only_training_scans_have_a_part(tmp_path: Path) -> None:
    """Validation and test scans are not opened: without their files nothing changes."""
    found = site(tmp_path, "alder", gamma=1.0)
    before = measure(found)
    for path in (*found.table["t1"][6:], found.table["flair"][7]):
        (tmp_path / path).unlink()
    after = measure(found)

    assert json.dumps(before) == json.dumps(after)
    assert before["sequences"].keys() == {"t1"}, "three scans have a FLAIR: too few to tell"
    assert before["sequences"]["t1"]["num_scans"] == 6


def test_an_external_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="'elm' is an external one: nothing may be fitted"):
        measure(site(tmp_path, "elm", gamma=1.0, role="external"))


def test_what_leaves_a_site_are_means(tmp_path: Path) -> None:
    """Nine numbers a sequence, and no scan's name or number."""
    content = json.dumps(measure(site(tmp_path, "alder", gamma=1.0)))

    assert "alder-0" not in content
    assert len(json.loads(content)["sequences"]["t1"]["deciles"]) == len(DECILES)


def test_sites_count_by_their_scans() -> None:
    """(10 x 0.2 + 30 x 0.6) / 40 = 0.5, in whatever order the sites come."""
    low = [0.02 * n for n in range(6, 15)]
    alder = told("alder", [0.2, *low[1:]], num_scans=10)
    birch = told("birch", [0.6, *low[1:]], num_scans=30)

    assert join([alder, birch])["t1"][0] == 0.5
    assert join([alder, birch]) == join([birch, alder])
    assert join([alder, birch])["t1"][1:] == tuple(round(value, 4) for value in low[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sites: sites[:1], r"which are \['alder', 'birch'\], but got \['alder'\]"),
        (lambda sites: [sites[0], sites[0]], r"but got \['alder', 'alder'\]"),
        (lambda sites: [sites[0], sites[1] | {"site": "elm"}], r"but got \['alder', 'elm'\]"),
        (
            lambda sites: [sites[0], sites[1] | {"prepared": "x"}],
            r"\['birch'\] measured with other",
        ),
        (lambda sites: [sites[0], {"site": "birch"}], "that `sitesynth landmarks measure` wrote"),
        (lambda sites: [sites[0], told("birch", [0.5])], "that `sitesynth landmarks measure`"),
        (
            lambda sites: [*sites[:1], told("birch", [7.0] * 9)],
            "that `sitesynth landmarks measure`",
        ),
        (
            lambda sites: [one | {"sequences": {}} for one in sites],
            f"no site has {MIN_SCANS} training scans of sequence 't1'",
        ),
    ],
    ids=[
        *("one missing", "one twice", "external", "prepared otherwise", "another file"),
        *("too few numbers", "numbers out of range", "no scans"),
    ],
)
def test_measures_that_do_not_fit_are_refused(change: Any, message: str) -> None:
    deciles = [0.1 * n for n in range(1, 10)]

    with pytest.raises(CohortError, match=message):
        join(change([told("alder", deciles), told("birch", deciles)]))


def test_sites_become_alike_an_external_one_too(tmp_path: Path) -> None:
    """Three scanners of other contrast; the third had no part, and is bent like the others."""
    sites = {
        name: site(tmp_path / name, name, gamma=gamma, role=role)
        for name, gamma, role in (
            ("alder", 1.0, "training"),
            ("birch", 1.5, "training"),
            ("elm", 2.5, "external"),
        )
    }
    both = [measure(sites[name]) for name in ("alder", "birch")]
    joined = join(
        [one | {"prepared": told("alder", [])["prepared"]} for one in both],
    )
    bent = INTENSITY.model_copy(update={"landmarks": joined})

    def medians(intensity: IntensitySettings) -> Mapping[str, float]:
        found = {}
        for name, one in sites.items():
            scan = open_scan(
                {"t1": one.root / one.table["t1"][7]},
                channels=("t1",),
                grid=GRID,
                intensity=intensity,
            )
            even = scan.even_out("t1", intensity)
            found[name] = float(np.median(even.voxels[scan.foreground_on("t1")]))
        return found

    before, after = medians(INTENSITY), medians(bent)
    assert max(before.values()) - min(before.values()) > 0.15
    assert max(after.values()) - min(after.values()) < 0.01
    assert abs(after["elm"] - joined["t1"][4]) < 0.01
