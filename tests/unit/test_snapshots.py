"""Pictures of a training: whose scans are shown, where, and which way up."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.snapshots import log_reconstructions, log_samples
from sitesynth.tracking import ARTIFACTS, EVENTS, journal_folders, record_run
from tests.unit.tiny_models import tiny_generator


GRID = (8, 8)


@pytest.fixture
def scans(tmp_path: Path) -> ImageSet:
    """Return four scans whose right half is bright."""
    voxels = np.zeros((2, *GRID), dtype=np.float32)
    voxels[0, 4:] = 1
    rows = []
    for number in range(4):
        write_voxels(tmp_path / "images", f"p{number}", voxels)
        rows.append(
            {"scan_id": f"p{number}", "patient_id": f"p{number}", "site": "alder"}
            | {"split": "validation", "has_t1": "true", "has_mask": "true"}
        )
    write_index(tmp_path / "images", channels=("t1", "mask"), grid=GRID, rows=rows, about={})
    return read_images(tmp_path / "images")


@pytest.fixture
def autoencoder() -> Autoencoder:
    return tiny_generator(GRID).autoencoder


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep MLflow's folder in the study's own, as it is if nothing else is asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SITESYNTH_MLRUNS", "mlruns")


def pictures(scans: ImageSet, autoencoder: Autoencoder, *, is_nobodys: bool) -> list[Path]:
    """Log reconstructions in a run of its own; return the pictures in its journal."""
    with record_run("train", "alder", study="s", params={}, inputs={}, tags={}) as tracked:
        log_reconstructions(tracked, scans, autoencoder, is_nobodys=is_nobodys)
    return sorted((journal_folders()[-1] / ARTIFACTS).rglob("*.png"))


@pytest.mark.usefixtures("at_home")
def test_held_out_scans_stand_beside_their_reconstructions(
    scans: ImageSet, autoencoder: Autoencoder
) -> None:
    """Three pairs, two channels. The untrained network gives 0.5 for all."""
    (path,) = pictures(scans, autoencoder, is_nobodys=False)
    with Image.open(path) as picture:
        shown = np.asarray(picture.convert("L"))

    assert path.name == "reconstructions.png"
    assert shown.shape[1] == pytest.approx(3 * shown.shape[0], rel=0.15)
    assert {0, 255} <= set(np.unique(shown).tolist())


@pytest.mark.usefixtures("at_home")
def test_a_site_without_held_out_scans_shows_none(
    scans: ImageSet, autoencoder: Autoencoder
) -> None:
    assert pictures(scans.in_split("test"), autoencoder, is_nobodys=False) == []


def test_no_patient_is_shown_outside_the_studys_folder(
    scans: ImageSet, autoencoder: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder shared by hospitals may hold phantoms, and no one's scans."""
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path / "shared"))

    assert pictures(scans, autoencoder, is_nobodys=False) == []
    assert len(pictures(scans, autoencoder, is_nobodys=True)) == 1


@pytest.mark.parametrize("grid", [(8, 8), (8, 8, 4)])
def test_samples_of_every_class_are_kept(grid: tuple[int, ...]) -> None:
    """Two of each of two classes, and the run ends well."""
    with record_run("train", "alder", study="s", params={}, inputs={}, tags={}) as tracked:
        log_samples(tracked, tiny_generator(grid), seed=1)
    folder = journal_folders()[-1]
    with Image.open(folder / ARTIFACTS / "samples.png") as picture:
        width, height = picture.size
    last = json.loads((folder / EVENTS).read_text().splitlines()[-1])

    assert last["status"] == "FINISHED"
    assert width == pytest.approx(2 * height, rel=0.2)
