"""Whether a registry that no longer agrees with the files says so, and names the reason."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from sitesynth.lockfile import read_lock
from sitesynth.mlruns import Column, Mlruns
from sitesynth.registry.audit import audit, lineage_of
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import Contents
from sitesynth.registry.promotion import champion_of, promote
from sitesynth.registry.standing import Standards
from sitesynth.registry.versions import Submission, register
from sitesynth.storage import dvc_digest, dvc_digest_of_file, write_text
from sitesynth.tracking import record_run


pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

STAGE = "train_classifier@synthetic"
MODEL = "models/classifier/synthetic"


@pytest.fixture
def mlruns(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mlruns:
    """Open a database of the test's own, in the repository of its study."""
    (tmp_path / "mlruns").mkdir()
    shutil.copyfile(database, tmp_path / "mlruns/mlflow.db")
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(tmp_path / "mlruns"))
    monkeypatch.chdir(tmp_path)
    return Mlruns()


def reproduce(root: Path, *, seed: int = 1, code: str = "x = 1\n", model: str = "weights") -> None:
    """Write what a `dvc repro` leaves: files, params.yaml, and a dvc.lock that agrees with them."""
    write_text(root / "params.yaml", f"seed: {seed}\n")
    write_text(root / "src/training.py", code)
    write_text(root / "data/table.csv", "p1\n")
    write_text(root / MODEL / "seed_0.safetensors", model)
    entry = {
        "cmd": "python -m pipelines.train_classifier",
        "deps": [
            {"path": path, "md5": dvc_digest_of_file(root / path)}
            for path in ("src/training.py", "data/table.csv")
        ],
        "params": {"params.yaml": {"seed": seed}},
        "outs": [{"path": MODEL, "md5": dvc_digest(root / MODEL)}],
    }
    with (root / "dvc.lock").open("w") as file:
        YAML(typ="safe").dump({"schema": "2.0", "stages": {STAGE: entry}}, file)


def submit(mlruns: Mlruns) -> None:
    lineage = lineage_of(read_lock(Path("dvc.lock")), STAGE)
    column = Column("t1", "binary", required=False)
    contents = Contents([column], [column], {"t1": ""}, "# card\n", {}, lineage)
    submission = Submission(
        "generator-alder",
        Path(MODEL),
        {},
        [Gate("any", "fine", passed=True)],
        STAGE,
        0.0,
        is_candidate=True,
        contents=contents,
    )
    register(mlruns, "s", submission)


def run(mlruns: Mlruns, seed: int) -> None:
    with record_run(
        "train_classifier", "synthetic", study="s", params={"seed": seed}, inputs={}, tags={}
    ):
        pass
    mlruns.copy_journals()


def said(mlruns: Mlruns) -> list[str]:
    return [str(finding) for finding in audit(mlruns, "s", Path())]


def test_a_study_that_was_just_reproduced_agrees(mlruns: Mlruns) -> None:
    reproduce(Path())
    submit(mlruns)
    run(mlruns, seed=1)

    assert said(mlruns) == []


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("src/training.py", "x = 2\n", "code src/training.py"),
        ("params.yaml", "seed: 2\n", "params seed"),
        ("data/table.csv", "p2\n", "data data/table.csv"),
    ],
)
def test_what_was_changed_since_makes_version_and_run_stale(
    mlruns: Mlruns, path: str, content: str, reason: str
) -> None:
    reproduce(Path())
    submit(mlruns)
    run(mlruns, seed=1)
    Path(path).write_text(content)

    assert said(mlruns) == [
        f"generator-alder version 1: changed since: {reason}",
        f"run {STAGE}: changed since: {reason}",
    ]


def test_a_version_of_an_earlier_reproduction_names_what_was_other_then(mlruns: Mlruns) -> None:
    reproduce(Path(), code="x = 1\n", model="old weights")
    submit(mlruns)
    reproduce(Path(), code="x = 2\n", model="new weights")

    (finding,) = audit(mlruns, "s", Path())
    assert finding.subject == "generator-alder version 1"
    assert finding.reasons == (
        f"{STAGE} makes other files now",
        "changed since: code src/training.py",
    )


def test_every_version_that_is_stale_is_named(mlruns: Mlruns) -> None:
    """The one of before, and the one that was made last."""
    for model in ("old weights", "new weights"):
        reproduce(Path(), model=model)
        submit(mlruns)
    Path("src/training.py").write_text("x = 2\n")

    assert [finding.subject for finding in audit(mlruns, "s", Path())] == [
        "generator-alder version 1",
        "generator-alder version 2",
    ]


def test_the_same_bytes_by_other_code_are_no_finding(mlruns: Mlruns) -> None:
    """A comment was reworded, the stage ran again, and made what it had made."""
    reproduce(Path(), code="x = 1\n")
    submit(mlruns)
    reproduce(Path(), code="x = 1  # one\n")

    assert said(mlruns) == []


def test_a_run_of_other_settings_than_the_locks_is_stale(mlruns: Mlruns) -> None:
    """As after `git checkout` and `dvc checkout` of an older commit."""
    reproduce(Path())
    run(mlruns, seed=2)

    assert said(mlruns) == [f"run {STAGE}: it obeyed other settings than dvc.lock: seed"]


def test_an_alias_that_was_moved_past_the_gates_is_named(mlruns: Mlruns) -> None:
    reproduce(Path())
    submit(mlruns)
    standards = Standards(test_sha256="", margin=0.05, num_resamples=200, seed=1)
    promote(
        mlruns,
        "generator-alder",
        "1",
        who="me",
        why="",
        instead_of=champion_of(mlruns, "generator-alder"),
        standards=standards,
    )
    assert said(mlruns) == []
    mlruns.client.delete_registered_model_alias("generator-alder", "champion")

    assert said(mlruns) == [
        "generator-alder: the champion is version None, but the last recorded move made it 1"
    ]
