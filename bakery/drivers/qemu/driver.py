"""The QEMU driver: virtual machines on this host."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

from bakery.disk import image_files, qemuimg
from bakery.disk.bases.base import Base
from bakery.disk.partitions import Partition
from bakery.disk.reserve import PACKAGES as RESERVE_PACKAGES
from bakery.disk.reserve import reserve
from bakery.drivers.base import Driver
from bakery.drivers.qemu import acceleration, checkpoints, credentials, firmware, power, process, restore, screen
from bakery.drivers.qemu.command import QEMU, SCREEN, SEED, VARIABLES, Placement, command
from bakery.drivers.qemu.further_disks import FurtherDisk, disks_for, make, with_further_disks
from bakery.drivers.qemu.lan import Switch
from bakery.drivers.qemu.layers import Layer, Layers, add, further, node, virtual_size
from bakery.drivers.qemu.machine_spec import MachineIdentity, MachineSpec, compression
from bakery.drivers.qemu.monitor import Monitor, QmpError
from bakery.drivers.qemu.process import SOCKET
from bakery.drivers.qemu.source import Qemu
from bakery.drivers.shared.console import host_key_from
from bakery.drivers.shared.no_base import BASES
from bakery.errors import DriverError, ImagefileError, NotYet
from bakery.machine.transport import learned_key_file
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Needs, Problem, Resource, Where, from_json
from bakery.state.claim import Claim
from bakery.state.ssh_keys import read_keys
from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.files import write_whole
from bakery.util.units import format_size

KIND = "machine"
RECORD = "machine.json"
LEARNED = "host_key"
"""The file that holds the host key which a machine has made, once it was seen."""
SPENT = ("disk*-*.qcow2", SEED, VARIABLES, credentials.CREDENTIALS, SOCKET, SCREEN)
"""What a machine's folder need not hold when the machine is gone; its logs stay."""


class QemuDriver(Driver[Qemu]):
    """Virtual machines of this host. A machine is one process and its folder."""

    name: ClassVar[str] = "qemu"
    source = Qemu
    saves_boot: ClassVar[bool] = True
    requires: ClassVar[str] = "apt install qemu-system-x86 qemu-utils zstd (and ovmf for UEFI)"

    # ---- before anything is made ----------------------------------------------------------------------------

    def check(self, boot: Qemu) -> Iterator[Problem]:
        """Yield what would stop a build: programs, firmware, acceleration, memory, the base's own problems."""
        yield from tools.missing({QEMU: "qemu-system-x86", **qemuimg.PACKAGES})
        yield from qemuimg.check(boot.format, boot.compression)
        if boot.layout or any(disk.layout for disk in boot.disks):
            yield from tools.missing(RESERVE_PACKAGES)
        if not checkpoints.possible():
            yield Problem(what="no zstd, so no step can be reused", hint="apt install zstd", fatal=False)
        if reason := acceleration.absent(boot.accel):
            yield Problem(
                what=f"accel={boot.accel!r} cannot work here", why=reason, hint='accel="auto" uses what works'
            )
        if slow := acceleration.warning(boot.accel):
            yield slow
        if boot.firmware == "uefi":
            try:
                firmware.find(QEMU)
            except DriverError as error:
                yield Problem(what=error.what, hint=error.hint)
        import psutil  # slow to import, and where nothing has changed, nothing is checked

        free = psutil.virtual_memory().available
        if boot.memory_bytes > free:
            yield Problem(
                what=f"memory={boot.memory!r} is more than this host has free ({free >> 20} MiB)",
                hint="a smaller memory=, or fewer --jobs",
                fatal=boot.memory_bytes > psutil.virtual_memory().total,
            )
        yield from check_base(boot)

    def needs(self, boot: Qemu | Artifact | Checkpoint) -> Needs:
        """Say what a machine takes from this host."""
        shape = (
            MachineSpec.of(boot, "")
            if isinstance(boot, Qemu)
            else from_json(MachineSpec, boot.settings.get("shape", boot.settings))
        )
        return Needs(memory=shape.memory, cpus=shape.cpus, labels=acceleration.labels(shape.accel))

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        """Say whether machines run at the host's own speed, which a guest is started for; and whether UEFI is there."""
        native = acceleration.NATIVE.get(platform.system(), "kvm")
        if trouble := acceleration.trouble(native, work):
            what = f"{native} cannot be used: machines are emulated (tcg), about ten times slower"
            yield Problem(what=what, why=trouble, hint=acceleration.mend(native), fatal=False)
        else:
            yield Problem(what=f"{native} works: machines run at this host's own speed", fatal=False)
        try:
            found = firmware.find(QEMU)
        except DriverError as error:
            yield Problem(what=error.what, why='only firmware="uefi" needs it', hint=error.hint, fatal=False)
        else:
            yield Problem(what=f"UEFI firmware {found.code}", fatal=False)

    # ---- launch ---------------------------------------------------------------------------------------------

    def launch(self, boot: Qemu | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Start a machine on a layer of its own: what it stands on is never written to.

        From a checkpoint the machine runs on where it was saved, with this run's keys and the time of day.
        """
        if isinstance(boot, Checkpoint):
            return self._resume(boot, claim)
        shape, base, size = self._stands_on(boot, claim)
        identity = MachineIdentity.new(acceleration.choose(shape.accel, claim), claim.name)
        # A machine that only tests an image boots as a user's does: without a host key of ours. See `learned_key`.
        given = shape.host_key == "given" and claim.role == "build"
        shape = replace(shape, user=claim.login.user or shape.user, port=claim.login.port)
        host_key = claim.keys.host_public if given else ""
        layout = boot.layout if isinstance(boot, Qemu) else ()
        disks = disks_for(boot)
        return self._start(shape, identity, (base,), claim, size=size, host_key=host_key, layout=layout, disks=disks)

    def _stands_on(self, boot: Qemu | Artifact, claim: Claim) -> tuple[MachineSpec, Layer, int]:
        """Return the shape of the machine, the disk under it, and the size that was asked for."""
        if isinstance(boot, Artifact):
            return from_json(MachineSpec, boot.settings), _layer(boot), 0
        if isinstance(boot.base, Artifact):
            inside = from_json(MachineSpec, boot.base.settings)
            return MachineSpec.of(boot, inside.login), _layer(boot.base), boot.disk_bytes
        if isinstance(boot.base, Base):
            disk = boot.base.disk(claim)
            return MachineSpec.of(boot, disk.login), Layer(str(disk.path.absolute()), disk.format), boot.disk_bytes
        raise ImagefileError(_no_base(boot), hint=BASES)

    def _start(
        self,
        shape: MachineSpec,
        identity: MachineIdentity,
        shared: tuple[Layer, ...],
        claim: Claim,
        *,
        size: int = 0,
        host_key: str,
        restored: bool = False,
        layout: Sequence[Partition] = (),
        disks: Sequence[FurtherDisk] = (),
    ) -> Handle:
        intent = claim.intend(KIND, folder=str(claim.folder.absolute()))
        self._note(claim)
        layers = add(claim.folder, shared, size=size, work=claim)
        layers.write(claim.folder)
        if layout:
            reserve(claim.folder / layers.top, size, layout, claim)
        place = Placement(
            name=claim.name,
            folder=claim.folder.absolute(),
            layers=layers.all(claim.folder),
            further=make(disks, claim),
            credentials=credentials.prepare(
                shape,
                claim.keys,
                folder=claim.folder,
                instance=identity.instance,
                host_key=bool(host_key),
                entry=claim.login,
            ),
            seed=shape.login != "credentials",
            firmware=_firmware(shape, claim.folder),
            restored=restored,
            networked=claim.networked,
        )
        pid = process.spawn(command(shape, identity, place), claim.folder, claim.name)
        return Handle(
            driver=self.name,
            id=claim.name,
            resource=intent.made(claim.name, pid=pid),
            folder=claim.folder,
            settings=shape.to_json(),
            data={**asdict(identity), "pid": pid, "host_key": host_key, "key": claim.login.key},
        )

    def _resume(self, boot: Checkpoint, claim: Claim) -> Handle:
        if boot.folder is None:
            raise DriverError("this checkpoint has no files", why=boot.key)
        saved = from_json(checkpoints.Saved, boot.settings)
        handle = self._start(saved.shape, saved.identity, saved.layers, claim, host_key=saved.host_key, restored=True)
        checkpoints.load(handle, boot.folder, saved, claim)
        return restore.restore_machine(handle, self.endpoint, read_keys(boot.folder), claim)

    def _note(self, claim: Claim) -> None:
        """Write beside the machine whose it is, for `find`."""
        noted = {"run": claim.run, "build": claim.build, "began": time.time()}
        write_whole(claim.folder / RECORD, json.dumps(noted))

    # ---- while it runs --------------------------------------------------------------------------------------

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say which port of this host leads to its sshd.

        Raises:
            NotYet: QEMU does not answer yet, or the machine did not print its host key yet.
            DriverError: it is dead, or powered itself off.
        """
        power.must_live(handle)
        try:
            with Monitor(handle.folder) as monitor:
                power.must_run(monitor, handle)
                port = power.forwarded_port(monitor, handle.settings.get("port", 22))
        except NotYet:
            power.must_live(handle)
            raise
        key, file = self._host_key(handle), handle.folder / LEARNED
        if not key:
            credentials.must_let_in(handle.folder / process.SERIAL)
        return Endpoint(
            port=port,
            user=handle.settings["user"],
            host_key=key,
            key=handle.data.get("key", ""),
            data={} if key else learned_key_file.learning(int(handle.data["pid"]), file),
        )

    def _host_key(self, handle: Handle) -> str:
        """Return the key that the machine presents; empty where it makes its own and has not shown it yet."""
        if handle.data["host_key"]:
            return str(handle.data["host_key"])
        if handle.settings.get("host_key") == "console":
            return host_key_from(self.console(handle))
        return learned_key_file.learned(handle.folder / LEARNED)

    def console(self, handle: Handle) -> str:
        """Return what the machine wrote on its serial port so far."""
        try:
            return (handle.folder / process.SERIAL).read_text(errors="replace")
        except OSError:
            return ""

    def describe(self, handle: Handle) -> Mapping[str, str]:
        """Say which accelerator was chosen, and what the guest has."""
        shape = from_json(MachineSpec, handle.settings)
        return {
            "accelerator": str(handle.data["accel"]),
            "memory": format_size(shape.memory),
            "processors": str(shape.cpus),
            "firmware": shape.firmware,
        }

    def collect_diagnostics(self, handle: Handle, folder: Path) -> None:
        """Write the serial console, QEMU's own words and, while the machine runs, a screenshot."""
        super().collect_diagnostics(handle, folder)
        with suppress(FileNotFoundError):
            shutil.copyfile(handle.folder / process.LOG, folder / process.LOG)
        with suppress(NotYet, QmpError):
            screen.dump(handle.folder, folder / "screen.png")

    def private_network(self) -> Switch:
        """Return a network that this host's other programs cannot reach."""
        return Switch()

    def screenshot(self, resource: Resource, to: Path) -> None:
        """Write what the machine shows on its screen as a PNG file."""
        screen.screenshot(Path(resource.data["folder"]), to)

    def screen_socket(self, resource: Resource) -> Path:
        """Return where a VNC viewer sees the machine's screen, and types on its keyboard."""
        return Path(resource.data["folder"]) / SCREEN

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        """Save the machine's memory and disk into `folder`, whose path must not change later."""
        if not checkpoints.possible() or further(handle.folder):
            return None  # the memory belongs to all disks, and only the first one's layers are shared
        return checkpoints.save(handle, key, folder, claim, host_key=self._host_key(handle))

    # ---- the image ------------------------------------------------------------------------------------------

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Power the machine off through its guest, and write its disk as one file under a temporary name."""
        power.off(handle, claim)
        shape = from_json(MachineSpec, handle.settings)
        disk = node(Layers.read(handle.folder).all(handle.folder))
        packed = compression(shape)
        image = image_files.write(
            disk, name, format=_format(shape.format), settings=shape.to_json(), claim=claim, compression=packed
        )
        return with_further_disks(image, handle.folder, claim, packed)

    def image_format(self, boot: Qemu) -> str:
        """Return what the source asks for."""
        return boot.format

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Give the image its final name, in the old one's place."""
        kept = image_files.keep(artifact, name)
        claim.commit()
        return kept

    def delete(self, artifact: Artifact) -> None:
        """Delete an image."""
        image_files.delete(artifact)

    def intact(self, artifact: Artifact) -> bool:
        """Say whether an image is there, unchanged."""
        return image_files.intact(artifact)

    # ---- the end --------------------------------------------------------------------------------------------

    def destroy(self, resource: Resource) -> None:
        """End the machine and delete its disk, or delete an image that was not kept."""
        if resource.kind == image_files.KIND:
            image_files.destroy(resource)
            return
        process.end(resource.key, resource.data.get("pid"))
        folder = Path(resource.data["folder"])
        for path in (found for pattern in SPENT for found in folder.glob(pattern)):
            path.unlink(missing_ok=True)

    def find(self, where: Where) -> Iterator[Resource]:
        """Find machines of ours among the processes of this host."""
        import psutil

        for name, found in process.owned():
            try:
                folder = Path(found.cwd())
                noted = json.loads((folder / RECORD).read_text())
            except (OSError, ValueError, psutil.Error):
                continue  # it ended while we looked, or belongs to somebody else
            if where.run not in (None, noted["run"]) or time.time() - noted["began"] < (where.older_than or 0):
                continue
            yield Resource(
                driver=self.name,
                kind=KIND,
                key=name,
                id=name,
                run=noted["run"],
                build=noted["build"],
                data={"folder": str(folder), "pid": found.pid},
            )


def check_base(boot: Qemu) -> Iterator[Problem]:
    """Yield what keeps a machine from standing on its base: it is gone, or its disk is larger."""
    if isinstance(boot.base, Base):
        yield from boot.base.check()
    elif isinstance(boot.base, Artifact) and not _usable(boot.base):
        yield Problem(what=f"the image {boot.base.name} is gone or was changed", why=boot.base.id, hint="bake it again")
    elif isinstance(boot.base, Artifact) and 0 < boot.disk_bytes < (size := virtual_size(boot.base.path)):
        yield Problem(
            what=f"disk= is {boot.disk_bytes >> 20} MiB, its base {size >> 20} MiB: a disk cannot shrink",
            hint="leave out disk=, or make it as large",
        )
    elif not isinstance(boot.base, Artifact):
        yield Problem(what=_no_base(boot), hint=BASES)


def _no_base(boot: Qemu) -> str:
    return f"Qemu(base={boot.base!r}): not something that a virtual machine can boot"


def _format(text: str) -> qemuimg.Format:
    if text == "qcow2":
        return "qcow2"
    if text == "raw":
        return "raw"
    raise DriverError(f"QEMU cannot boot an image of the format {text!r}", hint="qcow2 or raw")


def _layer(image: Artifact) -> Layer:
    if not Path(image.id).is_absolute():
        raise DriverError(f"the image {image.name} is not a file on this host", why=f"{image.driver} image {image.id}")
    return Layer(str(image.path), _format(image.format))


def _usable(image: Artifact) -> bool:
    """Say whether an image can be used: one that we made is unchanged, one that a user names by its path is there."""
    return image_files.intact(image) if image.sha256 else Path(image.id).is_file()


def _firmware(shape: MachineSpec, folder: Path) -> firmware.Firmware | None:
    if shape.firmware != "uefi":
        return None
    found = firmware.find(QEMU)
    shutil.copyfile(found.variables, folder / VARIABLES)
    return found
