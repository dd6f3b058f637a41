"""The command line: exit codes, messages, output for scripts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import click
import pytest

from sitesynth.cli.main import commands, main
from sitesynth.cli.results import charts_url, choose_strategies, comparison_url, study_url
from sitesynth.errors import SitesynthError
from sitesynth.mlruns import Column, Mlruns
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import Contents
from sitesynth.registry.promotion import champion_of
from sitesynth.registry.versions import Submission, register
from sitesynth.storage import digest_of, write_text
from sitesynth.tracking import record_run


ROOT = Path(__file__).parents[3]

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


@pytest.mark.usefixtures("mlruns")
def test_runs_of_a_stage_are_named_by_id_commit_and_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name without an item stands for all of them; a stage without a run is an error."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SITESYNTH_RECORDER", "off")
    (tmp_path / "dvc.lock").write_text(
        "stages:\n"
        "  sample@alder: {outs: [{path: data/alder, md5: a}]}\n"
        "  sample@birch: {outs: [{path: data/birch, md5: b}]}\n"
        "  sample@cedar: {outs: [{path: data/cedar, md5: c}]}\n"
    )
    for item, digest in (("alder", "a"), ("birch", "b"), ("cedar", "before")):
        with record_run("sample", item, study="phantom", params={}, inputs={}, tags={}) as told:
            told.set_tags({"made": digest_of({f"data/{item}": digest})})

    assert run("runs", "sample") == 2
    assert "made what dvc.lock says of sample@cedar: it was made" in capsys.readouterr().err
    lock = (tmp_path / "dvc.lock").read_text()
    (tmp_path / "dvc.lock").write_text(lock[: lock.index("  sample@cedar")])
    assert run("runs", "sample", "--json") == 0
    both = json.loads(capsys.readouterr().out)
    assert [found["stage"] for found in both] == ["sample@alder", "sample@birch"]
    assert both[0]["url"].endswith(f"/runs/{both[0]['run']}")
    assert run("runs", "sample@birch") == 0
    assert capsys.readouterr().out.count(both[1]["run"]) == 2
    assert run("runs", "sampel") == 2
    assert "dvc.lock has no finished stage 'sampel'" in capsys.readouterr().err


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
    """Quotes, brackets and spaces are escaped; what follows `#` is the page's own query."""
    of_study, of_runs, of_charts = (
        urlsplit(url).fragment
        for url in (
            study_url("http://h", "7"),
            comparison_url("http://h", "7", ["a", "b"]),
            charts_url("http://h", "7"),
        )
    )

    assert urlsplit(of_study).path == urlsplit(of_charts).path == "/experiments/7/runs"
    assert dict(parse_qsl(urlsplit(of_study).query)) == {
        "searchFilter": 'tags.current = "true"',
        "workflowType": "machine_learning",
    }
    assert urlsplit(of_runs).path == "/compare-runs"
    assert dict(parse_qsl(urlsplit(of_runs).query)) == {
        "runs": '["a", "b"]',
        "experiments": '["7"]',
        "workflowType": "machine_learning",
    }
    assert dict(parse_qsl(urlsplit(of_charts).query)) == {
        "searchFilter": 'tags.stage = "evaluate" and tags.current = "true"',
        "workflowType": "machine_learning",
        "compareRunsMode": "CHART",
        "orderByKey": "metrics.`auc`",
        "orderByAsc": "false",
    }
    assert not set('"` []') & set(of_study + of_runs + of_charts)


def test_strategies_are_compared_in_the_order_asked_for() -> None:
    known = ("centralized", "federated", "synthetic")

    assert choose_strategies(None, known) == list(known)
    assert choose_strategies("synthetic, centralized", known) == ["synthetic", "centralized"]


@pytest.mark.parametrize("asked", ["centralized,mean", "federated,federated", ""])
def test_a_strategy_that_cannot_be_compared_is_refused(asked: str) -> None:
    with pytest.raises(SitesynthError, match=f"--compare {asked}: .*: centralized, federated"):
        choose_strategies(asked, ("centralized", "federated"))


@pytest.mark.usefixtures("in_a_study")
def test_the_ui_prints_the_newest_runs_of_the_strategies_asked_for(
    mlruns: Mlruns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where one of them has not been evaluated, it says so, and serves nothing."""
    served: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda file, command, environment: served.append(command))
    for strategy in ("synthetic", "centralized", "synthetic"):
        with record_run("evaluate", strategy, study="phantom", params={}, inputs={}, tags={}):
            pass

    assert run("ui", "--port", "5999", "--compare", "centralized,synthetic") == 0
    newest = [mlruns.current_run("phantom", f"evaluate@{n}") for n in ("centralized", "synthetic")]
    address, experiment = "http://127.0.0.1:5999", mlruns.experiment_of("phantom")
    told = capsys.readouterr().out
    assert f"compared: {comparison_url(address, experiment, [str(r) for r in newest])}\n" in told
    assert [command[-2] for command in served] == ["--artifacts-destination"]

    assert run("ui", "--port", "5999", "--compare", "centralized,federated") == 2
    assert "evaluate@federated has not finished" in capsys.readouterr().err
    assert len(served) == 1
