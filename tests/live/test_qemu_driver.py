"""The QEMU driver with real machines: a tiny guest that is up in seconds, and Debian as users build it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import psutil
import pytest

from bakery.disk.bases.debian import Debian
from bakery.drivers.qemu import acceleration, process
from bakery.drivers.qemu.driver import QemuDriver
from bakery.drivers.qemu.monitor import Monitor
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError, NotYet
from bakery.machine.transport.base import Transport
from bakery.machine.transport.link import Link
from bakery.model import Artifact, Checkpoint, Handle, Resource, Where
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from bakery.testing.aws.tiny import tiny_guest
from bakery.util.context import WorkContext
from bakery.util.results import Lost
from bakery.util.waiting import until

pytestmark = pytest.mark.live

PRINT_HOST_KEY = """\
#!/bin/sh
dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/tmp/made
{
    echo "-----BEGIN SSH HOST KEY KEYS-----"
    grep '^ssh-ed25519' /tmp/made
    echo "-----END SSH HOST KEY KEYS-----"
} >/dev/console
"""
DRIVER = QemuDriver()


class Ledger:
    """A journal in memory."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}

    def intend(self, resource: Resource) -> None:
        self.resources[resource.key] = resource

    made = intend

    def kept(self, resource: Resource) -> None:
        del self.resources[resource.key]

    def commit(self) -> None:
        """The images of these tests go away with their folder."""


class Bench:
    """Launches machines, and destroys from the journal alone whatever it launched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger()
        self.cache = Path(os.environ.get("BAKERY_CACHE_DIR", Path.home() / ".cache" / "bakery"))
        self._links: list[Link] = []
        self._count = 0

    def claim(self) -> Claim:
        self._count += 1
        folder = self.folder / "a folder, whose name is not easy" / str(self._count)
        folder.mkdir(parents=True)
        name = f"bakery-{os.getpid()}-{self.folder.name}-{self._count}"
        return Claim(
            cache=self.cache,
            run=f"run-{os.getpid()}",
            build="b",
            role="build",
            name=name,
            folder=folder,
            keys=make_keys("bakery-live"),
            tags={},
            images=self.folder / "images",
            ledger=self.ledger,
            driver="qemu",
        )

    def launch(self, boot: Qemu | Artifact | Checkpoint) -> tuple[Handle, Claim, Transport]:
        claim = self.claim()
        handle = DRIVER.launch(boot, claim)
        link = Link(
            lambda: DRIVER.endpoint(handle), claim.keys, claim, console=lambda: DRIVER.console(handle), timeout=400
        )
        self._links.append(link)
        return handle, claim, link.open()

    def end(self) -> None:
        for link in self._links:
            link.close()
        for resource in self.ledger.resources.values():
            DRIVER.destroy(resource)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.end()


def tiny(cache: Path) -> Qemu:
    disk = Artifact(driver="qemu", id=str(tiny_guest(cache / "tiny").absolute()), name="tiny", format="qcow2")
    return Qemu(base=disk, memory="256M", disk="1G", user_data=PRINT_HOST_KEY, host_key="console")


def debian(cache: Path) -> Qemu:
    del cache
    return Qemu(base=Debian("bookworm"), disk="6G")


mostly_tiny = pytest.mark.parametrize("source", [tiny, pytest.param(debian, marks=pytest.mark.all)])


def said(transport: Transport, command: str) -> str:
    result = transport.run(command, timeout=120)
    assert result.ok, result
    return result.stdout.strip()


@mostly_tiny
def test_what_was_written_is_in_the_captured_image_and_all_is_destroyed(
    bench: Bench, source: Callable[[Path], Qemu]
) -> None:
    handle, claim, machine = bench.launch(source(bench.cache))
    said(machine, "echo marked >/root/marker")
    mac = said(machine, "cat /sys/class/net/e*/address")
    captured = DRIVER.capture(handle, "web", claim)
    assert captured.path.name.startswith(".web.")
    kept = DRIVER.keep(captured, "web", claim)
    assert kept.path == claim.images / "web.qcow2"
    assert DRIVER.intact(kept)
    DRIVER.destroy(handle.resource)
    assert not list(claim.folder.glob("disk*"))

    smoke, _, clone = bench.launch(Artifact.from_json({**kept.__dict__, "created": None}))
    assert said(clone, "cat /root/marker") == "marked"
    assert said(clone, "cat /sys/class/net/e*/address") != mac
    evidence = bench.folder / "evidence"
    evidence.mkdir()
    DRIVER.collect_diagnostics(smoke, evidence)
    assert (evidence / "screen.png").read_bytes().startswith(b"\x89PNG")
    assert (evidence / "console.log").stat().st_size > 0
    DRIVER.destroy(smoke.resource)
    DRIVER.destroy(smoke.resource)
    DRIVER.delete(kept)
    assert not DRIVER.intact(kept)


def test_secrets_are_neither_on_the_command_line_nor_readable_by_others(bench: Bench) -> None:
    claim = bench.claim()
    handle = DRIVER.launch(tiny(bench.cache), claim)
    line = "\n".join(psutil.Process(handle.data["pid"]).cmdline())
    assert claim.keys.host_private.splitlines()[2] not in line
    assert claim.keys.user_public not in line
    for path in claim.folder.iterdir():
        assert path.is_socket() or path.name.endswith((".log", ".json")) or not path.stat().st_mode & 0o077


def test_a_machine_that_is_killed_says_so_at_once_with_its_last_words(bench: Bench) -> None:
    handle, _, machine = bench.launch(tiny(bench.cache))
    os.kill(handle.data["pid"], signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(Lost):
        machine.run("sleep 60")
    assert time.monotonic() - started < 5
    with pytest.raises(DriverError, match="dead") as dead:
        DRIVER.endpoint(handle)
    assert "rig-guest-ready" in dead.value.why


def test_a_machine_that_powers_itself_off_is_not_waited_for(bench: Bench) -> None:
    handle, claim, machine = bench.launch(tiny(bench.cache))
    said(machine, "echo late >/root/late; poweroff >/dev/null 2>&1 &")

    def still_there() -> None:
        DRIVER.endpoint(handle)
        raise NotYet("it is still there")

    with pytest.raises(DriverError, match="powered itself off"):
        until(still_there, what="the end of the machine", timeout=120, cancel=claim.cancel)
    assert DRIVER.capture(handle, "late", claim).size


def test_words_that_qemu_does_not_know_are_reported_with_its_own_answer(bench: Bench) -> None:
    claim = bench.claim()
    handle = DRIVER.launch(replace(tiny(bench.cache), qemu_args=("-no-such-option",)), claim)
    with pytest.raises(DriverError, match="dead") as caught:
        Link(lambda: DRIVER.endpoint(handle), claim.keys, claim, timeout=60).open()
    assert "-no-such-option: invalid option" in caught.value.why


def test_a_machine_is_found_without_a_journal_and_destroyed_without_its_pid(bench: Bench) -> None:
    handle, claim, _ = bench.launch(tiny(bench.cache))
    (found,) = [one for one in DRIVER.find(Where(run=claim.run)) if one.key == claim.name]
    assert not [one for one in DRIVER.find(Where(run=claim.run, older_than=3600)) if one.key == claim.name]
    assert found.data["pid"] == handle.data["pid"]
    intent = replace(handle.resource, id=None, data={"folder": handle.resource.data["folder"]})
    DRIVER.destroy(intent)
    assert not process.alive(claim.name, handle.data["pid"])
    DRIVER.destroy(found)


def test_a_disk_cannot_be_smaller_than_its_base(bench: Bench) -> None:
    with pytest.raises(DriverError, match="a disk cannot shrink"):
        DRIVER.launch(replace(tiny(bench.cache), disk="32M"), bench.claim())


@mostly_tiny
def test_a_restored_machine_runs_on_with_the_new_runs_keys_and_the_time_of_day(
    bench: Bench, source: Callable[[Path], Qemu]
) -> None:
    handle, claim, machine = bench.launch(source(bench.cache))
    boot_id = said(machine, "cat /proc/sys/kernel/random/boot_id")
    # Not synced: what is in the guest's memory alone must be there afterwards as well.
    said(machine, "echo one >/root/one; (sleep 100000 & echo $! >/root/pid) >/dev/null 2>&1")
    first = DRIVER.checkpoint(handle, "first", bench.folder / "cache" / "first", claim)
    said(machine, "echo two >/root/two")
    second = DRIVER.checkpoint(handle, "second", bench.folder / "cache" / "second", claim)
    said(machine, "echo three >/root/three")
    assert first is not None
    assert second is not None
    assert first.folder is not None
    assert first.folder.stat().st_mode & 0o077 == 0
    DRIVER.destroy(handle.resource)

    for saved, files in ((first, "one"), (second, "one two"), (first, "one")):
        restored, fresh, again = bench.launch(saved)
        assert said(again, "cat /proc/sys/kernel/random/boot_id") == boot_id
        assert said(again, "cd /root; echo $(ls one two three 2>/dev/null)") == files
        said(again, "kill -0 $(cat /root/pid)")
        assert abs(int(said(again, "date +%s")) - time.time()) < 5
        keys = said(again, "cat /root/.ssh/authorized_keys")
        assert fresh.keys.user_public in keys
        assert claim.keys.user_public.split()[1] not in keys
        DRIVER.destroy(restored.resource)


@mostly_tiny
def test_images_and_checkpoints_of_one_machine_hold_what_was_written_until_then(
    bench: Bench, source: Callable[[Path], Qemu]
) -> None:
    handle, claim, machine = bench.launch(source(bench.cache))
    said(machine, "echo one >/root/one")
    first = DRIVER.checkpoint(handle, "first", bench.folder / "cache" / "first", claim)
    assert first is not None
    said(machine, "echo two >/root/two")
    captured = DRIVER.capture(handle, "whole", claim)
    DRIVER.destroy(handle.resource)

    restored, fresh, again = bench.launch(first)
    second = DRIVER.checkpoint(restored, "second", bench.folder / "cache" / "second", fresh)
    assert second is not None
    said(again, "echo three >/root/three")
    grown = DRIVER.capture(restored, "grown", fresh)
    DRIVER.destroy(restored.resource)

    for kept, files in ((second, "one"), (captured, "one two"), (grown, "one three")):
        _, _, clone = bench.launch(kept)
        assert said(clone, "cd /root; echo $(ls one two three 2>/dev/null)") == files


@pytest.mark.parametrize(
    "command",
    [
        "query-migrate",
        *(pytest.param(name, marks=pytest.mark.all) for name in ("query-version", "blockdev-snapshot", "migrate")),
    ],
)
def test_a_machine_that_dies_while_it_is_saved_is_told_to_be_dead_with_its_last_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    handle, claim, machine = bench.launch(tiny(bench.cache))
    said(machine, "echo alive >/dev/console")
    ask = Monitor.ask

    def killing(self: Monitor, asked: str, **arguments: object) -> object:
        if asked == command:
            os.kill(handle.data["pid"], signal.SIGKILL)
        return ask(self, asked, **arguments)

    monkeypatch.setattr(Monitor, "ask", killing)
    started = time.monotonic()
    with pytest.raises(DriverError, match="the virtual machine is dead") as caught:
        DRIVER.checkpoint(handle, "first", bench.folder / "cache" / "first", claim)
    assert time.monotonic() - started < 30
    assert "QEMU ended with exit code -9" in caught.value.why
    assert "alive" in caught.value.why


@pytest.mark.parametrize("bus", [*(pytest.param(bus, marks=pytest.mark.all) for bus in ("scsi", "sata")), "nvme"])
def test_debian_boots_from_every_bus_under_uefi(bench: Bench, bus: Literal["scsi", "sata", "nvme"]) -> None:
    source = replace(debian(bench.cache), disk_bus=bus, firmware="uefi")
    _, _, machine = bench.launch(source)
    assert said(machine, "test -d /sys/firmware/efi && echo uefi") == "uefi"


def test_acceleration_is_tried_once_and_then_remembered(tmp_path: Path) -> None:
    said_: list[object] = []
    work = WorkContext(cache=tmp_path, emit=said_.append)
    first = acceleration.choose("auto", work)
    told = len(said_)
    assert acceleration.choose("auto", work) == first
    assert len(said_) == told
    assert acceleration._probe("tcg", work) == ""
