"""Versions, the study's registration, promotion and rollback, on one database."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.models import Model

from sitesynth.errors import MissingInputError, RegistryError, ReleaseRefusedError
from sitesynth.mlruns import Column, Mlruns
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import Contents, digest_of_folder
from sitesynth.registry.promotion import champion_of, list_moves, promote, retire, rollback
from sitesynth.registry.standing import Standards
from sitesynth.registry.study import register_all
from sitesynth.registry.versions import (
    Submission,
    find_version,
    folder_of,
    list_versions,
    locate_model,
    register,
)
from sitesynth.storage import write_text


pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

PASSES = [Gate("anything", "fine", passed=True)]
FAILS = [Gate("auc", 0.4, passed=False)]


@pytest.fixture(scope="module")
def mlruns(mlruns_folder: Path) -> Iterator[Mlruns]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITESYNTH_MLRUNS", str(mlruns_folder))
        yield Mlruns()


STANDARDS = Standards(test_sha256="frozen", margin=0.05, num_resamples=200, seed=1)


def submission(
    folder: Path,
    model: str,
    content: str,
    gates: Sequence[Gate] = PASSES,
    score: float = 0.5,
    evidence: Mapping[str, str] | None = None,
    lineage: str = "{}",
) -> Submission:
    write_text(folder / content / "weights.safetensors", content)
    return Submission(
        model=model,
        folder=folder / content,
        tags={"strategy": content},
        gates=gates,
        stage=f"train_classifier@{content}",
        score=score,
        is_candidate=True,
        contents=Contents(
            inputs=[Column("t1", "binary", required=False)],
            outputs=[Column("probability", "double", required=True)],
            example={"t1": "bm8gc2Nhbg=="},
            card=f"# {content}\n",
            evidence=evidence or {},
            lineage=lineage,
        ),
    )


def evidence(errors: int, test: str = "frozen") -> dict[str, str]:
    """Return predictions for 40 patients, of which some pairs are in the wrong order."""
    lines = ["patient_id,scan_id,site,label,probability,seed_0"]
    for number in range(40):
        label = number % 2
        right = number // 2 >= errors
        chance = 0.5 + (0.3 if bool(label) is right else -0.3) + 0.001 * number
        lines.append(f"p{number},p{number},elm,{label},{chance:.4f},{chance:.4f}")
    judged = json.dumps({"strategy": "any", "threshold": 0.5, "test_sha256": test})
    return {"predictions.csv": "\n".join(lines) + "\n", "judged.json": judged}


def champion(mlruns: Mlruns, model: str) -> int | None:
    version = champion_of(mlruns, model)
    return None if version is None else version.number


def move(mlruns: Mlruns, model: str, number: int) -> None:
    seen = champion_of(mlruns, model)
    promote(
        mlruns,
        model,
        str(number),
        who="me",
        why="because",
        instead_of=seen,
        standards=STANDARDS,
    )


def test_a_version_holds_the_files_as_they_are(mlruns: Mlruns, tmp_path: Path) -> None:
    version = register(mlruns, "s", submission(tmp_path, "files", "one"))

    folder = locate_model(mlruns, "files/1")
    assert (folder / "weights.safetensors").read_text() == "one"
    assert [path.name for path in folder.iterdir()] == ["weights.safetensors"]
    assert {path.name for path in folder.parent.iterdir()} == {
        "MLmodel", "card.md", "files", "input_example.json", "lineage.json", "python_env.yaml",
        "requirements.txt",
    }  # fmt: skip
    assert version.tags["strategy"] == "one"
    assert version.tags["study"] == "s"


def test_the_same_files_are_one_version(mlruns: Mlruns, tmp_path: Path) -> None:
    """A stage that was killed and runs again; what is judged of them may have changed."""
    register(mlruns, "s", submission(tmp_path, "same", "one"))
    register(mlruns, "s", submission(tmp_path, "same", "two"))
    again = register(mlruns, "s", submission(tmp_path, "same", "one", FAILS))

    assert again.number == 1
    assert [version.number for version in list_versions(mlruns, "same")] == [1, 2]
    assert json.loads(again.tags["gates"])[0]["passed"] is False


def test_the_same_files_in_another_study_are_another_version(
    mlruns: Mlruns, tmp_path: Path
) -> None:
    register(mlruns, "s", submission(tmp_path, "studies", "one"))

    assert register(mlruns, "t", submission(tmp_path, "studies", "one")).number == 2


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="holds no model"):
        digest_of_folder(tmp_path)


def test_a_pickle_is_not_registered(mlruns: Mlruns, tmp_path: Path) -> None:
    """Opening it would run whatever its maker wanted."""
    found = submission(tmp_path, "pickled", "one")
    write_text(found.folder / "classifier.pt", "")

    with pytest.raises(RegistryError, match=r"holds \['classifier.pt'\]; a registered model is"):
        register(mlruns, "s", found)


def test_mlflow_reads_what_a_version_takes_and_gives(mlruns: Mlruns, tmp_path: Path) -> None:
    version = register(mlruns, "s", submission(tmp_path, "described", "one"))

    model = Model.load(str(folder_of(mlruns, version)))
    assert model.signature is not None
    assert model.signature.inputs.to_dict() == [{"type": "binary", "name": "t1", "required": False}]
    assert model.signature.outputs.input_names() == ["probability"]
    assert "torch==" in (folder_of(mlruns, version) / "requirements.txt").read_text()


def test_dvc_knows_the_files_by_the_digest_in_the_tags(mlruns: Mlruns, tmp_path: Path) -> None:
    """What `dvc add` wrote for a folder with this one file."""
    version = register(mlruns, "s", submission(tmp_path, "digested", "one"))

    assert version.tags["dvc_md5"] == "2e198c3c9045a696f899903ad828849e.dir"
    assert version.tags["dvc_path"] == str(tmp_path / "one")


def test_a_model_is_located_by_alias_or_number(mlruns: Mlruns, tmp_path: Path) -> None:
    for name in ("one", "two"):
        register(mlruns, "s", submission(tmp_path, "located", name))
    move(mlruns, "located", 2)

    for reference in ("models:/located@champion", "located/2"):
        folder = locate_model(mlruns, reference)
        assert (folder / "weights.safetensors").read_text() == "two"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nobody@champion", "no model 'nobody' is registered"),
        ("found/7", "found has no version or alias '7'; it has 1"),
        ("found", "must be MODEL@ALIAS or MODEL/VERSION"),
    ],
)
def test_a_model_that_is_not_there_is_named(
    mlruns: Mlruns, tmp_path: Path, reference: str, message: str
) -> None:
    register(mlruns, "s", submission(tmp_path, "found", "one"))

    with pytest.raises(RegistryError, match=message):
        locate_model(mlruns, reference)


def test_the_best_is_challenger_and_the_best_that_passes_is_champion(
    mlruns: Mlruns, tmp_path: Path
) -> None:
    found = [
        submission(tmp_path, "ranked", "best", FAILS, score=0.9),
        submission(tmp_path, "ranked", "good", PASSES, score=0.8),
        submission(tmp_path, "ranked", "poor", PASSES, score=0.7),
    ]
    receipt = register_all(mlruns, "s", found, standards=STANDARDS)

    assert [entry["alias"] for entry in receipt] == ["challenger", "champion", None]
    assert find_version(mlruns, "ranked", "challenger").number == 1
    assert find_version(mlruns, "ranked", "champion").number == 2


def test_registering_again_writes_the_same_receipt(mlruns: Mlruns, tmp_path: Path) -> None:
    found = [submission(tmp_path, "again", name) for name in ("one", "two")]
    audit = Path(mlruns_audit())

    first = register_all(mlruns, "s", found, standards=STANDARDS)
    lines = audit.read_text()
    assert register_all(mlruns, "s", found, standards=STANDARDS) == first
    assert audit.read_text() == lines


def mlruns_audit() -> str:
    from sitesynth.tracking import mlruns_folder  # noqa: PLC0415

    return str(mlruns_folder() / "promotions.jsonl")


def test_nobody_is_champion_if_nobody_passes(mlruns: Mlruns, tmp_path: Path) -> None:
    found = [submission(tmp_path, "nobody-passes", "one", FAILS)]
    (entry,) = register_all(mlruns, "s", found, standards=STANDARDS)

    assert entry["alias"] == "challenger"
    assert champion(mlruns, "nobody-passes") is None


def test_a_refused_promotion_changes_nothing(mlruns: Mlruns, tmp_path: Path) -> None:
    register(mlruns, "s", submission(tmp_path, "refused", "one"))
    register(mlruns, "s", submission(tmp_path, "refused", "two", FAILS))
    move(mlruns, "refused", 1)

    with pytest.raises(ReleaseRefusedError, match=r"REFUSED auc: 0\.4"):
        move(mlruns, "refused", 2)
    assert champion(mlruns, "refused") == 1


def test_a_promotion_says_who_when_and_why(mlruns: Mlruns, tmp_path: Path) -> None:
    register(mlruns, "s", submission(tmp_path, "audited", "one"))
    move(mlruns, "audited", 1)

    line = json.loads(Path(mlruns_audit()).read_text().splitlines()[-1])
    assert (line["who"], line["why"], line["from"], line["to"]) == ("me", "because", None, 1)
    assert json.loads(find_version(mlruns, "audited", "1").tags["promotion"]) == line


def test_of_two_who_promote_at_once_one_is_told(mlruns: Mlruns, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        register(mlruns, "s", submission(tmp_path, "raced", name))
    move(mlruns, "raced", 1)
    seen_by_both = champion_of(mlruns, "raced")
    asked: dict[str, Any] = {
        "who": "a",
        "why": "",
        "instead_of": seen_by_both,
        "standards": STANDARDS,
    }
    promote(mlruns, "raced", "2", **asked)

    with pytest.raises(RegistryError, match="became version 2 while you asked"):
        promote(mlruns, "raced", "3", **asked)
    assert champion(mlruns, "raced") == 2


def test_rollback_goes_back_champion_by_champion(mlruns: Mlruns, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        register(mlruns, "s", submission(tmp_path, "back", name))
        move(mlruns, "back", len(list_versions(mlruns, "back")))

    for expected in (2, 1):
        rollback(mlruns, "back", who="me", why="", instead_of=champion_of(mlruns, "back"))
        assert champion(mlruns, "back") == expected
    with pytest.raises(RegistryError, match="has champion 1, its first"):
        rollback(mlruns, "back", who="me", why="", instead_of=champion_of(mlruns, "back"))


def test_who_was_rolled_back_does_not_come_back_by_itself(mlruns: Mlruns, tmp_path: Path) -> None:
    """`dvc repro` registers the same files again; a person has said no to them."""
    old, new = (submission(tmp_path, "recalled", name) for name in ("one", "two"))
    for found in (old, new):
        register_all(mlruns, "s", [found], standards=STANDARDS)
    rollback(mlruns, "recalled", who="me", why="", instead_of=champion_of(mlruns, "recalled"))
    (entry,) = register_all(mlruns, "s", [new], standards=STANDARDS)

    assert champion(mlruns, "recalled") == 1
    assert entry["alias"] == "challenger"


def test_files_that_were_changed_since_are_refused(mlruns: Mlruns, tmp_path: Path) -> None:
    version = register(mlruns, "s", submission(tmp_path, "altered", "one"))
    write_text(folder_of(mlruns, version) / "files/weights.safetensors", "other")

    with pytest.raises(ReleaseRefusedError, match="REFUSED its files are those that were judged"):
        move(mlruns, "altered", 1)
    assert champion(mlruns, "altered") is None


def test_a_verdict_on_other_patients_is_refused(mlruns: Mlruns, tmp_path: Path) -> None:
    found = submission(tmp_path, "elsewhere", "one", evidence=evidence(0, test="others"))
    register(mlruns, "s", found)

    with pytest.raises(ReleaseRefusedError, match=r"on the frozen test patients .*: others"):
        move(mlruns, "elsewhere", 1)


@pytest.mark.parametrize(("errors", "passes"), [(3, True), (12, False)])
def test_a_challenger_must_not_be_inferior_to_the_champion(
    mlruns: Mlruns, tmp_path: Path, *, errors: int, passes: bool
) -> None:
    """As good on the same patients passes; many more pairs in the wrong order do not."""
    model = f"compared-{errors}"
    register(mlruns, "s", submission(tmp_path, model, "one", evidence=evidence(3)))
    register(mlruns, "s", submission(tmp_path, model, "two", evidence=evidence(errors)))
    move(mlruns, model, 1)

    if passes:
        move(mlruns, model, 2)
    else:
        with pytest.raises(ReleaseRefusedError, match="not inferior to the champion, version 1: "):
            move(mlruns, model, 2)
    assert champion(mlruns, model) == (2 if passes else 1)


def test_a_champion_that_cannot_be_compared_is_retired_first(
    mlruns: Mlruns, tmp_path: Path
) -> None:
    """And can be brought back."""
    old = submission(tmp_path, "retired", "one", evidence=evidence(0, test="frozen"))
    new = submission(tmp_path, "retired", "two", evidence=evidence(0, test="thawed"))
    register(mlruns, "s", old)
    register(mlruns, "s", new)
    move(mlruns, "retired", 1)
    asked: dict[str, Any] = {"who": "me", "why": ""}
    thawed = replace(STANDARDS, test_sha256="thawed")

    def crown() -> None:
        seen = champion_of(mlruns, "retired")
        promote(mlruns, "retired", "2", **asked, instead_of=seen, standards=thawed)

    with pytest.raises(ReleaseRefusedError, match=r"other patients \(frozen\); `sitesynth retire`"):
        crown()
    retire(mlruns, "retired", **asked, instead_of=champion_of(mlruns, "retired"))
    assert champion(mlruns, "retired") is None
    rollback(mlruns, "retired", **asked, instead_of=None)
    assert champion(mlruns, "retired") == 1
    retire(mlruns, "retired", **asked, instead_of=champion_of(mlruns, "retired"))
    crown()
    assert champion(mlruns, "retired") == 2


def test_a_champion_of_another_study_is_not_replaced(mlruns: Mlruns, tmp_path: Path) -> None:
    """Two studies of one label share the model's name, where they share a registry at all."""
    register(mlruns, "s", submission(tmp_path, "shared", "one"))
    register(mlruns, "t", submission(tmp_path, "shared", "two"))
    move(mlruns, "shared", 1)

    with pytest.raises(ReleaseRefusedError, match="study t, champion of study s"):
        move(mlruns, "shared", 2)


ASK = """
import sys
from sitesynth.mlruns import Column, Mlruns
from sitesynth.registry.promotion import champion_of, promote
from sitesynth.registry.standing import Standards

mlruns, standards = Mlruns(), Standards("frozen", 0.05, 200, 1)
seen = champion_of(mlruns, "contested")
print("ready", flush=True)
sys.stdin.readline()
promote(mlruns, "contested", sys.argv[1], who=sys.argv[1], why="", instead_of=seen,
        standards=standards)
"""


@pytest.mark.slow
def test_of_two_processes_that_promote_at_once_one_is_told(mlruns: Mlruns, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        register(mlruns, "s", submission(tmp_path, "contested", name))
    move(mlruns, "contested", 1)
    processes = {
        number: subprocess.Popen(
            [sys.executable, "-c", ASK, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (2, 3)
    }
    for process in processes.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = {number: process.communicate()[1] for number, process in processes.items()}
    (winner,) = (number for number, process in processes.items() if process.returncode == 0)
    (loser,) = set(processes) - {winner}

    assert champion(mlruns, "contested") == winner
    assert f"became version {winner} while you asked (it was 1)" in told[loser]
    moves = [move["to"] for move in list_moves("contested")]
    assert moves == [1, winner]
