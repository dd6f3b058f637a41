"""Switching studies in a repository of two: nothing is lost, nothing is mixed."""

import subprocess
from pathlib import Path

import pytest

from sitesynth.cli.switching import list_studies, use_study
from sitesynth.errors import SettingsError


PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository that holds study one, with a result, and knows study two."""
    phantom = PARAMS.read_text()
    for name in ("one", "two"):
        text = f"# Study {name}.\n" + phantom.replace("study: phantom", f"study: {name}")
        (tmp_path / "studies").mkdir(exist_ok=True)
        (tmp_path / "studies" / f"{name}.yaml").write_text(text)
    (tmp_path / "params.yaml").write_text((tmp_path / "studies/one.yaml").read_text())
    put(tmp_path, "results/comparison.json", "of one")
    put(tmp_path, "dvc.lock", "of one")
    return tmp_path


def put(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def params(root: Path) -> str:
    return (root / "params.yaml").read_text()


def test_another_study_starts_with_nothing(root: Path) -> None:
    done = use_study("two", root, force=False)

    assert params(root) == (root / "studies/two.yaml").read_text()
    assert not (root / "results").exists()
    assert not (root / "dvc.lock").exists()
    assert done[-1] == "next: dvc repro"


def test_there_and_back_is_as_before(root: Path) -> None:
    use_study("two", root, force=False)
    put(root, "results/comparison.json", "of two")
    use_study("one", root, force=False)

    assert (root / "results/comparison.json").read_text() == "of one"
    assert (root / "dvc.lock").read_text() == "of one"
    use_study("two", root, force=False)
    assert (root / "results/comparison.json").read_text() == "of two"


def test_a_registry_goes_with_its_study(root: Path) -> None:
    """Else the champion of one study would be replaced by another's of the same label."""
    put(root, "mlruns/mlflow.db", "of one")
    use_study("two", root, force=False)

    assert not (root / "mlruns").exists()
    use_study("one", root, force=False)
    assert (root / "mlruns/mlflow.db").read_text() == "of one"


def test_a_switch_that_was_killed_is_completed(root: Path) -> None:
    """After the first rename, and again after params.yaml was written."""
    (root / ".studies/one").mkdir(parents=True)
    (root / "results").rename(root / ".studies/one/results")
    use_study("two", root, force=False)
    (root / "params.yaml").write_text((root / "studies/one.yaml").read_text())
    use_study("one", root, force=False)

    assert (root / "results/comparison.json").read_text() == "of one"


def test_edits_by_hand_are_not_overwritten(root: Path) -> None:
    edited = params(root).replace("seed: 20251023", "seed: 7")
    (root / "params.yaml").write_text(edited)

    with pytest.raises(SettingsError, match="was edited by hand"):
        use_study("two", root, force=False)
    assert params(root) == edited
    assert (root / "results").exists()


def test_force_keeps_the_edits_aside(root: Path) -> None:
    edited = params(root).replace("seed: 20251023", "seed: 7")
    (root / "params.yaml").write_text(edited)
    use_study("two", root, force=True)

    assert (root / ".studies/one/params.yaml").read_text() == edited
    assert params(root) == (root / "studies/two.yaml").read_text()


def test_edits_that_git_holds_may_be_replaced(root: Path) -> None:
    (root / "params.yaml").write_text(params(root).replace("seed: 20251023", "seed: 7"))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "params.yaml"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=root, check=True)  # noqa: S607

    use_study("two", root, force=False)
    assert params(root) == (root / "studies/two.yaml").read_text()


def test_a_study_that_is_in_use_keeps_its_results(root: Path) -> None:
    use_study("one", root, force=False)

    assert (root / "results/comparison.json").read_text() == "of one"


def test_another_version_of_the_same_study_keeps_its_results(root: Path, tmp_path: Path) -> None:
    """DVC knows which of them to compute again."""
    other = tmp_path / "other.yaml"
    other.write_text(params(root).replace("seed: 20251023", "seed: 7"))
    use_study(str(other), root, force=False)

    assert "seed: 7" in params(root)
    assert (root / "results").exists()


def test_an_invalid_study_changes_nothing(root: Path) -> None:
    (root / "studies/two.yaml").write_text("study: two\n")
    before = params(root)

    with pytest.raises(SettingsError, match="not a valid study"):
        use_study("two", root, force=False)
    assert params(root) == before


def test_an_unknown_study_is_told_the_known_ones(root: Path) -> None:
    with pytest.raises(SettingsError, match="there are one, two"):
        use_study("three", root, force=False)


def test_studies_are_listed_with_the_one_in_use(root: Path) -> None:
    assert list_studies(root) == [
        {"name": "one", "about": "Study one.", "current": True},
        {"name": "two", "about": "Study two.", "current": False},
    ]


def test_neither_git_nor_dvc_sees_what_was_put_aside(root: Path) -> None:
    use_study("two", root, force=False)

    assert (root / ".studies/.gitignore").read_text() == "*\n"
    assert (root / ".studies/.dvcignore").read_text() == "*\n"


def test_a_folder_that_only_git_keeps_stays_and_gives_way(root: Path) -> None:
    put(root, "mlruns/.gitkeep", "")
    use_study("two", root, force=False)
    assert (root / "mlruns/.gitkeep").exists()

    put(root, "mlruns/mlflow.db", "of two")
    use_study("one", root, force=False)
    put(root, "mlruns/.gitkeep", "")
    use_study("two", root, force=False)
    assert (root / "mlruns/mlflow.db").read_text() == "of two"
