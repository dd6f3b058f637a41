"""The search for a mix, on a consortium whose best mix is known."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from sitesynth.errors import SettingsError
from sitesynth.mixing.search import ended_trials, fail_running, mix_of_trial, open_study
from sitesynth.mixing.tuning import tune_mix
from sitesynth.strategies.mixes import per_class
from tests.unit.mixing.tiny_problem import MIXING, POOL, SCANS, open_tiny


if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


ROOT = Path(__file__).parents[3]

Json = dict[str, Any]


def tune(folder: Path, liar: str | None = None, num_steps: int = 4, **changed: object) -> Json:
    """Search in a folder."""
    return tune_mix(
        partial(open_tiny, liar, num_steps),
        scans=SCANS,
        settings=MIXING.model_copy(
            update=changed | {"num_steps": num_steps, "validate_every": num_steps // 2}
        ),
        address=journal(folder),
        name="tiny",
        seed=1,
    )


def journal(folder: Path) -> str:
    """Return the address of a folder's trials."""
    return f"journal:{folder / 'trials.log'}"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Return what an undisturbed search found."""
    return tune(tmp_path_factory.mktemp("undisturbed"))


def test_the_named_mixes_are_the_first_trials(found: Json) -> None:
    """Whatever the sampler proposes, tuned is compared with the fixed ones; none is pruned."""
    named, others = found["trials"][:5], found["trials"][5:]

    assert [trial["name"] for trial in named] == [
        "equal", "proportional", "without-alder", "without-birch", "without-cedar"
    ]  # fmt: skip
    assert named[0]["counts"] == found["mixes"]["equal"]
    assert named[1]["counts"] == found["mixes"]["proportional"]
    assert named[3]["counts"] == {
        "alder": {"dark": 20, "bright": 20},
        "birch": {"dark": 0, "bright": 0},
        "cedar": {"dark": 20, "bright": 20},
    }
    assert {trial["state"] for trial in named} == {"complete"}
    assert {trial["name"] for trial in others} == {None}
    assert len(found["trials"]) == MIXING.num_trials


def test_counts_stay_within_the_pool_and_the_budget(tmp_path: Path) -> None:
    """20 scans of each site and class were drawn, and 60 in all may be taken."""
    found = tune(tmp_path, max_total=60)
    cells = [
        count
        for trial in found["trials"]
        for counts in trial["counts"].values()
        for count in counts.values()
    ]

    assert min(cells) >= 0
    assert max(cells) <= POOL
    for trial in found["trials"]:
        assert sum(per_class(trial["counts"]).values()) <= 60
    assert found["mixes"]["equal"]["alder"] == {"dark": 10, "bright": 10}


def test_the_tuned_mix_is_no_worse_than_the_fixed_ones(found: Json) -> None:
    """By the measure of the last round, on seeds that no trial used."""
    by_name = {entry["name"]: entry["validation_loss"] for entry in found["finalists"]}

    assert {"equal", "proportional"} < set(by_name)
    assert len(by_name) == 2 + MIXING.num_finalists
    assert found["best"]["validation_loss"] <= min(by_name["equal"], by_name["proportional"])
    assert found["mixes"]["tuned"] == found["best"]["counts"]


def test_the_same_seed_gives_the_same_trials(found: Json, tmp_path: Path) -> None:
    """Down to the last digit, and so do its results."""
    assert tune(tmp_path) == found


def test_another_seed_gives_other_trials(found: Json, tmp_path: Path) -> None:
    """The proposals are drawn, the named mixes are not."""
    other = tune_mix(
        open_tiny, scans=SCANS, settings=MIXING, address=journal(tmp_path), name="tiny", seed=2
    )

    assert [t["counts"] for t in other["trials"][:5]] == [t["counts"] for t in found["trials"][:5]]
    assert other["trials"][5]["counts"] != found["trials"][5]["counts"]


def test_nothing_tried_is_the_equal_mix(tmp_path: Path) -> None:
    """Without a training, and without a storage."""
    found = tune(tmp_path, num_trials=0)

    assert found["mixes"]["tuned"] == found["mixes"]["equal"]
    assert found["best"]["name"] == "equal"
    assert found["trials"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_class_with_too_few_scans_is_not_trained(tmp_path: Path) -> None:
    """The sampler is told that it is worse than anything trained, and why is kept."""
    found = tune(tmp_path, min_per_class=58)
    skipped = [trial for trial in found["trials"] if trial["skipped"]]

    assert len(skipped) == MIXING.num_trials - 5
    assert {trial["state"] for trial in skipped} == {"pruned"}
    assert {tuple(trial["looks"]) for trial in skipped} == {()}
    assert {trial["name"] for trial in skipped} == {None}


@pytest.mark.slow
@pytest.mark.parametrize("liar", ["alder", "birch", "cedar"])
def test_a_site_whose_labels_are_noise_gets_little(liar: str, tmp_path: Path) -> None:
    """A third of the equal mix is the liar's; of the tuned one, at most a tenth is."""
    found = tune(tmp_path, liar, num_steps=32)
    mix = found["mixes"]["tuned"]
    share = sum(mix[liar].values()) / sum(per_class(mix).values())

    assert share < 0.1
    assert found["best"]["validation_loss"] < found["finalists"][0]["validation_loss"]


def test_a_trial_that_was_lost_is_proposed_again(found: Json, tmp_path: Path) -> None:
    """Stopped in the middle of its last trial, a search ends as an undisturbed one."""
    calls = 0

    def stop(study: optuna.Study) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            # What a killed process leaves: a trial that is said to run.
            study.ask()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_mix(
            open_tiny,
            scans=SCANS,
            settings=MIXING,
            address=journal(tmp_path),
            name="tiny",
            seed=1,
            on_progress=stop,
        )
    assert tune(tmp_path) == found


@pytest.mark.slow
def test_a_killed_search_ends_as_an_undisturbed_one(found: Json, tmp_path: Path) -> None:
    """`kill -9` at some moment of its trials, and again; nothing shows."""
    code = (
        "from pathlib import Path; from tests.unit.mixing.test_search import tune;"
        f"tune(Path({str(tmp_path)!r}))"
    )
    for num_lines in (20, 50):
        running = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"src{os.pathsep}."},
        )
        wait_until(lambda: num_lines_of(tmp_path / "trials.log") >= num_lines)  # noqa: B023
        running.send_signal(signal.SIGKILL)
        running.wait()

    assert tune(tmp_path) == found


def test_half_a_line_and_a_lock_are_mended(found: Json, tmp_path: Path) -> None:
    """A process that dies while it writes leaves both."""
    tune(tmp_path, num_trials=2)
    with (tmp_path / "trials.log").open("a") as file:
        file.write('{"op_code": 4, "work')
    (tmp_path / "trials.log.lock").symlink_to(tmp_path / "trials.log")
    started = time.monotonic()

    assert tune(tmp_path)["trials"] == found["trials"]
    assert time.monotonic() - started < 25, "waited for the lock of a dead process"


@pytest.mark.slow
def test_two_workers_share_a_search(tmp_path: Path) -> None:
    """Together they try as many as asked, and the named mixes once each.

    A fast worker may have tried them all before the other one comes to the named mixes.
    """
    found = tune(tmp_path, num_workers=2)
    names = [trial["name"] for trial in found["trials"] if trial["name"]]

    assert MIXING.num_trials <= len(found["trials"]) <= MIXING.num_trials + 5
    assert sorted(names) == [
        "equal", "proportional", "without-alder", "without-birch", "without-cedar"
    ]  # fmt: skip
    by_name = {entry["name"]: entry["validation_loss"] for entry in found["finalists"]}
    assert found["best"]["validation_loss"] <= min(by_name["equal"], by_name["proportional"])


@pytest.mark.slow
def test_a_worker_that_is_killed_does_not_end_the_search(tmp_path: Path) -> None:
    """One of two is killed while it tries a mix; the trials it leaves are tried all the same."""
    killed: list[BaseProcess] = []

    def kill(study: optuna.Study) -> None:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running and not killed:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()

    found = tune_mix(
        partial(open_tiny, None, 64),
        scans=SCANS,
        settings=MIXING.model_copy(
            update={"num_workers": 2, "num_steps": 64, "validate_every": 32}
        ),
        address=journal(tmp_path),
        name="tiny",
        seed=1,
        on_progress=kill,
    )
    states = [trial.state for trial in open_study(journal(tmp_path), "tiny").get_trials()]

    assert killed[0].exitcode == -signal.SIGKILL
    assert states.count(TrialState.FAIL) <= 1
    assert {"equal", "proportional"} < {trial["name"] for trial in found["trials"]}
    assert len(found["trials"]) >= MIXING.num_trials


def test_a_killed_worker_loses_its_trial_only(tmp_path: Path) -> None:
    """What it was at is marked as failed; what had ended, by anyone, stays."""
    tune(tmp_path, num_trials=3)
    study = open_study(journal(tmp_path), "tiny")
    before = [trial.number for trial in ended_trials(study)]
    study.ask()
    fail_running(study)

    assert [trial.number for trial in ended_trials(study)] == before
    assert study.trials[-1].state is TrialState.FAIL


def test_a_mix_over_the_budget_is_shrunk_evenly() -> None:
    """40 of 60 allowed: two thirds of each, rounded down."""
    params = {"a/x": 30, "a/y": 10, "b/x": 20, "b/y": 0}

    assert mix_of_trial(params, max_total=60) == {"a": {"x": 30, "y": 10}, "b": {"x": 20, "y": 0}}
    assert mix_of_trial(params, max_total=40) == {"a": {"x": 20, "y": 6}, "b": {"x": 13, "y": 0}}


@pytest.mark.parametrize(
    "address", ["nosuchdatabase://host/x", "postgresql+psycopg://me:secret@localhost:1/x"]
)
def test_a_storage_that_cannot_be_opened_is_named(address: str) -> None:
    """The address, what to name instead, and no password."""
    with pytest.raises(SettingsError, match=r"mixing\.storage: .* cannot be opened") as caught:
        open_study(address, "tiny")

    assert "secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "grpc"])
def test_another_storage_gives_the_same_trials(kind: str, found: Json, tmp_path: Path) -> None:
    """A database by its address, and a proxy that keeps trials in a journal of its own."""
    with serving(tmp_path) if kind == "grpc" else nullcontext(f"sqlite:///{tmp_path}/x") as address:
        other = tune_mix(
            open_tiny, scans=SCANS, settings=MIXING, address=address, name="tiny", seed=1
        )

    assert other == found


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a journal in a process of its own, and give its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    code = (
        "import optuna; from sitesynth.mixing.storages import open_storage as open;"
        f"optuna.storages.run_grpc_proxy_server(open({journal(folder)!r}), port={port})"
    )
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "src"},
    )
    try:
        wait_until(lambda: is_listening(port))
        yield f"grpc://localhost:{port}"
    finally:
        server.terminate()
        server.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("localhost", port)) == 0


def num_lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
