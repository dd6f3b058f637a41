"""A hub and three sites, each on a network of its own: as on machines of their own, but for CPUs.

A network namespace has addresses, routes and a loopback of its own. Here each participant is in
one, with a cable to a switch, and the only way from a site to the hub is the hub's address. It
takes root and iproute2; where namespaces cannot be made, the test says so and is skipped.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from sitesynth.classifiers.ensemble import read_ensemble
from sitesynth.settings import Settings, load_settings, settings_text
from sitesynth.strategies.nvflare_engine import prepare_kit
from tests.unit.strategies import tiny_consortium as tiny
from tests.unit.strategies.test_deployment import (
    ADMIN,
    provision,
    read_log,
    started,
    wait_for,
)


pytestmark = pytest.mark.slow

HUB = "hub.sitesynth.test"
"""A name that no name server knows: each namespace has it in a file of hosts of its own."""

PORT = 8002
ADDRESSES = {name: f"10.177.0.{number}" for number, name in enumerate((HUB, *tiny.SITES), start=1)}
HOSTS = Path("/etc/netns")
"""Where `ip netns exec` looks for the files that a namespace shall see in /etc."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)  # noqa: S607


class Networks:
    """One namespace for each participant, and one for the switch between them."""

    def __init__(self) -> None:
        self.switch = f"ss{os.getpid()}"

    def of(self, name: str) -> str:
        """Return the namespace of a participant."""
        return f"{self.switch}-{ADDRESSES[name].rpartition('.')[2]}"

    def inside(self, name: str) -> list[str]:
        """Return what to put before a command that shall run in a participant's namespace."""
        return ["ip", "netns", "exec", self.of(name)]

    def make(self) -> None:
        """Lay a cable from each participant to the switch."""
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        for name, address in ADDRESSES.items():
            space, plug = self.of(name), self.of(name)[-15:]
            ip("netns", "add", space)
            cable = ("link", "add", plug, "type", "veth", "peer", "eth0", "netns", space)
            ip("-n", self.switch, *cable)
            ip("-n", self.switch, "link", "set", plug, "master", "bridge", "up")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            (HOSTS / space).mkdir(parents=True)
            known = f"127.0.0.1 localhost\n{ADDRESSES[HUB]} {HUB}\n"
            (HOSTS / space / "hosts").write_text(known)

    def remove(self) -> None:
        """Remove what there is of them."""
        for space in (self.switch, *(self.of(name) for name in ADDRESSES)):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)  # noqa: S607
            shutil.rmtree(HOSTS / space, ignore_errors=True)


@pytest.fixture
def networks() -> Iterator[Networks]:
    """Make the namespaces, and remove them in the end."""
    made = Networks()
    try:
        made.make()
    except (OSError, subprocess.CalledProcessError) as error:
        made.remove()
        told = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"network namespaces cannot be made here: {told.strip()}")
    try:
        yield made
    finally:
        made.remove()


def is_reached(networks: Networks, name: str, address: str) -> bool:
    """Return whether a participant can open a connection to the hub's port at an address."""
    probe = f"import socket; socket.create_connection(('{address}', {PORT}), timeout=5)"
    command = [*networks.inside(name), sys.executable, "-c", probe]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def who_calls(networks: Networks) -> str:
    """Return the addresses of who is connected to the hub, as its kernel tells them."""
    listed = ("ss", "-Htn", "state", "established", "sport", "=", f":{PORT}")
    told = subprocess.run(
        [*networks.inside(HUB), *listed], check=True, capture_output=True, text=True
    )
    return " ".join(line.split()[-1] for line in told.stdout.splitlines())


def written_study(params: Path) -> Settings:
    """Write the tiny study as the file that a command reads; generators must fit its planes too."""
    study = tiny.settings()
    flat = {"patch": (1, 1)}
    study = study.model_copy(
        update={
            "grid": study.grid.model_copy(update={"region": "head"}),
            "autoencoder": study.autoencoder.model_copy(update=flat),
            "diffusion": study.diffusion.model_copy(update=flat),
        }
    )
    params.write_text(settings_text(study, about="The tiny study."))
    assert load_settings(params) == study
    return study


def test_networks_of_their_own_give_the_weights_of_one_process(
    networks: Networks, tmp_path: Path
) -> None:
    """Two rounds of two members, submitted by `sitesynth federate run`: the same bits."""
    study = written_study(tmp_path / "params.yaml")
    images = tiny.write_sites(tmp_path / "images")
    kits = provision(tmp_path / "kits", PORT, hub=HUB)
    prepare_kit(kits / HUB, None, None)
    with ExitStack() as stack:
        stack.enter_context(started(kits / HUB, inside=networks.inside(HUB)))
        wait_for(lambda: is_reached(networks, "alder", ADDRESSES[HUB]), kits / HUB)
        for site in tiny.SITES:
            prepare_kit(kits / site, images / site, None)
            stack.enter_context(started(kits / site, inside=networks.inside(site)))
        wait_for(
            lambda: all(f"New client {site}@" in read_log(kits / HUB) for site in tiny.SITES),
            kits / HUB,
        )
        assert not is_reached(networks, "alder", "127.0.0.1"), "a loopback of its own"
        callers = who_calls(networks)
        assert all(ADDRESSES[site] in callers for site in tiny.SITES), callers
        subprocess.run(
            [
                *networks.inside(HUB),
                *(sys.executable, "-m", "sitesynth.cli.main", "federate", "run"),
                *("--kit", str(kits / ADMIN), "--params", str(tmp_path / "params.yaml")),
                *("--out", str(tmp_path / "federated")),
            ],
            check=True,
            env=os.environ | {"PYTHONPATH": f"{tiny.ROOT}/src"},
        )
    found = read_ensemble(tmp_path / "federated")
    expected = tiny.fit_in_process(images, study, [])

    assert found.config == expected.config
    for there, here in zip(found.members, expected.members, strict=True):
        for name, value in there.state_dict().items():
            assert torch.equal(value, here.state_dict()[name]), name
