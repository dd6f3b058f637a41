"""dvc.lock, as DVC writes it, against a folder that is or is not as it says."""

from pathlib import Path

import pytest

from pipelines._stage import digest_of_outputs
from sitesynth.lockfile import Change, LockedStage, Workspace, closure, items_of, read_lock


# Of a file "x = 1\n", and of a folder whose one file, a, says "scan".
CODE, SCAN = "3253b41059cac6e987c5a5e9233ea5d0", "bf842f6ac64bf1bcbbf82953295ebc12.dir"
LOCK = f"""
schema: '2.0'
stages:
  acquire@alder:
    cmd: python -m pipelines.acquire
    deps:
    - {{path: src/acquire.py, hash: md5, md5: {CODE}, size: 6}}
    params:
      params.yaml: {{seed: 1, overrides.alder: {{}}}}
    outs:
    - {{path: data/acquired/alder, hash: md5, md5: {SCAN}, size: 4, nfiles: 1}}
  split:
    cmd: python -m pipelines.split
    deps:
    - {{path: data/acquired, hash: md5, md5: other.dir, size: 4, nfiles: 1}}
    outs:
    - {{path: data/splits, hash: md5, md5: splits.dir, size: 4, nfiles: 1}}
  train@alder:
    cmd: python -m pipelines.train
    deps:
    - {{path: data/acquired/alder, hash: md5, md5: {SCAN}, size: 4, nfiles: 1}}
    - {{path: data/splits/alder.csv, hash: md5, md5: table, size: 4}}
    outs:
    - {{path: models/alder, hash: md5, md5: model.dir, size: 4, nfiles: 1}}
    - {{path: results/exchange.json, hash: md5}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "params.yaml").write_text("seed: 1\noverrides: {alder: {}}\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/acquire.py").write_text("x = 1\n")
    return tmp_path


def test_a_stage_was_made_from_all_that_is_above_it(root: Path) -> None:
    """By a folder that holds an output, and by a file that lies in one."""
    lock = read_lock(root / "dvc.lock")

    assert closure(lock, "acquire@alder") == ["acquire@alder"]
    assert closure(lock, "train@alder") == ["acquire@alder", "split", "train@alder"]
    assert closure(lock, "evaluate@alder") == []


def test_a_stage_that_is_reached_in_many_ways_is_looked_at_once() -> None:
    """Two stages a step, each made from both of the step before: 2^40 ways lead to the first."""
    steps = range(1, 41)
    lock = {
        f"{side}{step}": LockedStage(
            {f"data/{other}{step - 1}": "a" for other in "ab"}, {}, {f"data/{side}{step}": "b"}
        )
        for step in steps
        for side in "ab"
    }

    below = [f"{side}{step}" for step in steps[:-1] for side in "ab"]
    assert closure(lock, "b40") == [*below, "b40"]


def test_without_a_lock_nothing_was_made(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "dvc.lock") == {}


def test_an_output_without_a_digest_is_left_out(root: Path) -> None:
    assert set(read_lock(root / "dvc.lock")["train@alder"].outs) == {"models/alder"}


def test_nothing_has_changed_until_something_does(root: Path) -> None:
    made = read_lock(root / "dvc.lock")["acquire@alder"]

    assert list(Workspace(root).changes(made)) == []
    (root / "src/acquire.py").write_text("x = 2\n")
    (root / "params.yaml").write_text("seed: 2\noverrides: {alder: {}}\n")
    assert list(Workspace(root).changes(made)) == [
        Change("code", "src/acquire.py"),
        Change("params", "seed"),
    ]


def test_data_that_is_gone_has_changed(root: Path) -> None:
    made = read_lock(root / "dvc.lock")["train@alder"]

    assert Change("data", "data/acquired/alder") in list(Workspace(root).changes(made))


def test_a_folder_is_known_by_its_names_and_contents(root: Path) -> None:
    """Bytecode beside it does not count, as for DVC."""
    (root / "data/acquired/alder/__pycache__").mkdir(parents=True)
    (root / "data/acquired/alder/a").write_text("scan")
    (root / "data/acquired/alder/__pycache__/a.pyc").write_text("")
    made = read_lock(root / "dvc.lock")["train@alder"]

    assert list(Workspace(root).changes(made)) == [Change("data", "data/splits/alder.csv")]


def test_a_stage_says_of_its_outputs_what_dvc_does(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest by which a run is found is that of the files, whoever computes it."""
    monkeypatch.chdir(root)
    Path("data/acquired/alder").mkdir(parents=True)
    Path("data/acquired/alder/a").write_text("scan")
    made = read_lock(Path("dvc.lock"))["acquire@alder"].made

    assert digest_of_outputs([Path("data/acquired/alder")]) == made
    Path("data/acquired/alder/a").write_text("another scan")
    assert digest_of_outputs([Path("data/acquired/alder")]) != made


def test_a_stage_without_an_item_is_all_its_items(root: Path) -> None:
    lock = read_lock(root / "dvc.lock")

    assert items_of(lock, "train") == items_of(lock, "train@alder") == ["train@alder"]
    assert items_of(lock, "split") == ["split"]
    assert items_of(lock, "trai") == []
