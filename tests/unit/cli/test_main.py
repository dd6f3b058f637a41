"""The command line: exit codes, messages, output for scripts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sitesynth.cli.main import commands, main
from sitesynth.cli.results import comparison_url, study_url
from sitesynth.mlruns import Column, Mlruns
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import Contents
from sitesynth.registry.promotion import champion_of
from sitesynth.registry.versions import Submission, register
from sitesynth.storage import write_text


pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


@pytest.fixture(scope="module")
def mlruns(mlruns_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlruns]:
    """Return a registry with `m`, whose versions 1 and 2 pass and whose version 3 does not."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITESYNTH_MLRUNS", str(mlruns_folder))
        found = Mlruns()
        column = Column("t1", "binary", required=False)
        for number in ("1", "2", "3"):
            write_text(folder / number / "weights", number)
            submission = Submission(
                "m",
                folder / number,
                tags={},
                gates=[Gate("luck", number, passed=number != "3")],
                stage="s",
                score=0.0,
                is_candidate=True,
                contents=Contents([column], [column], {"t1": ""}, "# card", {}, "{}"),
            )
            register(found, "s", submission)
        yield found


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from walk(below, (*path, name))
    else:
        yield path


@pytest.mark.parametrize("path", list(walk(commands)), ids=" ".join)
def test_every_command_helps_with_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*path, "--help") == 0
    assert f"sitesynth {' '.join(path)}" in capsys.readouterr().out.partition("Example:")[2]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; import sitesynth.cli.main\n"
        "print(sorted({'torch', 'mlflow', 'pandas', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_an_error_is_a_message_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("compare") == 2
    assert capsys.readouterr().err == (
        "sitesynth: results/comparison.json does not exist; `dvc repro` writes it.\n"
    )


def test_compare_gives_a_script_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "results/comparison.json", '{"task": "idh"}')

    assert run("compare", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"task": "idh"}


@pytest.fixture
def in_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where a study has frozen its test patients; a fresh clone has not yet."""
    root = Path(__file__).parents[3]
    write_text(tmp_path / "params.yaml", (root / "params.yaml").read_text())
    write_text(tmp_path / "data/splits/frozen.json", '{"test_sha256": "frozen"}')
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_a_study")
def test_promote_and_rollback_move_the_champion(
    mlruns: Mlruns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("promote", "m", "1", "--why", "first") == 0
    assert run("promote", "m", "2", "--why", "better") == 0
    told = capsys.readouterr().out
    assert "passed  luck: 2\n" in told
    assert told.endswith("m: champion is version 2\n")
    assert run("rollback", "m", "--why", "it was not") == 0

    champion = champion_of(mlruns, "m")
    assert champion is not None
    assert champion.number == 1


@pytest.mark.usefixtures("in_a_study")
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_refused_promotion_says_why_and_fails(
    mlruns: Mlruns, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    before = champion_of(mlruns, "m")

    assert run("promote", "m", "3", "--why", "hope", *more) == 2
    assert "REFUSED luck: 3" in capsys.readouterr().out
    assert champion_of(mlruns, "m") == before


@pytest.mark.usefixtures("in_a_study")
def test_a_dry_run_gives_a_script_the_verdict(
    mlruns: Mlruns, capsys: pytest.CaptureFixture[str]
) -> None:
    before = champion_of(mlruns, "m")

    assert run("promote", "m", "2", "--why", "", "--dry-run", "--json") == 0
    verdicts = json.loads(capsys.readouterr().out)
    assert {"rule": "luck", "value": "2", "passed": True} in verdicts
    assert all(verdict["passed"] for verdict in verdicts)
    assert champion_of(mlruns, "m") == before


def test_a_missing_table_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = Path(__file__).parents[3] / "params.yaml"

    assert run("check", str(tmp_path / "cohort.csv"), "--params", str(params)) == 2
    assert str(tmp_path / "cohort.csv") in capsys.readouterr().err


def test_a_key_must_have_32_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bundle", "verify", str(tmp_path), "--public-key", "AAAA") == 2
    assert "--public-key has 3 bytes; an Ed25519 key has 32" in capsys.readouterr().err


def test_links_are_what_the_browser_expects() -> None:
    """Quotes, brackets and spaces are escaped."""
    assert study_url("http://h", "7") == (
        "http://h/#/experiments/7/runs?searchFilter=tags.current%20%3D%20%22true%22"
    )
    assert comparison_url("http://h", "7", ["a", "b"]) == (
        "http://h/#/compare-runs?runs=%5B%22a%22%2C%20%22b%22%5D&experiments=%5B%227%22%5D"
    )
