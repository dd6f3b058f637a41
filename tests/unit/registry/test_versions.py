"""Versions, the study's registration, promotion and rollback, on one database."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sitesynth.errors import MissingInputError, RegistryError, ReleaseRefusedError
from sitesynth.mlruns import Mlruns
from sitesynth.registry.gates import Gate
from sitesynth.registry.promotion import champion_of, promote, rollback
from sitesynth.registry.study import classifiers_of, generators_of, register_all
from sitesynth.registry.versions import (
    Submission,
    find_version,
    list_versions,
    locate_model,
    register,
)
from sitesynth.settings import RegistrySettings
from sitesynth.storage import write_json, write_text


pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

PASSES = [Gate("anything", "fine", passed=True)]
FAILS = [Gate("auc", 0.4, passed=False)]


@pytest.fixture(scope="module")
def mlruns(mlruns_folder: Path) -> Iterator[Mlruns]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITESYNTH_MLRUNS", str(mlruns_folder))
        yield Mlruns()


def submission(
    folder: Path, model: str, content: str, gates: Sequence[Gate] = PASSES, score: float = 0.5
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
    )


def champion(mlruns: Mlruns, model: str) -> int | None:
    version = champion_of(mlruns, model)
    return None if version is None else version.number


def move(mlruns: Mlruns, model: str, number: int) -> None:
    seen = champion_of(mlruns, model)
    promote(mlruns, model, str(number), who="me", why="because", instead_of=seen)


def test_a_version_holds_the_files_as_they_are(mlruns: Mlruns, tmp_path: Path) -> None:
    version = register(mlruns, "s", submission(tmp_path, "files", "one"))

    folder = locate_model(mlruns, "files/1")
    assert (folder / "weights.safetensors").read_text() == "one"
    assert [path.name for path in folder.iterdir()] == ["weights.safetensors"]
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
        _ = Submission("m", tmp_path, {}, [], "stage", 0.0, is_candidate=True).sha256


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
    receipt = register_all(mlruns, "s", found)

    assert [entry["alias"] for entry in receipt] == ["challenger", "champion", None]
    assert find_version(mlruns, "ranked", "challenger").number == 1
    assert find_version(mlruns, "ranked", "champion").number == 2


def test_registering_again_writes_the_same_receipt(mlruns: Mlruns, tmp_path: Path) -> None:
    found = [submission(tmp_path, "again", name) for name in ("one", "two")]
    audit = Path(mlruns_audit())

    first = register_all(mlruns, "s", found)
    lines = audit.read_text()
    assert register_all(mlruns, "s", found) == first
    assert audit.read_text() == lines


def mlruns_audit() -> str:
    from sitesynth.tracking import mlruns_folder  # noqa: PLC0415

    return str(mlruns_folder() / "promotions.jsonl")


def test_nobody_is_champion_if_nobody_passes(mlruns: Mlruns, tmp_path: Path) -> None:
    (entry,) = register_all(mlruns, "s", [submission(tmp_path, "nobody-passes", "one", FAILS)])

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
    promote(mlruns, "raced", "2", who="a", why="", instead_of=seen_by_both)

    with pytest.raises(RegistryError, match="became version 2 while you asked"):
        promote(mlruns, "raced", "3", who="b", why="", instead_of=seen_by_both)
    assert champion(mlruns, "raced") == 2


def test_rollback_goes_back_champion_by_champion(mlruns: Mlruns, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        register(mlruns, "s", submission(tmp_path, "back", name))
        move(mlruns, "back", len(list_versions(mlruns, "back")))

    for expected in (2, 1):
        rollback(mlruns, "back", who="me", why="", instead_of=champion_of(mlruns, "back"))
        assert champion(mlruns, "back") == expected
    with pytest.raises(RegistryError, match="its first champion"):
        rollback(mlruns, "back", who="me", why="", instead_of=champion_of(mlruns, "back"))


def test_a_study_is_gathered_in_sorted_order(tmp_path: Path) -> None:
    """So that a fresh clone numbers its versions as every other does."""
    auc = {"value": 0.8, "low": 0.7, "high": 0.9}
    comparison: dict[str, Any] = {
        "strategies": {name: {"overall": {"auc": auc}} for name in ("synthetic", "federated")},
        "comparisons": [],
    }
    for site in ("birch", "alder"):
        write_json(tmp_path / site / "card.json", {"privacy": {"gate": {"verdict": "passed"}}})
        write_text(tmp_path / site / "SHA256SUMS", "")
    bundles = {site: tmp_path / site for site in ("birch", "alder")}
    settings = RegistrySettings(min_auc=0.5, candidates=("federated",))

    classifiers = classifiers_of(
        tmp_path,
        ["synthetic", "federated"],
        label="idh",
        comparison=comparison,
        bundles=bundles,
        settings=settings,
        tags={},
    )
    assert [found.tags["strategy"] for found in classifiers] == ["federated", "synthetic"]
    assert {found.model for found in classifiers} == {"classifier-idh"}
    assert [found.is_candidate for found in classifiers] == [True, False]
    generators = generators_of(bundles, tags={})
    assert [found.model for found in generators] == ["generator-alder", "generator-birch"]
