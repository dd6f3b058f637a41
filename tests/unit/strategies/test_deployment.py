"""A hub and three sites as on machines of their own: provisioned kits, gRPC, mutual TLS.

Slow: eight processes, each of which imports torch. All on loopback.
"""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import torch

from sitesynth.errors import TrainingError
from sitesynth.strategies.federation import announce, conclude
from sitesynth.strategies.nvflare_engine import prepare_kit, run_deployed, write_job
from sitesynth.strategies.sealing import SiteKey
from sitesynth.strategies.standing import read_standing, standing_file
from tests.unit.strategies import tiny_consortium as tiny


pytestmark = pytest.mark.slow

PROJECT = tiny.ROOT / "docs/federation-project.yml"
HUB, ADMIN = "localhost", "hub@sitesynth.org"
PATIENCE_S = 400


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def provision(folder: Path, port: int, *, hub: str = HUB) -> Path:
    """Make the startup kits of the project that the how-to names, at a place of its own."""
    folder.mkdir()
    project = folder / "project.yml"
    project.write_text(PROJECT.read_text().replace("8002", str(port)).replace(HUB, hub))
    command = [f"{Path(sys.executable).parent}/nvflare", "provision", "-p", str(project)]
    subprocess.run(
        [*command, "-w", str(folder / "kits")], cwd=folder, check=True, capture_output=True
    )
    return folder / "kits/sitesynth/prod_00"


@contextmanager
def started(kit: Path, *, inside: Sequence[str] = ()) -> Iterator[None]:
    """Run a kit's own start script, once, with a command before it; end whatever it started."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tiny.ROOT}/src",
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    with (kit / "out.txt").open("wb") as out:
        process = subprocess.Popen(
            [*inside, "/bin/bash", str(kit / "startup/sub_start.sh"), "--once"],
            cwd=kit,
            env=environment,
            stdout=out,
            stderr=out,
        )
        try:
            yield
        finally:
            family = [psutil.Process(process.pid)]
            family += family[0].children(recursive=True)
            for member in family:
                member.kill()
            process.wait()
            psutil.wait_procs(family, timeout=10)


class Deployment:
    """Kits, and the hub's port; what runs ends with the stack that it was started on."""

    def __init__(self, kits: Path, port: int, stack: ExitStack) -> None:
        self.kits = kits
        self.port = port
        self.stack = stack
        self.hub = ExitStack()

    def start_hub(self) -> None:
        """Start the hub, and wait until it listens."""
        self.hub = self.stack.enter_context(ExitStack())
        self.hub.enter_context(started(self.kits / HUB))
        wait_for(lambda: listens(self.port), self.kits / HUB)

    def stop_hub(self) -> None:
        """Kill the hub."""
        self.hub.close()

    def start_sites(self) -> None:
        """Start the sites, and wait until they have joined: a busy hub is slow to let them."""
        for site in tiny.SITES:
            self.stack.enter_context(started(self.kits / site))
        hub = self.kits / HUB
        wait_for(lambda: all(f"New client {site}@" in read_log(hub) for site in tiny.SITES), hub)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three sites' image sets."""
    return tiny.write_sites(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def deployment(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start a hub and three sites, and stop them in the end."""
    with deployed(images, tmp_path_factory.mktemp("deployment")) as there:
        yield there


@contextmanager
def deployed(images: Path, folder: Path) -> Iterator[Deployment]:
    """Provision and run a hub and three sites."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    kits = provision(folder / "ours", port)
    prepare_kit(kits / HUB, None, None)
    SiteKey.draw().write(folder / "sites.key")
    for site in tiny.SITES:
        prepare_kit(kits / site, images / site, folder / "sites.key")
    with ExitStack() as stack:
        there = Deployment(kits, port, stack)
        there.start_hub()
        there.start_sites()
        yield there


def wait_for(is_so: Callable[[], bool], hub: Path) -> None:
    """Wait until something is so, and fail with the end of the hub's log if it takes too long."""
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, read_log(hub)[-2000:]
        time.sleep(0.2)


def read_log(kit: Path) -> str:
    """Return what a participant has told so far."""
    return (kit / "out.txt").read_text(errors="replace")


def listens(port: int) -> bool:
    """Return whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def greeting(channel: socket.socket) -> bytes:
    """Begin HTTP/2, as every gRPC client does, and return what the hub says to it."""
    channel.settimeout(20)
    channel.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    return channel.recv(100)


def call(port: int, *, trusting: Path, showing: Path | None) -> bytes:
    """Greet the hub over TLS, with or without a certificate to show.

    Returns:
        What the hub says; nothing if it ends the connection. (In TLS 1.3 a client learns that it
        is refused after its side of the handshake: by an alert, or by the end of the connection.)
    """
    context = ssl.create_default_context(cafile=str(trusting))
    context.set_alpn_protocols(["h2"])
    if showing is not None:
        context.load_cert_chain(showing / "client.crt", showing / "client.key")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=HUB) as channel,
    ):
        try:
            return greeting(channel)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_a_provisioned_site_is_heard(deployment: Deployment) -> None:
    """So that the refusals below are about certificates and nothing else."""
    kit = deployment.kits / "alder/startup"

    assert call(deployment.port, trusting=kit / "rootCA.pem", showing=kit)


def test_a_client_without_certificate_is_refused(deployment: Deployment) -> None:
    root = deployment.kits / "alder/startup/rootCA.pem"

    assert call(deployment.port, trusting=root, showing=None) == b""


def test_a_client_of_another_ca_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    """Its certificate bears a site's name, and was signed by somebody else."""
    foreign = provision(tmp_path / "theirs", deployment.port) / "alder/startup"
    root = deployment.kits / "alder/startup/rootCA.pem"

    assert call(deployment.port, trusting=root, showing=foreign) == b""


def test_a_hub_of_another_ca_is_refused_by_the_sites(
    deployment: Deployment, tmp_path: Path
) -> None:
    """A site talks to the hub whose root its kit holds, and to no other."""
    foreign = provision(tmp_path / "theirs", deployment.port) / "alder/startup"

    with pytest.raises(ssl.SSLCertVerificationError):
        call(deployment.port, trusting=foreign / "rootCA.pem", showing=foreign)


def test_plaintext_is_refused(deployment: Deployment) -> None:
    """The hub says nothing that is HTTP/2: a TLS alert at most."""
    with socket.create_connection(("127.0.0.1", deployment.port), timeout=20) as channel:
        try:
            said = greeting(channel)
        except ConnectionError:
            said = b""

    assert said == b"" or said[0] == 0x15, said


def test_a_deployment_gives_the_weights_of_one_process(
    deployment: Deployment, images: Path, tmp_path: Path
) -> None:
    """Two rounds of two members over gRPC and mutual TLS: the same bits, the same threshold."""
    study = tiny.settings()
    plan, initial = announce(**tiny.announced(study))
    write_job(tmp_path / "federated", plan, initial)
    best, events = run_deployed(
        plan, tmp_path / "federated", deployment.kits / ADMIN, tmp_path / "result"
    )
    found = conclude(
        plan,
        best,
        events,
        grid=study.grid,
        mask_labels=study.cohort.mask_labels,
        intensity=study.intensity,
    )
    expected = tiny.fit_in_process(images, study, [])

    assert found.config == expected.config
    for there, here in zip(found.members, expected.members, strict=True):
        for name, value in there.state_dict().items():
            assert torch.equal(value, here.state_dict()[name]), name
    assert {event["site"] for event in events if event["event"] == "message"} == set(tiny.SITES)


def test_an_encrypted_deployment_gives_the_same_weights(
    deployment: Deployment, images: Path, tmp_path: Path
) -> None:
    """Of a key that one process draws and forgets; and none of the hub's files holds this one."""
    study = tiny.settings(num_seeds=1, encryption="bfv")
    plan, initial = announce(**tiny.announced(study))
    write_job(tmp_path / "federated", plan, initial)
    best, events = run_deployed(
        plan, tmp_path / "federated", deployment.kits / ADMIN, tmp_path / "result"
    )
    found = conclude(
        plan, best, events, grid=study.grid, mask_labels=None, intensity=study.intensity
    )
    expected = tiny.fit_in_process(images, study, [])
    key = (deployment.kits.parents[3] / "sites.key").read_bytes()

    assert found.config == expected.config
    for name, value in found.members[0].state_dict().items():
        assert torch.equal(value, expected.members[0].state_dict()[name]), name
    assert (deployment.kits / "alder/local/sitesynth/sites.key").read_bytes() == key
    for file in (deployment.kits / HUB).rglob("*"):
        assert not file.is_file() or key[-1000:] not in file.read_bytes(), file


def test_a_site_that_never_comes_is_named(deployment: Deployment, tmp_path: Path) -> None:
    """Nothing is submitted: NVFlare would keep such a job waiting forever."""
    plan, initial = announce(**tiny.announced(tiny.settings(patience_s=3)))
    plan = plan.model_copy(update={"sites": (*plan.sites, "zelkova")})
    write_job(tmp_path / "federated", plan, initial)

    with pytest.raises(TrainingError, match=r"zelkova did not come within 3 s, and .*min_sites"):
        run_deployed(plan, tmp_path / "federated", deployment.kits / ADMIN, tmp_path / "result")


def test_there_must_be_something_to_resume(deployment: Deployment, tmp_path: Path) -> None:
    """Nothing is trained, and who asked is told why in the hub's words."""
    plan, initial = announce(**tiny.announced(tiny.settings(num_rounds=1)))
    write_job(tmp_path / "federated", plan, initial, resume=True)

    with pytest.raises(TrainingError, match=r"no round of this plan .* run it without --resume"):
        run_deployed(plan, tmp_path / "federated", deployment.kits / ADMIN, tmp_path / "result")


def test_a_restarted_hub_goes_on(images: Path, tmp_path: Path) -> None:
    """Killed after some rounds and started again: the bits of a training in one piece."""
    study = tiny.settings(num_rounds=60, num_steps=60, num_seeds=1, patience_s=120)
    plan, initial = announce(**tiny.announced(study))
    with deployed(images, tmp_path / "deployment") as there:
        hub = there.kits / HUB
        # The first hub's end is the end of its job; who waits for it is told in `caller`.
        write_job(tmp_path / "first/federated", plan, initial)
        with ThreadPoolExecutor() as pool:
            caller = pool.submit(
                run_deployed,
                plan,
                tmp_path / "first/federated",
                there.kits / ADMIN,
                tmp_path / "lost",
            )
            kept = standing_file(hub / "standings", plan, initial)
            wait_for(lambda: kept.exists() and read_standing(kept)[1].number >= 2, hub)
            there.stop_hub()
            with pytest.raises(TrainingError, match=r"cannot be reached|without a result"):
                caller.result(timeout=PATIENCE_S)
        number = read_standing(kept)[1].number
        assert number < 60, "it was killed on its way"
        there.start_hub()
        write_job(tmp_path / "second/federated", plan, initial, resume=True)
        best, events = run_deployed(
            plan, tmp_path / "second/federated", there.kits / ADMIN, tmp_path / "found"
        )
    found = conclude(
        plan,
        best,
        events,
        grid=study.grid,
        mask_labels=study.cohort.mask_labels,
        intensity=study.intensity,
    )
    expected = tiny.fit_in_process(images, study, [])

    assert events[0] == {"event": "resumed", "member": 0, "number": number}
    assert found.config == expected.config
    for name, value in found.members[0].state_dict().items():
        assert torch.equal(value, expected.members[0].state_dict()[name]), name
