"""NVFlare's simulator against the in-process engine, and against its own processes' secrets.

Slow: a simulation starts five processes, each of which imports torch.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from sitesynth.classifiers.ensemble import Ensemble
from sitesynth.errors import TrainingError
from sitesynth.strategies.federation import fit_federation
from sitesynth.strategies.sealed import sealed_bytes
from tests.unit.strategies import tiny_consortium as tiny


pytestmark = pytest.mark.slow

# Python imports it at the start of every process on whose path it lies.
SPY = """
import json, os, sys
FOLDER = os.environ["SPY_FOLDER"]
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.fsdecode(arguments[0])
        if path.startswith(os.environ["SPY_ON"]):
            note("open", path)
    elif event in ("socket.connect", "socket.sendto", "socket.bind"):
        note("address", repr(arguments[1]))
    elif event == "socket.getaddrinfo":
        note("name", str(arguments[0]))
def note(kind, what):
    line = json.dumps([kind, what]) + "\\n"
    file = os.open(f"{FOLDER}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)
sys.addaudithook(hook)
"""

LOOPBACK = ("('localhost',", "('127.0.0.1',", "('0.0.0.0',", "('::1',", "b'/", "'/", "('',")

# NVFlare asks the kernel which address this machine would use, by connecting a datagram socket,
# which sends nothing.
NOT_SENT = "('10.255.255.255', 1)"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three sites' image sets."""
    return tiny.write_sites(tmp_path_factory.mktemp("images"))


class Watched:
    """One simulation, and what its processes opened and called."""

    def __init__(self, images: Path, folder: Path) -> None:
        """Run it."""
        self.spied, self.home, self.here = (folder / name for name in ("spied", "home", "here"))
        for made in (self.spied, self.home, self.here):
            made.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(SPY)
        self.steps: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SPY_FOLDER", str(self.spied))
            patch.setenv("SPY_ON", str(images))
            patch.setenv("HOME", str(self.home))
            # MONAI imports matplotlib, which keeps a list of fonts.
            patch.setenv("MPLCONFIGDIR", str(folder))
            patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            patch.chdir(self.here)
            patch.setenv("PYTHONPATH", str(folder))
            self.ensemble, self.traffic = fit_federation(
                images,
                **tiny.sections(tiny.settings()),
                standings=folder / "standings",
                on_step_of=tiny.told_by(self.steps),
            )

    def notes(self, kind: str) -> Mapping[str, set[str]]:
        """Return by process what it did of one kind."""
        found: dict[str, set[str]] = {}
        for file in self.spied.iterdir():
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found[file.name] = {what for k, what in lines if k == kind}
        return found


@pytest.fixture(scope="module")
def watched(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Return a simulation that ran."""
    return Watched(images, tmp_path_factory.mktemp("watched"))


def weights_of(ensemble: Ensemble) -> list[dict[str, torch.Tensor]]:
    """Return the members' weights."""
    return [member.state_dict() for member in ensemble.members]


def assert_same(found: Ensemble, expected: Ensemble) -> None:
    """Hold two ensembles equal to the bit."""
    assert found.config == expected.config
    for there, here in zip(weights_of(found), weights_of(expected), strict=True):
        assert there.keys() == here.keys()
        for name, value in there.items():
            assert torch.equal(value, here[name]), name


def test_both_engines_give_the_same_bits(images: Path, watched: Watched) -> None:
    """Weights, threshold and the losses of every round: the engine only carries."""
    steps: list[Any] = []
    expected = tiny.fit_in_process(images, tiny.settings(), steps)

    assert_same(watched.ensemble, expected)
    assert watched.steps == steps
    assert [(member, step) for member, step, _ in steps] == [(0, 2), (0, 4), (1, 2), (1, 4)]


def test_a_process_opens_one_sites_scans_only(images: Path, watched: Watched) -> None:
    """Three processes open 12 arrays each, all of one site; the caller and the hub open none."""
    opened = [
        {Path(path).relative_to(images).parts[0] for path in paths if path.endswith(".npy")}
        for paths in watched.notes("open").values()
    ]

    assert sorted(map(sorted, filter(None, opened))) == [["alder"], ["birch"], ["cedar"]]


def test_nothing_but_loopback_is_contacted(watched: Watched) -> None:
    """No name is looked up and no address called that is not this machine's."""
    called = set().union(*watched.notes("address").values())
    named = set().union(*watched.notes("name").values())

    assert called, "the spy saw the simulator's own connections"
    assert {address for address in called if not address.startswith(LOOPBACK)} <= {NOT_SENT}
    assert named <= {"localhost", "127.0.0.1", "0.0.0.0", "None", ""}  # noqa: S104


def test_nothing_is_left_behind(watched: Watched) -> None:
    """No file where it ran, none at home, and no process."""
    assert list(watched.here.iterdir()) == []
    assert list(watched.home.iterdir()) == []
    assert [pid for pid in watched.notes("open") if psutil.pid_exists(int(pid))] == []


def test_the_ledger_is_the_formula_and_the_engines_overhead(watched: Watched) -> None:
    """A round moves the model down and up at each site; the rest, polls, is less than a tenth."""
    model = sum(
        value.numel() * value.element_size() for value in weights_of(watched.ensemble)[0].values()
    )
    trained = [row for row in watched.traffic["rounds"] if row["kind"] == "train"]

    assert len(trained) == 3 * 2 * 2
    for row in trained[1:]:
        assert row["sent_bytes"] >= model
        assert row["received_bytes"] >= model
    assert watched.traffic["messages"] == 2 * 3 * (2 * (2 + 1) + 1)
    assert watched.traffic["absences"] == []


def test_threads_are_shared_out_as_without_an_engine(images: Path, tmp_path: Path) -> None:
    """Of two threads each of two trainings has one, and so has a site's process."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        study = tiny.settings(num_rounds=1, num_steps=2)
        found, _ = fit_federation(
            images, **tiny.sections(study), standings=tmp_path, on_step_of=tiny.told_by([])
        )
        assert_same(found, tiny.fit_in_process(images, study, []))
    finally:
        torch.set_num_threads(before)


def test_algorithms_keep_the_bits(images: Path, tmp_path: Path) -> None:
    """Every knob changes the weights, and none of them between engines."""
    knobs = {
        "proximal_weight": 0.5,
        "hub_momentum": 0.6,
        "normalization": "local",
        "sites_per_round": 2,
        "clip_norm": 0.5,
        "noise_multiplier": 0.01,
    }
    study = tiny.settings(num_steps=12, num_rounds=3, num_seeds=1, **knobs)
    found, traffic = fit_federation(
        images, **tiny.sections(study), standings=tmp_path, on_step_of=tiny.told_by([])
    )

    assert_same(found, tiny.fit_in_process(images, study, []))
    assert traffic["algorithm"] == "fedprox with fedbn with fedopt"
    assert all(told["protection_seconds"] > 0 for told in traffic["sites"].values())
    assert list(tmp_path.iterdir()) == [], "what sites keep cannot be resumed"


def test_encryption_keeps_the_bits_and_costs_bytes(images: Path, tmp_path: Path) -> None:
    """Sums of ciphertexts are exact, whoever draws the keys; a message is one ciphertext."""
    study = tiny.settings(num_steps=12, num_rounds=3, num_seeds=1, encryption="bfv")
    found, traffic = fit_federation(
        images, **tiny.sections(study), standings=tmp_path, on_step_of=tiny.told_by([])
    )
    numbers = sum(value.numel() for value in weights_of(found)[0].values())
    sent = [row for row in traffic["rounds"] if row["kind"] == "train" and row["number"] > 1]

    assert_same(found, tiny.fit_in_process(images, study, []))
    assert len(sent) == 2 * 3
    for row in sent:
        assert 0.99 * sealed_bytes(numbers) < row["received_bytes"] < 1.3 * sealed_bytes(numbers)
    assert all(told["protection_seconds"] > 0 for told in traffic["sites"].values())
    assert list(tmp_path.iterdir()) == [], "neither a standing is left nor its key"


def test_a_site_without_scans_of_a_class_ends_the_study_by_name(tmp_path: Path) -> None:
    """The site's own words reach the caller, through the engine."""
    images = tiny.write_sites(tmp_path)
    table = images / "birch/table.csv"
    table.write_text(table.read_text().replace("mutant", "wildtype"))

    with pytest.raises(TrainingError, match="birch: TrainingError: none of the 8 scans"):
        fit_federation(
            images,
            **tiny.sections(tiny.settings()),
            standings=tmp_path / "standings",
            on_step_of=tiny.told_by([]),
        )


CALLER = """
import sys
from pathlib import Path
from sitesynth.strategies.federation import fit_federation
from sitesynth.strategies.sealed import sealed_bytes
from tests.unit.strategies import tiny_consortium as tiny
images, standings, min_sites, encryption = sys.argv[1:]
study = tiny.long_settings(
    patience_s=20, min_sites=int(min_sites) or None, encryption=encryption
)
fit_federation(Path(images), **tiny.sections(study), standings=Path(standings),
    on_step_of=lambda member: lambda step, losses: print("step", step, flush=True))
"""


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose name is short enough for sockets below it."""
    return tmp_path_factory.mktemp("t")


class Caller:
    """A process that runs a long simulation."""

    def __init__(
        self, images: Path, folder: Path, *, min_sites: int = 0, encryption: str = "none"
    ) -> None:
        """Start it, and wait for the first round."""
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", CALLER, str(images), str(folder / "standings")),
                *(str(min_sites), encryption),
            ],
            env=os.environ | {"PYTHONPATH": f"{tiny.ROOT}/src:{tiny.ROOT}", "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "step 1\n":
            pytest.fail(self.process.communicate()[1][-2000:])
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def worker(self, site: str) -> psutil.Process:
        """Return the process of a site."""
        (found,) = [
            child for child in self.family if f"--client {site} " in " ".join(child.cmdline()) + " "
        ]
        return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_caller(images: Path, short: Path, how: signal.Signals) -> None:
    """Ctrl-C, a polite end and a rude one: server and clients are gone seconds later.

    And what was killed goes on from its last whole round, to the bits of one piece.
    """
    caller = Caller(images, short)
    assert len(caller.family) >= 5
    caller.process.send_signal(how)
    _, alive = psutil.wait_procs(caller.family, timeout=10)
    caller.process.communicate()

    assert alive == []
    if how == signal.SIGINT:
        left = [path.name for path in short.iterdir()]
        assert left == ["standings"], "the workspace goes with the caller"
    if how == signal.SIGKILL:
        study = tiny.long_settings(patience_s=20)
        found, traffic = fit_federation(
            images,
            **tiny.sections(study),
            standings=short / "standings",
            on_step_of=tiny.told_by([]),
        )
        assert_same(found, tiny.fit_in_process(images, study, []))
        assert 1 <= traffic["resumed"]["number"] < study.federated.num_rounds


def test_a_killed_encrypted_study_goes_on(images: Path, short: Path) -> None:
    """Its key outlives it beside the standing, for the bits of one piece; then both are gone."""
    caller = Caller(images, short, encryption="bfv")
    caller.process.send_signal(signal.SIGKILL)
    psutil.wait_procs(caller.family, timeout=10)
    caller.process.communicate()
    study = tiny.long_settings(patience_s=20, encryption="bfv")
    found, traffic = fit_federation(
        images,
        **tiny.sections(study),
        standings=short / "standings",
        on_step_of=tiny.told_by([]),
    )

    assert_same(found, tiny.fit_in_process(images, study, []))
    assert 1 <= traffic["resumed"]["number"] < study.federated.num_rounds
    assert list((short / "standings").iterdir()) == []


def test_a_client_that_dies_ends_the_study_by_name(images: Path, short: Path) -> None:
    """Within the hub's patience, where every site is asked for."""
    caller = Caller(images, short)
    caller.worker("birch").kill()
    _, told = caller.process.communicate(timeout=240)

    assert caller.process.returncode == 1
    assert "birch: no answer in 20 s" in told
    assert psutil.wait_procs(caller.family, timeout=10)[1] == []


def test_a_quorum_goes_on_without_the_dead_client(images: Path, short: Path) -> None:
    """The rounds continue, and say without whom."""
    caller = Caller(images, short, min_sites=2)
    caller.worker("birch").kill()
    assert caller.process.stderr is not None
    told = caller.process.stderr.readline()
    began = time.monotonic()
    caller.process.send_signal(signal.SIGINT)
    caller.process.communicate(timeout=240)

    assert "went on without {'birch': 'no answer in 20 s" in told
    assert time.monotonic() - began < 60
    assert psutil.wait_procs(caller.family, timeout=10)[1] == []
