"""The stage `supplement` on tiny sites whose synthetic scans are known to help, or to harm."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import supplement
from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.images import write_index, write_voxels
from sitesynth.settings import ClassifierSettings, SiteSettings, load_settings
from sitesynth.storage import read_json, write_json
from sitesynth.strategies.pooled import Pooled
from sitesynth.tracking import Silent
from tests.unit.mixing.tiny_problem import CLASSIFIER


ROOT = Path(__file__).parents[2]
CLASSES = ("wildtype", "mutant")
SITES = SiteSettings(all=("alder", "birch", "elm"), training=("alder", "birch"), external=("elm",))
TINY = ClassifierSettings.model_validate(
    CLASSIFIER.model_dump() | {"num_steps": 12, "validate_every": 12, "learning_rate": 0.05}
)

Json = dict[str, Any]


def write_scans(folder: Path, splits: list[str], count: int, *, lies: bool = False) -> None:
    """Write an image set in which mutants are bright; where it lies, they are called wild type."""
    rng = seeds.numpy_generator(0, str(folder.name), str(folder.parent.name))
    rows = []
    for number in range(count):
        bright, scan = number % 2, f"{folder.name}-{number:03d}"
        voxels = 0.5 * rng.random((1, 8, 8), dtype=np.float32) + 0.4 * bright
        write_voxels(folder, scan, voxels)
        row = {"scan_id": scan, "patient_id": scan, "site": folder.name, "has_t1": "true"}
        told = {"idh": CLASSES[bright != lies], "split": splits[number // 2 % len(splits)]}
        rows.append(row | told)
    write_index(folder, channels=["t1"], grid=[8, 8], rows=rows, about={})


def write_study(folder: Path, *, real_lies: bool, synthetic_lies: bool) -> Path:
    """Write what the stages before leave: 4 real scans of each class and site, 40 synthetic."""
    for site in SITES.training:
        write_scans(folder / "images" / site, ["train"], 8, lies=real_lies)
        write_scans(folder / "synthetic" / site, ["train"], 80, lies=synthetic_lies)
        held_out = folder / "images" / site
        mark_last(held_out)
    write_scans(folder / "images" / "elm", ["test"], 40)
    write_json(folder / "splits" / "frozen.json", {"test_sha256": "frozen"})
    return folder


def mark_last(folder: Path) -> None:
    """Make the last two of a site's scans those that it tries models on."""
    table = (folder / "table.csv").read_text().splitlines()
    kept = [*table[:-2], *(line.replace("train", "validation") for line in table[-2:])]
    (folder / "table.csv").write_text("\n".join(kept) + "\n")


def run_stage(folder: Path, percentages: list[int], *, num_seeds: int = 2) -> Json:
    """Run the stage, and return what it wrote."""
    study = load_settings(ROOT / "params.yaml")
    asked = {"percentages": tuple(percentages), "num_seeds": num_seeds}
    supplement.run(
        images=folder / "images",
        synthetic=folder / "synthetic",
        splits=folder / "splits",
        curve=folder / "supplementation.json",
        cohort=study.cohort.model_copy(update={"sequences": ("t1",), "has_mask": False}),
        sites=SITES,
        task=study.task,
        grid=study.grid.model_copy(update={"shape": (8, 8), "spacing_mm": (1.0, 1.0)}),
        intensity=study.intensity,
        classifier=TINY,
        supplementation=study.supplementation.model_copy(update=asked),
        evaluation=study.evaluation.model_copy(update={"num_resamples": 200}),
        seed=1,
        scratch=folder / "scratch",
        tracked=Silent(),
    )
    found: Json = read_json(folder / "supplementation.json")
    return found


def aucs(found: Json) -> dict[str, float]:
    return {entry["name"]: entry["auc"]["value"] for entry in found["amounts"]}


def test_synthetic_scans_that_carry_the_signal_raise_the_auc(tmp_path: Path) -> None:
    """Real scans with their labels turned around mislead; ten times as many honest ones correct."""
    found = run_stage(write_study(tmp_path, real_lies=True, synthetic_lies=False), [0, 1000])
    points = aucs(found)

    assert points["added-0"] < 0.2
    assert points["added-1000"] > 0.8
    assert points["alone-1000"] > 0.8
    raised = found["amounts"][1]["difference"]
    assert raised["low"] > 0.5


def test_synthetic_scans_that_lie_lower_it(tmp_path: Path) -> None:
    found = run_stage(write_study(tmp_path, real_lies=False, synthetic_lies=True), [0, 1000])
    points = aucs(found)

    assert points["added-0"] > 0.8
    assert points["added-1000"] < 0.2
    assert points["alone-1000"] < 0.2


def test_a_curve_goes_on_from_its_finished_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every point kept, nothing is trained, and the file is the same to the byte."""
    folder = write_study(tmp_path, real_lies=False, synthetic_lies=False)
    run_stage(folder, [0, 50], num_seeds=1)
    first = (folder / "supplementation.json").read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Pooled, "fit", refuse)
    run_stage(folder, [0, 50], num_seeds=1)
    assert (folder / "supplementation.json").read_bytes() == first


def test_a_pool_that_is_too_small_stops_before_any_training(tmp_path: Path) -> None:
    """Three real scans of a class and 40 synthetic ones are 1333 %, not 2000."""
    folder = write_study(tmp_path, real_lies=False, synthetic_lies=False)

    with pytest.raises(TrainingError, match=r"alder/wildtype has 40 of 60.* to 60 or more"):
        run_stage(folder, [0, 2000])
    assert not (folder / "supplementation.json").exists()
    assert not (folder / "scratch").exists()


def test_a_study_that_does_not_ask_reads_nothing(tmp_path: Path) -> None:
    """No scan is there to be read, and the file says how to ask."""
    found = run_stage(tmp_path, [])

    assert found["amounts"] == []
    assert "percentages" in found["about"]


def test_a_study_that_does_not_ask_never_waits_for_torch() -> None:
    """It takes seconds to import; a fresh process knows what the stage has imported."""
    command = "import sys, pipelines.supplement; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=False)
    assert done.returncode == 0
