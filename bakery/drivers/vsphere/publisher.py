"""`bakery.publish.VSphere(...)`: a template, or a machine with a snapshot, from a disk that was made locally."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from bakery.disk import qemuimg
from bakery.drivers.publisher import Publisher
from bakery.drivers.shared.ovf_package import ByteRange, PackageFile
from bakery.drivers.vsphere import check
from bakery.drivers.vsphere.api import inventory, libraries, marks, tasks
from bakery.drivers.vsphere.api.center import VCenter, VCenters, moid
from bakery.drivers.vsphere.api.inventory import Entity
from bakery.drivers.vsphere.image import capture, library
from bakery.drivers.vsphere.image.import_disk import ImportJob, import_machine
from bakery.drivers.vsphere.image.ovf import OvfMachine, descriptor
from bakery.drivers.vsphere.machine import hardware, more_hardware, place
from bakery.drivers.vsphere.machine.import_base import store
from bakery.drivers.vsphere.machine.place import Place
from bakery.drivers.vsphere.source import VSphere as Source
from bakery.errors import BakeryError, ImagefileError
from bakery.model import Artifact, Problem
from bakery.state.claim import Claim
from bakery.util import tools
from bakery.util.context import WorkContext

MEBIBYTE = 1 << 20
MEMORY = 1 << 30
CPUS = 2
GUEST = "otherLinux64Guest"
CONVERTING = 3 * 3600.0


@dataclass(frozen=True, kw_only=True)
class VSphere(Source, Publisher):
    """Imports a local image. All options of `bakery.drivers.VSphere` are here too: they are the hardware that the
    image asks for, and that of the machine on which it is tested.

    Without `cpus`, `memory` and `guest_id` it has 2, 1 GiB and `otherLinux64Guest`; an image that boots with UEFI gets
    `firmware="efi"` where the firmware is not named.
    """

    driver: ClassVar[str] = "vsphere"
    base: Any = None

    def __post_init__(self) -> None:
        """Check what can be checked without asking the server.

        Raises:
            ImagefileError: with what is allowed.
        """
        super().__post_init__()
        if self.datastore_cluster:
            raise ImagefileError(
                "VSphere(datastore_cluster=...): a disk is imported into one datastore", hint="datastore=..."
            )
        if self.image == "ova":
            raise ImagefileError(
                "VSphere(image='ova'): what is imported is a file of this host already", hint="template or snapshot"
            )
        if self.disks:
            raise ImagefileError("VSphere(disks=...): an image that is imported has its own disk alone")

    def check(self) -> Iterator[Problem]:
        """Look at the certificate, credentials, names and privileges."""
        centers = VCenters()
        problems = list(check.check(centers, self))
        yield from problems
        if any(problem.fatal for problem in problems):
            return
        try:
            known = inventory.read(centers.of_source(self))
            where = place.find(centers.of_source(self), self, None, known)
            store(known, where)
            networks(known, where)
        except BakeryError as error:
            yield Problem(what=error.what, why=error.why, hint=error.hint)

    def publish(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Import the disk as a machine of a temporary name, and make an image of that."""
        center = VCenters().of_source(self).within(claim.cancel)
        known = inventory.read(center)
        where = place.find(center, self, None, known)
        target = libraries.find_library(center, self.library) if self.library else ""
        folder, _ = place.folder(center, where, claim)
        disk = stream_optimized(artifact, claim.folder / "disk1.vmdk", claim)
        key = marks.new_name(claim)
        intent = claim.intend(capture.IMAGE, key, final=name, **center.record)
        imported = self._job(center, known, where, (key, folder, claim), self._machine(artifact, disk, key, claim))
        file = PackageFile(disk.name, (ByteRange(disk, 0, disk.stat().st_size),))
        machine = import_machine(imported, {disk.name: file}, self.image_timeout)
        intent.made(moid(machine))
        disk.unlink()
        self._change(center, machine, claim)
        capture.clean(center, machine, self, claim, key)
        if target:
            job = library.ItemJob(center=center, source=self, machine=machine, claim=claim)
            image = library.write_item(job, target, name, ends=True)
        else:
            image = capture.finish(center, machine, self, name, claim)
        return replace(image, key=artifact.key)

    def _change(self, center: VCenter, machine: Any, claim: Claim) -> None:
        """Give the machine what an OVF cannot say: reservations, a TPM, a larger disk, settings."""
        more_hardware.upgrade(center, machine, self.hardware, claim)
        values = center.properties(machine, "config.hardware") or {}
        spec = hardware.config(self, [], list(values["config.hardware"].device))
        what = "change the machine's hardware"
        tasks.reconfigure(center, what, machine, spec, claim, repeat=hardware.repeatable(spec))

    def _machine(self, artifact: Artifact, disk: Path, key: str, claim: Claim) -> OvfMachine:
        uefi = artifact.settings.get("firmware") == "uefi"
        form: Any = artifact.format
        return OvfMachine(
            name=key,
            disk=disk.name,
            size=disk.stat().st_size,
            capacity=qemuimg.info(artifact.path, form, claim).virtual,
            cpus=self.cpus or CPUS,
            memory=(self.memory_bytes or MEMORY) // MEBIBYTE,
            networks=tuple(f"network{number + 1}" for number in range(max(1, len(self.networks)))),
            nic=self.nic or "vmxnet3",
            firmware=self.firmware or ("efi" if uefi else "bios"),
            secure_boot=bool(self.secure_boot),
            guest_id=self.guest_id or GUEST,
        )

    def _job(
        self,
        center: VCenter,
        known: inventory.Inventory,
        where: Place,
        made: tuple[str, Any, Claim],
        machine: OvfMachine,
    ) -> ImportJob:
        key, folder, claim = made
        return ImportJob(
            center=center,
            name=key,
            descriptor=descriptor(machine),
            pool=where.pool,
            folder=folder,
            store=store(known, where).ref,
            host=where.host.ref if where.host else None,
            networks=tuple(zip(machine.networks, networks(known, where), strict=True)),
            work=claim,
        )


def networks(known: inventory.Inventory, where: Place) -> tuple[Entity, ...]:
    """Return the networks that an image's cards are joined to: the named ones, or the only one.

    Raises:
        PreflightError: none is named, and there are several.
    """
    return where.networks or (known.only("network", "network=", where.datacenter.path),)


def stream_optimized(artifact: Artifact, to: Path, work: WorkContext) -> Path:
    """Write an image's disk in the format that OVFs carry, and return the file."""
    source = qemuimg.described(artifact.path, artifact.format)
    words: list[str | Path] = ["qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    words += ["-T", "unsafe", "-t", "unsafe", f"json:{json.dumps(source)}", to]
    tools.run(words, work, what=f"writing {to.name}", timeout=CONVERTING)
    return to
