"""Containers on this host, for real: as root, with the network, and QEMU for what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.disk.bases.debian import Debian
from bakery.drivers.base import Driver
from bakery.drivers.nspawn import host, processes
from bakery.drivers.nspawn.driver import CONTAINER, NspawnDriver
from bakery.drivers.nspawn.merged_tree import merged
from bakery.drivers.nspawn.source import Nspawn
from bakery.drivers.qemu.driver import QemuDriver
from bakery.errors import DriverError, NotYet
from bakery.machine.transport.base import Transport
from bakery.machine.transport.link import Link
from bakery.model import Artifact, Checkpoint, Handle, Resource
from bakery.state.claim import Claim
from bakery.state.project import cache_folder
from bakery.state.ssh_keys import make_keys
from bakery.testing.contract import DriverContract, Exists, RecordingLedger
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != "linux" or bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
]

Claims = Callable[..., Claim]
CGROUPS = Path("/sys/fs/cgroup")
FILES = r"""find . -xdev \( -path ./var/log -o -path ./tmp -o -path ./run -o -path ./var/tmp -o -path ./var/lib/systemd
    -o -path ./etc/machine-id -o -path './etc/ssh/ssh_host_*' \) -prune -o"""
TREE = rf"""
cd / && {FILES} \( -type f -printf '%p %m %U:%G %y %s\n' -o -printf '%p %m %U:%G %y %l\n' \) | sort
{FILES} -type f -exec md5sum {{}} + | sort -k 2
"""
"""Everything on a machine but what a boot writes."""


def the_hosts_cache() -> Path:
    return cache_folder(os.environ)


class TestNspawnDriver(DriverContract):
    """The contract. What a container is captured as is a disk, and boots in QEMU."""

    driver_class = NspawnDriver

    @pytest.fixture
    def source(self) -> Nspawn:
        return Nspawn(base=Debian("bookworm"), disk="4G")

    @pytest.fixture(autouse=True)
    def base_of_this_host(self, tmp_path: Path) -> None:
        """The contract's own cache is empty, and a base takes a minute to make."""
        the_hosts_cache().mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache").symlink_to(the_hosts_cache())

    @pytest.fixture
    def exists(self, tmp_path: Path) -> Exists:
        def all_of_it() -> set[str]:
            containers = {found.name for found in processes.launchers() if str(found.folder).startswith(str(tmp_path))}
            folders = {str(found) for found in tmp_path.glob(f"machines/*/{CONTAINER}")}
            groups = {str(found) for found in CGROUPS.rglob(f"bakery-contract-{tmp_path.name}*")}
            mounts = {line for line in Path("/proc/self/mounts").read_text().splitlines() if str(tmp_path) in line}
            return containers | folders | groups | mounts | {str(found) for found in tmp_path.glob("images/*")}

        return all_of_it

    @contextmanager
    def machine(self, driver: Driver[Any], boot: Any, claim: Claim) -> Iterator[tuple[Handle, Link]]:
        booted = QemuDriver() if isinstance(boot, Artifact) else driver
        with super().machine(booted, boot, claim) as running:
            yield running


class Machine:
    """A running container, and the shell of it."""

    def __init__(self, driver: NspawnDriver, boot: Nspawn | Checkpoint, claim: Claim) -> None:
        self.driver, self.claim = driver, claim
        self.handle = driver.launch(boot, claim)
        self.link = Link(lambda: driver.endpoint(self.handle), claim.keys, claim, timeout=120)

    @property
    def transport(self) -> Transport:
        return self.link.open()

    def run(self, command: str) -> str:
        done = self.transport.run(command, timeout=300)
        assert done.ok, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def saved(self, key: str, folder: Path) -> Checkpoint:
        (folder / key).mkdir(parents=True)
        made = self.driver.checkpoint(self.handle, key, folder / key, self.claim)
        assert made is not None
        return made


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    driver, ledgers = NspawnDriver(), list[RecordingLedger]()

    def start(boot: Nspawn | Checkpoint | None = None) -> Machine:
        ledgers.append(RecordingLedger())
        name = f"bakery-{tmp_path.name}-{len(ledgers)}"
        folder = tmp_path / "machines" / str(len(ledgers))
        folder.mkdir(parents=True)
        claim = Claim(
            cache=the_hosts_cache(),
            run=tmp_path.name,
            role="build",
            name=name,
            folder=folder,
            keys=make_keys("test"),
            tags={},
            images=tmp_path,
            ledger=ledgers[-1],
            driver=driver.name,
        )
        return Machine(driver, boot or Nspawn(base=Debian("bookworm"), disk="4G"), claim)

    yield start
    for ledger in ledgers:
        ledger.undo(driver)


def test_systemd_runs_inside_without_a_failed_unit(launch: Callable[..., Machine]) -> None:
    machine = launch()
    assert machine.run("systemctl is-system-running") == "running\n"
    assert machine.run("systemctl is-active systemd-networkd ssh") == "active\nactive\n"


def test_the_network_leads_out_but_neither_in_nor_to_this_hosts_loopback(launch: Callable[..., Machine]) -> None:
    machine = launch()
    machine.run("getent hosts deb.debian.org")
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        reached = f"timeout 3 bash -c ': </dev/tcp/HOST/{port}'"
        for address in ("127.0.0.1", "10.0.2.2"):
            assert machine.transport.run(reached.replace("HOST", address)).failed
        server.terminate()
    assert "host0" in machine.run("ip -brief address")


def test_a_container_reboots_as_a_machine_does(launch: Callable[..., Machine]) -> None:
    machine = launch()
    read = "cat /proc/sys/kernel/random/boot_id"
    before, transport = machine.run(read), machine.transport
    machine.run("echo kept > /root/kept; systemctl reboot")

    def down() -> None:
        if transport.alive:
            raise NotYet("still up")

    until(down, what="the reboot", timeout=60, cancel=Cancel())
    assert machine.run(read) != before
    assert machine.run("cat /root/kept") == "kept\n"
    machine.run("getent hosts deb.debian.org")


def test_a_container_that_dies_is_an_error_at_once_with_its_last_words(launch: Callable[..., Machine]) -> None:
    machine = launch()
    machine.run("true")
    os.kill(int(machine.handle.resource.id or 0), signal.SIGKILL)

    def gone() -> None:
        if processes.alive(int(machine.handle.resource.id or 0), machine.handle.resource.data["started"]):
            raise NotYet("dying")

    until(gone, what="its death", timeout=20, cancel=Cancel())
    with pytest.raises(DriverError, match="has ended") as caught:
        machine.driver.endpoint(machine.handle)
    assert "systemd" in caught.value.why.lower() or "Started" in caught.value.why


def test_what_a_killed_process_started_is_destroyed_by_another_from_the_record(
    launch: Callable[..., Machine], tmp_path: Path
) -> None:
    machine = launch()
    machine.run("true")
    bare = replace(machine.handle.resource, id=None)
    data = {name: value for name, value in bare.data.items() if name != "started"}
    NspawnDriver().destroy(replace(bare, data=data))
    assert not any(found.name == machine.handle.id for found in processes.launchers())
    assert list(tmp_path.glob(f"machines/*/{CONTAINER}")) == []
    assert list(CGROUPS.rglob(machine.handle.id)) == []


def test_a_restored_layer_is_the_machine_as_it_was(launch: Callable[..., Machine], tmp_path: Path) -> None:
    """Also where folders were deleted, made again, replaced by files: what an overlay writes down in its own way."""
    first = (
        "mkdir -p /srv/x/y; echo 1 >/srv/x/y/f; echo 2 >/srv/g; ln /srv/g /srv/g2; rm -r /usr/share/doc; "
        "mkdir /usr/share/doc; echo n >/usr/share/doc/new; rm /etc/issue; useradd -m bob; chmod 600 /etc/motd; "
        "mkdir /usr/share/keep; touch /usr/share/keep/1 /usr/share/keep/2"
    )
    second = (
        "rm -r /srv/x; echo 3 >>/srv/g; rm -r /usr/share/bug; mv /usr/share/keep /usr/share/kept; mkfifo /root/fifo; "
        "echo m >/usr/share/doc/more; ln -s /etc/passwd /root/pw; rm -r /usr/share/man; touch /usr/share/man"
    )
    third = "rm -r /usr/share/kept /usr/share/doc; mkdir /usr/share/doc; rm /usr/share/man; mkdir -p /usr/share/man/m"
    machine = launch()
    machine.run(first)
    one = machine.saved("1", tmp_path)
    machine.run(second)
    two = machine.saved("2", tmp_path)
    after_two = machine.run(TREE)
    assert launch(two).run(TREE) == after_two

    restored = launch(one)
    restored.run(second)
    assert restored.run(TREE) == after_two
    restored.saved("2b", tmp_path)
    restored.run(third)
    three = restored.saved("3", tmp_path)
    assert launch(three).run(TREE) == restored.run(TREE)


def test_a_saved_layer_needs_no_other(launch: Callable[..., Machine], tmp_path: Path) -> None:
    machine = launch()
    machine.run("mkdir /srv/app; echo 1 >/srv/app/one")
    one = machine.saved("1", tmp_path)
    restored = launch(one)
    restored.run("echo 2 >/srv/app/two")
    two = restored.saved("2", tmp_path)
    restored.driver.destroy(restored.handle.resource)
    subprocess.run(["rm", "-r", str(tmp_path / "1")], check=True)
    assert launch(two).run("cat /srv/app/one /srv/app/two") == "1\n2\n"


def test_layers_of_long_names_are_seen_as_one(tmp_path: Path) -> None:
    layers = [tmp_path / f"{'long' * 40}{number}" for number in range(4)]
    for layer in layers:
        layer.mkdir()
        (layer / layer.name[-1]).touch()
    with merged(layers, tmp_path, WorkContext(cache=tmp_path)) as tree:
        assert sorted(path.name for path in tree.iterdir()) == ["0", "1", "2", "3"]


def test_without_systemd_the_first_command_already_sees_the_machines_own_tree(
    launch: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "why_plain", lambda _base=None: "asked for by a test")
    machine = launch()
    assert machine.run("cat /etc/hostname; hostname") == "debian\ndebian\n"
    assert machine.run("getent hosts deb.debian.org; ls -d /dev/null /run/host 2>&1 || true").count("/dev/null") == 1
    assert "sleep infinity" in machine.run("tr '\\0' ' ' </proc/1/cmdline")
    assert machine.transport.run("systemctl start ssh").failed


def test_destroying_what_is_gone_is_success() -> None:
    gone = Resource(driver="nspawn", kind=CONTAINER, key="bakery-gone-1", data={"folder": "/nowhere", "cgroups": []})
    NspawnDriver().destroy(gone)
