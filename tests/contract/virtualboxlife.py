"""Lives of VirtualBox builds without a word to the guest, for the tape: recorded on the real one, played in the tests.

What happens outside the driver while it is recorded (a process is killed, a state is saved) is `World.outside`; on
the tape its consequences are there already.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.virtualbox.api import vboxmanage
from bakery.drivers.virtualbox.driver import VirtualBoxDriver
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError
from bakery.model import Artifact, Handle, Where
from bakery.publish import VirtualBox as Publisher
from bakery.state.claim import Claim
from bakery.state.ssh_keys import Keys, make_keys
from bakery.testing.contract import RecordingLedger

TAPE = Path(__file__).with_name("virtualbox_tape.py")
TAGS = {"bakery:run": "r1", "bakery:build": "web@box", "bakery:expires": "2100-01-01T00:00:00Z"}


@dataclass
class World:
    """Where a life takes place.

    Args:
        folder: machines and images.
        disk: what machines start from; its content matters only while a guest runs, to record.
        outside: does something on the real host, by name, where there is one.
        options: more settings of every machine.
    """

    folder: Path
    disk: Path
    outside: Callable[[str], None] = lambda _: None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    keys: Keys = field(default_factory=lambda: make_keys("tape"))
    claims: int = 0

    def claim(self, ledger: RecordingLedger, role: str = "build") -> Claim:
        """Return the right to make a machine or an image."""
        self.claims += 1
        machine, images = self.folder / str(self.claims), self.folder / "images"
        machine.mkdir()
        images.mkdir(exist_ok=True)
        return Claim(
            cache=self.folder,
            run="r1",
            build="web@box",
            role=role,
            name=f"bakery-r1-{self.claims}",
            folder=machine,
            keys=self.keys,
            images=images,
            ledger=ledger,
            driver="virtualbox",
            tags=TAGS,
        )

    def source(self, **options: Any) -> VirtualBox:
        """Return a small machine of the disk."""
        image = Artifact(driver="qemu", id=str(self.disk), name="tiny", format="qcow2")
        settings = {"memory": "128M", "cpus": 1, "controller": "ide", **self.options, **options}
        return VirtualBox.from_settings(settings, base=options.get("base", image))

    @contextmanager
    def machine(self, boot: VirtualBox | Artifact) -> Iterator[tuple[VirtualBoxDriver, Handle]]:
        """Lend a machine that was started, and destroy it."""
        driver, ledger = VirtualBoxDriver(), RecordingLedger()
        try:
            yield driver, driver.launch(boot, self.claim(ledger))
        finally:
            ledger.undo(driver)

    def left(self) -> list[str]:
        """Return what machines have left in their folders."""
        return [str(path) for path in self.folder.glob("*/virtualbox/**/*")]


@contextmanager
def deck(
    folder: Path,
    files: Path,
    *,
    tape: list[dict[str, Any]],
    real: list[str] | None = None,
    instead: dict[str, str] | None = None,
) -> Iterator[Path]:
    """Put a VBoxManage that records, or plays, on PATH.

    Args:
        folder: an empty one, for the tape.
        files: the folder of the life.
        tape: what to play; empty to record.
        real: the words of the real one, to record.
        instead: other names for paths of this host, to record.
    """
    mode = "record" if real else "play"
    names = {"FOLDER": str(files)}
    state = {"folder": str(files), "real": real, "instead": instead, "tape": tape, "at": 0, "names": names}
    (folder / "deck.json").write_text(json.dumps(state), encoding="utf-8")
    command = folder / "bin" / "VBoxManage"
    command.parent.mkdir()
    line = shlex.join([sys.executable, "-S", "-E", str(TAPE), mode, str(folder)])
    command.write_text(f'#!/bin/sh\nexec {line} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{command.parent}{os.pathsep}{before}"
    try:
        yield folder / "deck.json"
    finally:
        os.environ["PATH"] = before


def small_disk(path: Path) -> Path:
    """Make a disk with little in it."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    return path


# ---- the lives ------------------------------------------------------------------------------------------------------


def a_disk_becomes_an_appliance_that_is_imported_again(world: World) -> None:
    driver, ledger = VirtualBoxDriver(), RecordingLedger()
    source = world.source(
        guest_properties={"/Example/role": "web"},
        extra_data={"mine": "1"},
        credentials={"system.hostname": "web", "tmpfiles.extra": "d /run/web\n"},
        product={"vendor": "us"},
    )
    assert [problem for problem in driver.check(source) if problem.fatal] == []
    with world.machine(source) as (_, handle):
        endpoint = driver.endpoint(handle)
        assert (endpoint.port, endpoint.host_key) == (handle.data["port"], world.keys.host_public)
        world.outside("guest is up")
        image = driver.capture(handle, "web", world.claim(ledger, "image"))
    assert image.path.is_file()
    with world.machine(image) as (_, handle):
        assert driver.endpoint(handle).port == handle.data["port"]
    kept = driver.keep(image, "web", world.claim(ledger, "keep"))
    assert driver.intact(kept)
    driver.delete(kept)
    assert world.left() == []


def an_image_made_here_becomes_a_disk_of_a_machine_with_secure_boot(world: World) -> None:
    ledger = RecordingLedger()
    image = Artifact(driver="qemu", id=str(world.disk), name="tiny", format="qcow2", key="k")
    settings = {"memory": "128M", "firmware": "efi-secure", "controller": "virtio", "tpm": "2.0", "format": "vmdk"}
    made = Publisher.from_settings(settings).publish(image, "web", world.claim(ledger, "image"))
    assert (made.format, made.key) == ("vmdk", "k")
    assert world.left() == []
    ledger.undo(VirtualBoxDriver())
    assert not made.path.exists()


def a_snapshot_of_a_machine_is_cloned_and_the_machine_stays(world: World) -> None:
    driver = VirtualBoxDriver()
    boot = world.source(base=RegisteredMachine("golden", snapshot="clean"))
    assert [problem for problem in driver.check(boot) if problem.fatal] == []
    with world.machine(boot) as (_, handle):
        assert handle.data["disk"] == ""
    assert [machine.name for machine in driver._box.machines()] == ["golden"]
    problem, *_ = driver.check(world.source(base=RegisteredMachine("silver")))
    assert "it has: golden" in problem.why


def a_machine_without_a_journal_is_found_by_its_marks(world: World) -> None:
    driver, ledger = VirtualBoxDriver(), RecordingLedger()
    handle = driver.launch(world.source(), world.claim(ledger))
    (world.folder / "1" / "machine.json").unlink()
    assert list(driver.find(Where(run="another"))) == []
    (resource,) = driver.find(Where(run="r1"))
    assert (resource.key, resource.build, resource.data["uuid"]) == (handle.id, "web@box", handle.data["uuid"])
    driver.destroy(resource)
    assert list(driver.find(Where())) == []
    driver.destroy(resource)
    assert world.left() == []


def a_host_without_the_kernel_module_starts_no_machine(world: World) -> None:
    told = [f"{problem.what} {problem.hint}" for problem in VirtualBoxDriver().doctor(world.claim(RecordingLedger()))]
    assert "VirtualBox 7.2.22" in told[0]
    error = refused(lambda: start(world, world.source()))
    assert "start the machine" in error.what
    assert "terminated unexpectedly" in error.why or "VERR_VM_DRIVER_NOT_INSTALLED" in error.why
    assert "kernel module" in error.hint


def a_damaged_appliance_is_refused(world: World) -> None:
    error = refused(lambda: start(world, world.source(base=Appliance(str(world.folder / "bad.ova")))))
    assert "Digest mismatch" in error.why
    assert "damaged or changed" in error.hint


def a_machine_whose_process_was_killed_is_aborted(world: World) -> None:
    with world.machine(world.source()) as (driver, handle):
        world.outside("kill the guest")
        error = refused(lambda: driver.endpoint(handle))
        assert "killed or crashed" in error.what
        error = refused(lambda: driver.capture(handle, "web", world.claim(RecordingLedger(), "image")))
        assert "killed or crashed" in error.what


def a_machine_whose_state_was_saved_is_said_and_goes_with_it(world: World) -> None:
    with world.machine(world.source()) as (driver, handle):
        driver._box.control(handle.data["uuid"], "poweroff")
        world.outside("save the state")
        error = refused(lambda: driver.endpoint(handle))
        assert "saved the machine's state" in error.what
    assert world.left() == []


def a_machine_that_runs_cannot_be_changed(world: World) -> None:
    with world.machine(world.source()) as (driver, handle):
        with patch.object(vboxmanage, "UNLOCKED", 0.5):
            error = refused(lambda: driver._box.modify(handle.data["uuid"], ["--memory=64"]))
        assert "already locked" in error.why
        assert "window of VirtualBox" in error.hint


def a_full_disk_is_said(world: World) -> None:
    error = refused(lambda: publish(world))
    assert "VERR_DISK_FULL" in error.why
    assert "free some space" in error.hint


def a_service_that_is_killed_in_the_middle_of_an_export_is_said(world: World) -> None:
    world.outside("kill the service soon")
    error = refused(lambda: publish(world))
    assert "VBoxSVC" in str(error)


def publish(world: World) -> None:
    """Make an appliance of the disk, and leave nothing of it."""
    ledger = RecordingLedger()
    image = Artifact(driver="qemu", id=str(world.disk), name="tiny", format="qcow2")
    try:
        Publisher.from_settings({"memory": "128M"}).publish(image, "web", world.claim(ledger, "image"))
    finally:
        ledger.undo(VirtualBoxDriver())


def start(world: World, boot: VirtualBox) -> None:
    """Start a machine, and leave nothing of it."""
    with world.machine(boot):
        pass


def refused(do: Callable[[], object]) -> DriverError:
    """Return the refusal that this ends with."""
    try:
        do()
    except DriverError as error:
        return error
    raise AssertionError("nothing was refused")


LIVES: dict[str, Callable[[World], None]] = {
    life.__name__: life
    for life in (
        a_disk_becomes_an_appliance_that_is_imported_again,
        an_image_made_here_becomes_a_disk_of_a_machine_with_secure_boot,
        a_snapshot_of_a_machine_is_cloned_and_the_machine_stays,
        a_machine_without_a_journal_is_found_by_its_marks,
        a_host_without_the_kernel_module_starts_no_machine,
        a_damaged_appliance_is_refused,
        a_machine_whose_process_was_killed_is_aborted,
        a_machine_whose_state_was_saved_is_said_and_goes_with_it,
        a_machine_that_runs_cannot_be_changed,
        a_full_disk_is_said,
        a_service_that_is_killed_in_the_middle_of_an_export_is_said,
    )
}
