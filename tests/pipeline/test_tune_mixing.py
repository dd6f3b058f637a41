"""The stage `tune_mixing` on tiny sites: what it reads, what it writes, what it tells MLflow."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import train_classifier, tune_mixing
from sitesynth import seeds
from sitesynth.images import write_index, write_voxels
from sitesynth.settings import ClassifierSettings, SiteSettings, load_settings
from sitesynth.storage import write_json
from sitesynth.tracking import Silent, record_run
from tests.unit.mixing.tiny_problem import CLASSIFIER, MIXING


ROOT = Path(__file__).parents[2]

CHANNELS = ("t1", "flair")
GRID = (8, 8)
CLASSES = ("wildtype", "mutant")

Json = dict[str, Any]

SITES = SiteSettings(all=("alder", "birch", "elm"), training=("alder", "birch"), external=("elm",))
TINY = ClassifierSettings.model_validate(
    CLASSIFIER.model_dump() | {"learning_rate": 0.01, "batch_size": 4}
)


def write_scans(folder: Path, site: str, splits: Sequence[str]) -> None:
    """Write an image set of scans, of both classes in turn, in these splits in turn."""
    rng = seeds.numpy_generator(0, str(folder.parent.name), site)
    rows = []
    for number in range(16):
        scan = f"{site}-{number:02d}"
        bright = number % 2
        write_voxels(folder, scan, (0.5 * rng.random((2, *GRID)) + 0.3 * bright).astype(np.float32))
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": site, "idh": CLASSES[bright]}
            | {"split": splits[number // 2 % len(splits)], "has_t1": "true", "has_flair": "true"}
        )
    write_index(folder, channels=CHANNELS, grid=GRID, rows=rows, about={})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Write what the stages before leave at two training sites, the external one left out."""
    for site in ("alder", "birch"):
        write_scans(tmp_path / "images" / site, site, ["train", "validation"])
        write_scans(tmp_path / "synthetic" / site, site, ["train"])
        card = {"training": {"scans_per_class": {"wildtype": 4, "mutant": 2}}}
        write_json(tmp_path / "bundles" / site / "card.json", card)
    return tmp_path


def run_stage(folder: Path, **changed: object) -> Json:
    """Run the stage, recording a journal, and return what it wrote."""
    settings = load_settings(ROOT / "params.yaml")
    with record_run("tune_mixing", None, study="s", params={}, inputs={}, tags={}) as tracked:
        tune_mixing.run(
            images=folder / "images",
            synthetic=folder / "synthetic",
            bundles=folder / "bundles",
            mixes=folder / "mixing.json",
            cohort=settings.cohort,
            sites=SITES,
            task=settings.task,
            classifier=TINY,
            mixing=MIXING.model_copy(update={"num_trials": 5, "num_seeds": 2, **changed}),
            seed=1,
            scratch=folder / "scratch",
            tracked=tracked,
        )
    found: Json = json.loads((folder / "mixing.json").read_text())
    return found


def weights_of(folder: Path, strategy: str) -> bytes:
    """Train a strategy on the mixes of a folder, and return its classifier's weights."""
    settings = load_settings(ROOT / "params.yaml")
    train_classifier.run(
        strategy=strategy,
        images=folder / "images",
        synthetic=folder / "synthetic",
        mixes=folder / "mixing.json",
        model=folder / strategy,
        traffic=folder / "traffic.json",
        cohort=settings.cohort,
        sites=SITES,
        task=settings.task,
        grid=settings.grid,
        intensity=settings.intensity,
        classifier=TINY,
        federated=settings.federated,
        seed=1,
        scratch=folder / "scratch" / strategy,
        tracked=Silent(),
    )
    return (folder / strategy / "seed_0.safetensors").read_bytes()


@pytest.fixture
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path / "mlruns"))
    monkeypatch.setenv("SITESYNTH_RECORDER", "off")
    return tmp_path / "mlruns" / "journals"


def told(journals: Path) -> tuple[list[Mapping[str, Any]], set[str]]:
    """Return the events of the one journal, and its artifacts."""
    (journal,) = journals.iterdir()
    lines = (journal / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], {p.name for p in journal.rglob("*.png")}


@pytest.mark.usefixtures("journals")
def test_only_validation_scans_are_looked_at(study: Path) -> None:
    """Training scans are made unreadable, external ones were never there: nobody notices.

    So what the tuner reports of scans is of validation alone: 4 of 8 pairs at each site.
    """
    for site in ("alder", "birch"):
        for line in (study / "images" / site / "table.csv").read_text().splitlines()[1:]:
            if "train" in line:
                scan = line.split(",")[0]
                (study / "images" / site / "voxels" / f"{scan}.npy").write_bytes(b"unreadable")

    assert run_stage(study)["objective"]["scans"] == {"alder": 8, "birch": 8}


def test_every_trial_becomes_a_run_and_the_search_is_drawn(study: Path, journals: Path) -> None:
    """With its counts, its looks, and how it ended; the file holds the same."""
    found = run_stage(study, num_random=5)
    events, pictures = told(journals)
    nested = [event for event in events if event["event"] == "nested"]

    assert len(nested) == len(found["trials"]) == 5
    for event, trial in zip(nested, found["trials"], strict=True):
        assert event["params"] == {
            f"{site}/{name}": n
            for site, counts in trial["counts"].items()
            for name, n in counts.items()
        }
        assert [step for step, _ in event["metrics"]] == [step for step, _ in trial["looks"]]
    assert [event["tags"]["mix"] for event in nested] == [
        "equal", "proportional", "without-alder", "without-birch", "proposed"
    ]  # fmt: skip
    assert pictures == {"history.png", "slice.png", "importance.png", "contour.png"}


@pytest.mark.usefixtures("journals")
def test_the_file_is_the_same_bytes_every_time(study: Path) -> None:
    """No time, no id: the stage is deterministic, as far as its arithmetic is."""
    run_stage(study)
    first = (study / "mixing.json").read_bytes()
    (study / "scratch" / "trials.log").unlink()
    run_stage(study)

    assert (study / "mixing.json").read_bytes() == first


@pytest.mark.usefixtures("journals")
def test_the_contract_is_kept(study: Path) -> None:
    """Trials, best counts per site and class, validation objective."""
    found = run_stage(study)

    assert {"trials", "best", "objective", "mixes"} <= set(found)
    assert {site: set(counts) for site, counts in found["best"]["counts"].items()} == {
        "alder": set(CLASSES),
        "birch": set(CLASSES),
    }
    assert found["mixes"]["proportional"]["alder"] == {"wildtype": 8, "mutant": 4}
    assert found["best"]["validation_loss"] > 0


def test_strategies_learn_from_what_was_written(study: Path) -> None:
    """Each from its mix: on equal mixes they are the same strategy, on others they are not."""
    equal = {site: dict.fromkeys(CLASSES, 8) for site in ("alder", "birch")}
    only_alder = {"alder": dict.fromkeys(CLASSES, 8), "birch": dict.fromkeys(CLASSES, 0)}
    write_json(study / "mixing.json", {"mixes": {"tuned": equal, "equal": equal}})
    by_equal = weights_of(study, "synthetic-equal")

    assert weights_of(study, "synthetic") == by_equal
    write_json(study / "mixing.json", {"mixes": {"tuned": only_alder, "equal": equal}})
    assert weights_of(study, "synthetic-equal") == by_equal
    assert weights_of(study, "synthetic") != by_equal
    assert weights_of(study, "augmented") != weights_of(study, "augmented-equal")
