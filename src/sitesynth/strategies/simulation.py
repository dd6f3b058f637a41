"""A federation on this machine: NVFlare's simulator, one process per site, nothing but loopback.

All it writes lies in a temporary folder, and none of its processes outlives the caller: they hang
on a pipe that the caller holds, and its end, however it comes, is theirs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

import sitesynth
from sitesynth.errors import TrainingError
from sitesynth.storage import write_json
from sitesynth.strategies import simulator
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.nvflare_engine import (
    COMPONENTS,
    EVENTS,
    hub_file,
    key_file,
    read_result,
    site_file,
    write_job,
)
from sitesynth.strategies.plan import Plan
from sitesynth.strategies.sealing import SiteKey
from sitesynth.strategies.standing import standing_file
from sitesynth.threads import threads_each


__all__ = ["Event", "simulate"]

Event = Mapping[str, Any]

POLL_S = 0.2
GRACE_S = 5.0
TAIL_LINES = 15


def simulate(
    plan: Plan,
    initial: Mapping[int, Weights],
    images: Mapping[str, Path],
    *,
    standings: Path,
    on_event: Callable[[Event], None],
) -> Mapping[int, Weights]:
    """Train a plan's members in NVFlare's simulator.

    Args:
        plan: What is to be trained, by whom.
        initial: By member, the weights to begin with.
        images: By site, the folder of its own image set; only that site's process reads it.
        standings: Folder that outlives an interruption; where one of this federation stood is
            found there, and gone on from.
        on_event: Told what the hub writes down, as it happens; see `nvflare_engine`.

    Returns:
        By member, its best weights.

    Raises:
        TrainingError: If the hub gave up, or NVFlare did.
    """
    # A short name: the simulator's sockets lie below it, and their paths have at most 104 bytes.
    with tempfile.TemporaryDirectory(prefix="sitesynth-") as name:
        folder = Path(name)
        workspace = folder / "workspace"
        kept = standing_file(standings, plan, initial)
        resume = kept.exists()
        write_job(folder / "job", plan, initial, resume=resume)
        for site in plan.sites:
            # The simulator hands every site a copy of this folder; each opens its own file only.
            write_json(
                site_file(workspace / "local", site),
                {"images": str(images[site].resolve()), "noise_key": ""},
            )
        # Kept beside the standing, whose weights it opens: one machine has no hub to hide it from.
        key = kept.with_suffix(".key")
        if plan.federated.encryption != "none":
            if not resume:
                SiteKey.draw().write(key)
            SiteKey.read(key).write(key_file(workspace / "local"))
        write_json(hub_file(workspace / "local"), {"standings": str(standings.resolve())})
        write_json(
            workspace / "local/resources.json.default",
            {"format_version": 2, "class_allow_list": list(COMPONENTS)},
        )
        run = workspace / "server/simulate_job"
        log = folder / "log.txt"
        threads = threads_each(plan.classifier.num_seeds)
        with log.open("wb") as output, _running(folder, plan.sites, output, threads) as process:
            for event in _follow(run / EVENTS, process):
                on_event(event)
        best = read_result(run)
        if best is None:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
            raise TrainingError(
                f"NVFlare's simulator ended with exit code {process.returncode} and no result. "
                f"The end of its log:\n{tail}"
            )
        key.unlink(missing_ok=True)
        return best


@contextmanager
def _running(
    folder: Path, sites: tuple[str, ...], log: IO[bytes], threads: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the simulator in a session of its own; after the block none of its processes is left."""
    # NVFlare changes its working folder, and these may be relative to the caller's.
    path = [
        str(Path(sitesynth.__path__[0]).parent),
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in path if entry),
        "TMPDIR": str(folder),
        # As many as a training has without an engine: their number decides the order of sums.
        "OMP_NUM_THREADS": str(threads),
        # Three sites on two cores: a thread that waits must not spin.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    # Ctrl-C is meant for the caller, who ends the processes in an orderly way.
    process = subprocess.Popen(  # noqa: S603
        [
            sys.executable,
            "-m",
            simulator.__name__,
            str(folder / "job"),
            str(folder / "workspace"),
            ",".join(sites),
        ],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    assert process.stdin is not None  # noqa: S101
    process.stdin.close()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.kill()
    process.wait()
    psutil.wait_procs(family, timeout=GRACE_S)


def _follow(path: Path, process: subprocess.Popen[bytes]) -> Iterator[Event]:
    """Yield the events of a growing file until the process has ended."""
    place, rest = 0, b""
    ended = False
    while not ended:
        ended = process.poll() is not None
        if path.exists():
            with path.open("rb") as file:
                file.seek(place)
                rest += file.read()
                place = file.tell()
            *lines, rest = rest.split(b"\n")
            for line in lines:
                yield json.loads(line)
        if not ended:
            time.sleep(POLL_S)
