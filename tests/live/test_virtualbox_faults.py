"""What can go wrong under a VirtualBox build is said as what it is, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import psutil
import pytest

from bakery.drivers.virtualbox.api import vboxmanage
from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.driver import VirtualBoxDriver
from bakery.drivers.virtualbox.image import capture
from bakery.drivers.virtualbox.machine import base_images, launch
from bakery.errors import DriverError
from bakery.model import Handle, Where
from bakery.publish import VirtualBox as Publisher
from bakery.state.claim import Claim
from bakery.testing.contract import DriverContract, RecordingLedger
from bakery.testing.virtualbox import session_lock
from bakery.testing.virtualbox.root import Home, words
from tests.live import virtualboxrig as rig

pytestmark = [pytest.mark.live, pytest.mark.virtualbox, pytest.mark.timeout(1800)]
Claims = Callable[..., Claim]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with rig.registry(tmp_path / "home") as home:
        for name, value in home.environ.items():
            monkeypatch.setenv(name, value)
        yield home
        assert rig.left(home) == set()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a part of an image; made before `home`, whose service sees older mounts only."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


EXPORT = """
import sys
from pathlib import Path
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
VBoxManage().export(sys.argv[1], Path(sys.argv[2]), ["--options=manifest"])
"""


def kill_all(home: Home) -> None:
    """Kill VirtualBox's service."""
    for service in home.services():
        service.kill()


class TestVirtualBoxFaults:
    """Each test has a registry of its own."""

    driver_class: ClassVar[type[VirtualBoxDriver]] = VirtualBoxDriver
    claim = DriverContract.claim

    @contextmanager
    def machine(self, claim: Claims) -> Iterator[tuple[VirtualBoxDriver, Handle]]:
        """A machine whose guest has been started, and is not waited for."""
        driver, ledger = VirtualBoxDriver(), RecordingLedger()
        try:
            yield driver, driver.launch(rig.source(), claim(ledger))
        finally:
            ledger.undo(driver)

    def test_a_guest_that_is_killed_is_aborted_and_can_be_destroyed(self, home: Home, claim: Claims) -> None:
        with self.machine(claim) as (driver, handle):
            (guest,) = (int(thing.split()[-1]) for thing in rig.left(home) if thing.startswith("process"))
            psutil.Process(guest).kill()
            rig.wait_for(lambda: not psutil.pid_exists(guest), 20)
            with pytest.raises(DriverError, match="killed or crashed"):
                driver.endpoint(handle)
            with pytest.raises(DriverError, match="killed or crashed"):
                driver.capture(handle, "web", claim(RecordingLedger(), "image"))

    def test_a_machine_whose_state_was_saved_is_said_and_destroyed_with_it(
        self, home: Home, claim: Claims, tmp_path: Path
    ) -> None:
        with self.machine(claim) as (driver, handle):
            VBoxManage().control(handle.id, "poweroff")
            saved = tmp_path / "state.sav"
            saved.write_bytes(bytes(1000))
            assert home.real("adoptstate", handle.id, str(saved)).returncode == 0
            with pytest.raises(DriverError, match="saved the machine's state"):
                driver.endpoint(handle)

    def test_a_machine_that_somebody_has_locked_is_waited_for_and_then_said(
        self, home: Home, claim: Claims, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vboxmanage, "UNLOCKED", 1.0)
        box = VBoxManage()
        with self.machine(claim) as (_, handle):
            with pytest.raises(DriverError) as caught:
                box.modify(handle.id, ["--memory=64"])
            assert "already locked" in caught.value.why
            assert "window of VirtualBox" in caught.value.hint
            monkeypatch.setattr(vboxmanage, "UNLOCKED", 60.0)
            box.control(handle.id, "poweroff")
            with self.locked(home, handle.data["uuid"]) as holder:
                threading.Timer(1.5, holder.kill).start()
                box.modify(handle.id, ["--memory=64"])

    @contextmanager
    def locked(self, home: Home, uuid: str) -> Iterator[subprocess.Popen[bytes]]:
        """Another session that has the machine, as a window of VirtualBox does."""
        line = words(home.root, "/usr/bin/python3", session_lock.__file__, uuid)
        environ = {**home.environ, "VBOX_PROGRAM_PATH": "/usr/lib/virtualbox", "PATH": "/usr/bin:/bin"}
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"locked\n"
            yield holder
            holder.kill()

    def test_a_name_that_another_machine_has_is_no_obstacle_and_that_machine_stays(
        self, home: Home, claim: Claims, tmp_path: Path
    ) -> None:
        driver, ledger = VirtualBoxDriver(), RecordingLedger()
        under = claim(ledger)
        create = ["createvm", f"--name={under.name}", "--platform-architecture=x86", "--register"]
        assert home.real(*create, f"--basefolder={tmp_path / 'theirs'}").returncode == 0
        before = rig.left(home)
        handle = driver.launch(rig.source(), under)
        assert driver._box.must_have(handle.data["uuid"]).state == "running"
        ledger.undo(driver)
        assert rig.left(home) == before
        assert home.real("unregistervm", under.name, "--delete").returncode == 0

    def test_machines_whose_settings_are_gone_are_no_obstacle_and_ours_is_forgotten(
        self, home: Home, tmp_path: Path
    ) -> None:
        places = {"ours": tmp_path / ".bakery/runs/r1/machines/web-1/virtualbox", "theirs": tmp_path / "theirs"}
        for name, place in places.items():
            create = ["createvm", f"--name={name}", "--platform-architecture=x86", "--register"]
            assert home.real(*create, f"--basefolder={place}").returncode == 0
            shutil.rmtree(place.parent if name == "ours" else place)
        home.end()  # the next service finds no settings
        driver = VirtualBoxDriver()
        (resource,) = driver.find(Where())
        assert (resource.run, resource.key) == ("r1", "ours")
        driver.destroy(resource)
        assert list(driver.find(Where())) == []
        (theirs,) = VBoxManage().machines()
        assert home.real("unregistervm", theirs.uuid).returncode == 0

    def test_a_full_disk_is_said_and_a_part_of_an_image_does_not_stay(
        self, small: Path, home: Home, claim: Claims
    ) -> None:
        assert home.path.is_dir()
        ledger = RecordingLedger()
        under = replace(claim(ledger, "image"), images=small)
        publisher = Publisher.from_settings({"memory": "128M", "controller": "ide"})
        with pytest.raises(DriverError) as caught:
            publisher.publish(rig.tiny(), "web", under)
        assert "VERR_DISK_FULL" in caught.value.why
        assert "free some space" in caught.value.hint
        ledger.undo(VirtualBoxDriver())
        assert list(small.iterdir()) == []

    def test_a_service_that_is_killed_in_the_middle_of_a_call_is_said_and_nothing_is_left(
        self, home: Home, claim: Claims, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger = RecordingLedger()
        export = capture.write_image

        def killing(*arguments: object, **named: object) -> object:
            threading.Timer(0.6, kill_all, [home]).start()
            return export(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr("bakery.drivers.virtualbox.publisher.write_image", killing)
        publisher = Publisher.from_settings({"memory": "128M", "controller": "ide"})
        with pytest.raises(DriverError) as caught:
            publisher.publish(rig.tiny(), "web", claim(ledger, "image"))
        assert "VBoxSVC" in str(caught.value), str(caught.value)
        ledger.undo(VirtualBoxDriver())

    def large(self, under: Claim, raw: Path, mebibytes: int) -> tuple[str, Path]:
        """Make a machine that is never started, with a disk that takes a while to read; returns UUID and disk."""
        subprocess.run(["dd", "if=/dev/urandom", f"of={raw}", "bs=1M", f"count={mebibytes}", "status=none"], check=True)
        disk = base_images.StartDisk(raw, "raw")
        source = Publisher.from_settings({"memory": "128M"})
        job = launch.LaunchJob(box=VBoxManage(), source=source, base=disk, claim=under)
        uuid = str(uuid4())
        intent = launch.begin(under, uuid)
        launch.make_new(job, disk, "web", uuid)
        intent.made(under.name)
        return uuid, job.folder / launch.DISK

    def test_a_disk_that_somebody_else_reads_is_waited_for_and_then_goes(
        self, home: Home, claim: Claims, tmp_path: Path
    ) -> None:
        ledger, theirs = RecordingLedger(), tmp_path / "theirs.vmdk"
        _, disk = self.large(claim(ledger), tmp_path / "big.raw", 100)
        line = [*words(home.root, "/usr/bin/VBoxManage"), "clonemedium", "disk", str(disk), str(theirs)]
        line += ["--format=VMDK", "--variant=Stream"]
        with subprocess.Popen(line, env={**os.environ, **home.environ}) as reader:
            rig.wait_for(lambda: theirs.exists() and theirs.stat().st_size > 1 << 20, 60)
            ledger.undo(VirtualBoxDriver())
            assert reader.wait(120) == 0
        assert not disk.exists()
        assert rig.left(home) == {f"medium {theirs}"}
        assert home.real("closemedium", "disk", str(theirs), "--delete").returncode == 0

    def test_a_process_that_is_killed_while_it_exports_stops_the_export_and_leaves_nothing_locked(
        self, home: Home, claim: Claims, tmp_path: Path
    ) -> None:
        assert home.path.is_dir()
        ledger, ova = RecordingLedger(), tmp_path / "web.ova"
        uuid, _ = self.large(claim(ledger), tmp_path / "big.raw", 300)
        with subprocess.Popen([sys.executable, "-c", EXPORT, uuid, str(ova)]) as exporting:
            rig.wait_for(lambda: ova.exists() and ova.stat().st_size > 1 << 20, 60)
            exporting.kill()
        began = time.monotonic()
        ledger.undo(VirtualBoxDriver())
        assert time.monotonic() - began < 50
        rig.wait_for(lambda: not ova.exists(), 30)

    def test_a_service_that_hangs_is_said_as_that(self, home: Home) -> None:
        box = VBoxManage()
        assert box.machines() == []
        stopped = home.services()
        for service in stopped:
            service.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(VirtualBoxError) as caught:
                box.ask("list", "vms", what="list its machines", timeout=3.0)
        finally:
            for service in stopped:
                service.send_signal(signal.SIGCONT)
        assert "VBoxSVC hangs" in caught.value.why
        assert time.monotonic() - began < 20
        assert box.machines() == []
