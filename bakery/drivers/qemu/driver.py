"""The QEMU driver: virtual machines on this host."""

from __future__ import annotations

import json
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import psutil

from bakery.base.base import Base
from bakery.claim import Claim
from bakery.disk import images, qemuimg, tool
from bakery.drivers.base import Driver
from bakery.drivers.qemu import accel, firmware, login, power, process
from bakery.drivers.qemu.command import DISK, QEMU, SEED, VARIABLES, Place, command
from bakery.drivers.qemu.monitor import Monitor, Refused
from bakery.drivers.qemu.shape import Shape
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError, ImagefileError, NotYet
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Needs, Problem, Resource, Where

KIND = "machine"
RECORD = "machine.json"
SPENT = (DISK, SEED, VARIABLES, login.CREDENTIALS)
"""What a machine's folder need not hold when the machine is gone; its logs stay."""


class QemuDriver(Driver[Qemu]):
    """Virtual machines of this host. A machine is one process and its folder."""

    name: ClassVar[str] = "qemu"
    source: ClassVar[type[Qemu]] = Qemu
    requires: ClassVar[str] = "apt install qemu-system-x86 qemu-utils (and ovmf for UEFI)"

    # ---- before anything is made ----------------------------------------------------------------------------

    def check(self, boot: Qemu) -> Iterator[Problem]:
        """Yield what would stop a build: programs, firmware, acceleration, memory, the base's own problems."""
        missing = list(tool.missing({QEMU: "qemu-system-x86", **qemuimg.PACKAGES}))
        yield from missing
        if boot.firmware == "uefi":
            try:
                firmware.find(QEMU)
            except DriverError as error:
                yield Problem(what=error.what, hint=error.hint)
        free = psutil.virtual_memory().available
        if boot.memory_bytes > free:
            yield Problem(
                what=f"memory={boot.memory!r} is more than this host has free ({free >> 20} MiB)",
                hint="a smaller memory=, or fewer --jobs", fatal=boot.memory_bytes > psutil.virtual_memory().total,
            )  # fmt: skip
        yield from self._check_base(boot)

    def _check_base(self, boot: Qemu) -> Iterator[Problem]:
        if isinstance(boot.base, Base):
            yield from boot.base.check()
        elif isinstance(boot.base, Artifact) and not images.intact(boot.base):
            yield Problem(
                what=f"the image {boot.base.name} is gone or was changed", why=boot.base.id, hint="bake it again"
            )

    def needs(self, boot: Qemu | Artifact | Checkpoint) -> Needs:
        """Say what a machine takes from this host."""
        shape = Shape.of(boot, "") if isinstance(boot, Qemu) else Shape.from_json(boot.settings)
        return Needs(memory=shape.memory, cpus=shape.cpus)

    # ---- launch ---------------------------------------------------------------------------------------------

    def launch(self, boot: Qemu | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Start a machine on an overlay: what it stands on is never written to."""
        if isinstance(boot, Checkpoint):
            raise DriverError("not yet")
        shape, disk, format_, size = self._stands_on(boot, claim)
        chosen = accel.choose(shape.accel, claim)
        real = qemuimg.info(disk, claim).virtual
        if size and size < real:
            raise ImagefileError(f"disk={size >> 20}M is smaller than its base ({real >> 20}M)", hint="leave out disk=")
        intent = claim.intend(KIND, folder=str(claim.folder))
        self._note(claim)
        qemuimg.overlay(claim.folder / DISK, base=disk, format=format_, size=max(size, real), shop=claim)
        place = Place(
            name=claim.name, folder=claim.folder.absolute(), accel=chosen, uuid=str(uuid.uuid4()), mac=_new_mac(),
            seed=shape.login != "credentials", firmware=_firmware(shape, claim.folder),
            credentials=login.prepare(shape, claim.keys, folder=claim.folder, instance=claim.name),
        )  # fmt: skip
        pid = process.spawn(command(shape, place), claim.folder)
        resource = intent.made(claim.name, pid=pid)
        return Handle(
            driver=self.name, id=claim.name, resource=resource, folder=claim.folder, settings=shape.to_json(),
            data={"pid": pid, "host_key": claim.keys.host_public if shape.host_key == "given" else ""},
        )  # fmt: skip

    def _stands_on(self, boot: Qemu | Artifact, claim: Claim) -> tuple[Shape, Path, qemuimg.Format, int]:
        """The shape of the machine, the disk under its overlay with its format, and the size that was asked for."""
        if isinstance(boot, Artifact):
            return Shape.from_json(boot.settings), boot.path, _format(boot.format), 0
        if isinstance(boot.base, Artifact):
            inside = Shape.from_json(boot.base.settings)
            return Shape.of(boot, inside.login), boot.base.path, _format(boot.base.format), boot.disk_bytes
        if isinstance(boot.base, Base):
            disk = boot.base.disk(claim)
            return Shape.of(boot, disk.login), disk.path, disk.format, boot.disk_bytes
        raise ImagefileError(
            f"Qemu(base={boot.base!r}): not something that a virtual machine can boot",
            hint="Debian(...), CloudImage(...), an @bakery.image function or an Artifact",
        )

    def _note(self, claim: Claim) -> None:
        """Write beside the machine whose it is, for `find`."""
        noted = {"run": claim.run, "build": claim.build, "began": time.time()}
        (claim.folder / RECORD).write_text(json.dumps(noted))

    # ---- while it runs --------------------------------------------------------------------------------------

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say which port of this host leads to its sshd.

        Raises:
            NotYet: QEMU does not answer yet, or the machine did not print its host key yet.
            DriverError: it is dead, or powered itself off.
        """
        self._must_live(handle)
        try:
            with Monitor(handle.folder) as monitor:
                power.must_run(monitor, handle)
                port = power.forwarded_port(monitor)
        except NotYet:
            self._must_live(handle)
            raise
        host_key = handle.data["host_key"] or login.from_console(self.console(handle))
        return Endpoint(port=port, user=Shape.from_json(handle.settings).user, host_key=host_key)

    def _must_live(self, handle: Handle) -> None:
        if not process.alive(handle.id, handle.data["pid"]):
            raise DriverError("the virtual machine is dead", why=process.last_words(handle.folder))

    def console(self, handle: Handle) -> str:
        """Return what the machine wrote on its serial port so far."""
        try:
            return (handle.folder / process.SERIAL).read_text(errors="replace")
        except OSError:
            return ""

    def evidence(self, handle: Handle, folder: Path) -> None:
        """Write the serial console, QEMU's own words and, while the machine runs, a screenshot."""
        super().evidence(handle, folder)
        with suppress(FileNotFoundError):
            shutil.copyfile(handle.folder / process.LOG, folder / process.LOG)
        with suppress(NotYet, Refused), Monitor(handle.folder) as monitor:
            monitor.ask("screendump", filename=str((folder / "screen.png").absolute()), format="png")

    # ---- the image ------------------------------------------------------------------------------------------

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Power the machine off through its guest, and write its disk as one file under a temporary name."""
        power.off(handle, claim)
        shape = Shape.from_json(handle.settings)
        return images.write(
            handle.folder / DISK, name, format=_format(shape.format), claim=claim, settings=shape.to_json()
        )

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Give the image its final name, in the old one's place."""
        del claim
        return images.keep(artifact, name)

    def delete(self, artifact: Artifact) -> None:
        """Delete an image."""
        images.delete(artifact)

    def intact(self, artifact: Artifact) -> bool:
        """Say whether an image is there, unchanged."""
        return images.intact(artifact)

    # ---- the end --------------------------------------------------------------------------------------------

    def destroy(self, resource: Resource) -> None:
        """End the machine and delete its disk, or delete an image that was not kept."""
        if resource.kind == images.KIND:
            images.destroy(resource)
            return
        process.end(resource.key, resource.data.get("pid"))
        for name in SPENT:
            (Path(resource.data["folder"]) / name).unlink(missing_ok=True)

    def find(self, where: Where) -> Iterator[Resource]:
        """Find machines of ours among the processes of this host."""
        for name, found in process.owned():
            try:
                folder = Path(found.cwd())
                noted = json.loads((folder / RECORD).read_text())
            except (OSError, ValueError, psutil.Error):
                continue  # it ended while we looked, or belongs to somebody else
            if where.run not in (None, noted["run"]) or time.time() - noted["began"] < (where.older_than or 0):
                continue
            yield Resource(
                driver=self.name, kind=KIND, key=name, id=name, run=noted["run"], build=noted["build"],
                data={"folder": str(folder), "pid": found.pid},
            )  # fmt: skip


def _format(text: str) -> qemuimg.Format:
    if text == "qcow2":
        return "qcow2"
    if text == "raw":
        return "raw"
    raise DriverError(f"QEMU cannot boot an image of the format {text!r}", hint="qcow2 or raw")


def _new_mac() -> str:
    """A card of QEMU's own range, 52:54:00, with the rest by chance."""
    return "52:54:00:" + ":".join(f"{octet:02x}" for octet in secrets.token_bytes(3))


def _firmware(shape: Shape, folder: Path) -> firmware.Firmware | None:
    if shape.firmware != "uefi":
        return None
    found = firmware.find(QEMU)
    shutil.copyfile(found.variables, folder / VARIABLES)
    return found
