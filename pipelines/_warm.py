"""A warm process, in which a stage starts without importing what other stages have imported.

torch, MONAI, pandas and their like take a stage some two seconds to import, and a study starts
sixty-six stages. So the first of them leaves a process behind that imports these packages once, and
those that follow are forked from it:

    the asker     what DVC has started, waits for and may kill: `python -m pipelines.evaluate ...`
    the server    has the packages; started by an asker that finds none, ends when nobody asks
    a keeper      forked from the server, one for an asker: forks the stage, tells the asker how it
                  has ended, and kills it should the asker be gone
    the stage     has the asker's arguments, environment and standard streams

A stage is of the code that lies there: a server knows when each of our files was written, and an
asker that finds one changed meets another server, or none. So does one that differs in anything
that a process inherits from its parent. Whatever is unusual starts as if there were none of this:
`SITESYNTH_WARM=off`, options of the interpreter, several processes of one training, no Linux.
"""

import atexit
import gc
import hashlib
import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, final


__all__ = ["main", "start_warm"]

PACKAGES: Final = (
    "numpy",
    "scipy.special",
    "scipy.stats",
    "pandas",
    "pydantic.functional_validators",
    "pydantic.main",
    "pydantic.types",
    "jaxtyping",
    "nibabel",
    "matplotlib.figure",
    "torch",
    # Which every optimizer asks for when it is made.
    "torch._dynamo",
    "safetensors.torch",
    # The doorway to MONAI, which lets it in without what it would bring along.
    "sitesynth.networks",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "great_expectations",
    # Those that run once for each site or strategy.
    "pipelines.acquire",
    "pipelines.check",
    "pipelines.preprocess",
    "pipelines.train_autoencoder",
    "pipelines.train_diffusion",
    "pipelines.correct",
    "pipelines.assess_privacy",
    "pipelines.assess_quality",
    "pipelines.package",
    "pipelines.sample",
    "pipelines.train_classifier",
    "pipelines.evaluate",
)
"""What is slow to import, and imported by several stages; and these stages."""

OURS: Final = ("pipelines", "sitesynth")

SWITCH: Final = "SITESYNTH_WARM"
"""Environment variable: `off` starts every stage cold."""

PASSING: Final = frozenset({"DVC_STAGE", "_"})
"""Environment variables that differ from stage to stage, and that no package reads."""

LIMITS: Final = tuple(name for name in dir(resource) if name.startswith("RLIMIT_"))

LINGER_S: Final = 60.0
"""How long a server waits for the next asker while no stage of its own is running."""

POLL_S: Final = 1.0
FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group of the other end of a socket."""


def start_warm() -> None:
    """Let the warm process run the stage that this one was started for, and end as it has ended.

    Returns only if the stage has to start here. If that is for want of a warm process, the next
    stage will find one.
    """
    python, *argv = sys.orig_argv
    if (
        argv[:1] != ["-m"]
        or sys.platform != "linux"
        or os.environ.get(SWITCH) == "off"
        or "WORLD_SIZE" in os.environ
    ):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(_address())
        except ConnectionRefusedError:
            _start_server()
            return
        if _is_ours(connection):
            _ask(connection, [python, *argv])


def _start_server() -> None:
    """Start a server that outlives this stage, and holds none of its streams open."""
    subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", f"from {__name__} import main; main()"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _address() -> str:
    """Return the name of the socket at which a server of processes like this one answers.

    Everything that a process inherits is in it, and when our files were written and packages last
    installed. Names that begin with a zero byte are no files: they end with the server, however it
    ends.
    """
    mask = os.umask(0)
    os.umask(mask)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    group = Path("/proc/self/cgroup")
    told = [
        sys.executable,
        sys.version,
        str(Path.cwd()),
        os.getuid(),
        mask,
        os.nice(0),
        sorted(os.sched_getaffinity(0)),
        [resource.getrlimit(getattr(resource, name)) for name in LIMITS],
        group.read_text() if group.exists() else "",
        [signal.getsignal(number) is signal.SIG_IGN for number in FORWARDED],
        [Path(path).stat().st_mtime_ns for path in libraries],
        [(path, status.st_mtime_ns, status.st_size) for path, status in _our_files()],
        sorted(pair for pair in os.environ.items() if pair[0] not in PASSING),
    ]
    return "\0sitesynth-" + hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _our_files() -> list[tuple[str, os.stat_result]]:
    """Return the files of our modules, and what the file system knows of each."""
    specs = [importlib.util.find_spec(name) for name in OURS]
    folders = [folder for spec in specs if spec for folder in spec.submodule_search_locations or ()]
    files = [
        os.path.join(folder, name)  # noqa: PTH118 (hundreds, before every stage)
        for top in folders
        for folder, _, names in os.walk(top)
        for name in names
        if not name.endswith(".pyc")
    ]
    return [(path, os.stat(path)) for path in sorted(files)]  # noqa: PTH116


def _is_ours(connection: socket.socket) -> bool:
    """Return whether this user is at the other end: anyone can take a socket's name."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return bool(CREDENTIALS.unpack(told)[1] == os.getuid())


def _ask(connection: socket.socket, command: list[str]) -> None:
    """Have the stage run, forward signals to it, and end as it ends."""
    stage = 0

    def forward(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if not stage:
            # The keeper sees that nobody waits any more.
            os._exit(128 + number)
        with suppress(ProcessLookupError):
            os.kill(stage, number)

    signals, writer = socket.socketpair()
    writer.settimeout(0)
    signal.set_wakeup_fd(writer.fileno())
    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    socket.send_fds(connection, [b"?"], [0, 1, 2])
    connection.sendall(json.dumps([command, dict(os.environ)]).encode() + b"\n")
    answers = _answers(connection, signals)
    stage = next(answers, 0)
    status = next(answers, None)
    if status is None:
        sys.stderr.write(
            "\nThe process that watched over this stage was killed, so that nobody knows how it "
            "ended. Run it again.\n"
        )
        os._exit(1)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code in FORWARDED:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _answers(connection: socket.socket, signals: socket.socket) -> Iterator[int]:
    """Yield the numbers that a keeper says: the stage's process, and with what status it has ended.

    A signal that comes just before a call that waits is looked at when the call returns, which may
    be in hours. So the call waits for `signals`, too, where a signal writes a byte.
    """
    rest = b""
    while True:
        ready, _, _ = select.select([connection, signals], [], [])
        if signals in ready:
            signals.recv(1024)
        if connection in ready:
            part = connection.recv(1024)
            if not part:
                return
            *lines, rest = (rest + part).split(b"\n")
            yield from map(int, lines)


@final
@dataclass(frozen=True, slots=True)
class _Stage:
    """What a forked process is to become."""

    streams: list[int]
    command: list[str]
    environment: dict[str, str]
    connection: socket.socket
    """Held open: an asker whose keeper was killed waits for the stage all the same, so that no
    second one is started beside it."""


def main() -> None:
    """Serve askers; in a process that was forked for one, run the stage."""
    # As in `pipelines/__init__.py`, which sees to it for a stage that starts cold.
    gc.disable()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            # Not every kernel lets one wait for a process and for a socket at once.
            os.close(os.pidfd_open(os.getpid()))
            server.bind(_address())
        except OSError:
            # If it is the name: another one is there, or about to be.
            return
        _warm_up()
        server.listen(socket.SOMAXCONN)
        stage = _serve(server)
    if stage is not None:
        _become(stage)


def _warm_up() -> None:
    """Import what stages share."""
    # As where it is used: great-expectations reads it when it is imported.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    for package in PACKAGES:
        importlib.import_module(package)
    # Forked processes neither look through these nor copy them.
    gc.freeze()


def _serve(server: socket.socket) -> _Stage | None:
    """Fork a keeper for each asker until none has come for a while.

    Returns:
        None in the server; in a stage's own process, what it is to become.
    """
    keepers: set[int] = set()
    busy_at = time.monotonic()
    while keepers or time.monotonic() - busy_at < LINGER_S:
        ended = {keeper for keeper in keepers if os.waitpid(keeper, os.WNOHANG)[0]}
        keepers -= ended
        ready, _, _ = select.select([server], [], [], POLL_S)
        if ready:
            connection, _ = server.accept()
            keeper = os.fork()
            if not keeper:
                server.close()
                return _keep(connection)
            connection.close()
            keepers.add(keeper)
        if ready or ended:
            busy_at = time.monotonic()
    return None


def _keep(connection: socket.socket) -> _Stage:
    """Fork the stage that an asker wants, and stay with it to its end.

    Returns:
        What the stage's process is to become; nothing else returns.
    """
    if not _is_ours(connection):
        os._exit(1)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("r") as told:
        command, environment = json.loads(told.readline())
    stage = os.fork()
    if not stage:
        return _Stage(streams, command, environment, connection)
    for stream in streams:
        os.close(stream)
    with suppress(ConnectionError):
        connection.sendall(f"{stage}\n".encode())
    has_ended = os.pidfd_open(stage)
    ready, _, _ = select.select([has_ended, connection.fileno()], [], [])
    if has_ended not in ready:
        # An asker says nothing more: what there is to read is its end.
        os.kill(stage, signal.SIGKILL)
    _, status = os.waitpid(stage, 0)
    with suppress(ConnectionError):
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _become(stage: _Stage) -> None:
    """Run a stage as `python -m` would."""
    import runpy  # noqa: PLC0415 (an asker has no use for it)

    for number, stream in enumerate(stage.streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(stage.environment)
    # A stage may change its folder.
    sys.path[:] = [path or str(Path.cwd()) for path in sys.path]
    sys.orig_argv = stage.command
    _, _, module, *arguments = stage.command
    sys.argv = [module, *arguments]
    # As the main module it is not what was imported.
    sys.modules.pop(module, None)
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        status = end.code or 0
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End as Python does, but leave the packages' objects lie.

    To take them apart, one by one, is half a second's work, for they are shared with the server and
    so copied first. Forked processes of `multiprocessing` end in the same way.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
