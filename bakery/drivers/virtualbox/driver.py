"""The VirtualBox driver: each verb is a module of this package, here is only who is meant."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from bakery.disk import image_files
from bakery.drivers.base import Driver
from bakery.drivers.shared import host_keys
from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.shared.appliance_files import content_key
from bakery.drivers.shared.console import host_key_from
from bakery.drivers.virtualbox import check, destroy, find
from bakery.drivers.virtualbox.api.sdk import way_in
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.drivers.virtualbox.image import capture, checkpoints, keep
from bakery.drivers.virtualbox.machine import base_images, launch, power
from bakery.drivers.virtualbox.options import RegisteredMachine
from bakery.drivers.virtualbox.source import VirtualBox
from bakery.errors import DriverError
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Needs, Problem, Resource, Where
from bakery.state.claim import Claim
from bakery.util.context import WorkContext


class VirtualBoxDriver(Driver[VirtualBox]):
    """Machines of VirtualBox on this host, for the user who runs `bake`."""

    name: ClassVar[str] = "virtualbox"
    source = VirtualBox
    syncs: ClassVar[bool] = True
    requires: ClassVar[str] = "VirtualBox 7.0 or newer, and apt install qemu-utils"

    def __init__(self) -> None:
        self._box = way_in()

    # ---- before anything is made ----------------------------------------------------------------------------

    def check(self, boot: VirtualBox) -> Iterator[Problem]:
        """Look at VirtualBox, the base, memory and words of the source."""
        yield from check.check(self._box, boot)

    def prepare(self, boot: VirtualBox, work: WorkContext) -> str | None:
        """Make or find what the machine starts from; a registered machine has no key, as its content is not known."""
        match boot.base:
            case Appliance():
                return content_key(boot.base, work)
            case RegisteredMachine():
                return None
        return super().prepare(boot, work)

    def needs(self, boot: VirtualBox | Artifact | Checkpoint) -> Needs:
        """Say what a machine takes from this host."""
        if isinstance(boot, VirtualBox):
            source = boot
        else:
            source = VirtualBox.from_settings(boot.settings.get("source", boot.settings))
        return Needs(memory=source.memory_bytes, cpus=source.cpus)

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        """Say which VirtualBox there is and whether it can start machines."""
        yield from check.doctor(self._box.within(work.cancel))

    # ---- a machine's life -----------------------------------------------------------------------------------

    def launch(self, boot: VirtualBox | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Start a machine: an appliance is imported, a disk is copied, a registered machine is cloned."""
        if isinstance(boot, Checkpoint):
            source, base = checkpoints.restore(boot)
            return launch.launch(launch.LaunchJob(box=self._within(claim), source=source, base=base, claim=claim))
        source = boot if isinstance(boot, VirtualBox) else VirtualBox.from_settings(boot.settings, base=boot)
        resolved = base_images.resolve(source.base, claim)
        return launch.launch(launch.LaunchJob(box=self._within(claim), source=source, base=resolved, claim=claim))

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say which port of this host leads to the machine's sshd.

        Raises:
            NotYet: it is starting, or did not print its host key yet.
            DriverError: it does not run any more.
        """
        power.must_run(self._box, handle.data["uuid"], handle.folder / launch.SERIAL)
        if handle.settings.get("host_key") == "given":
            host_key = host_keys.known(handle)
        else:
            host_key = host_key_from(self.console(handle))
        data = host_keys.endpoint_data(handle, host_key)
        return Endpoint(port=handle.data["port"], user=handle.settings["user"], host_key=host_key, data=data)

    def console(self, handle: Handle) -> str:
        """Return what the machine wrote on its serial port so far."""
        with suppress(OSError):
            return (handle.folder / launch.SERIAL).read_text(errors="replace")
        return ""

    def collect_diagnostics(self, handle: Handle, folder: Path) -> None:
        """Write the serial console, VirtualBox's log and, while the machine runs, a screenshot."""
        super().collect_diagnostics(handle, folder)
        with suppress(DriverError):
            machine = self._box.info(handle.data["uuid"])
            if machine is None:
                return
            with suppress(OSError):
                shutil.copyfile(power.log_of(machine), folder / "VBox.log")
            self._box.control(machine.uuid, "screenshotpng", str((folder / "screen.png").absolute()))

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Power the machine off through its guest, and export it, or write its disk, under a temporary name."""
        return capture.capture(self._within(claim), handle, name, claim)

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        """Copy the machine's disk into `folder` while it stands still; it runs on afterwards."""
        return checkpoints.save(self._within(claim), handle, key, folder, claim)

    def destroy(self, resource: Resource) -> None:
        """End and unregister the machine and delete its files, or delete an image that was not kept."""
        destroy.destroy(self._box, resource)

    def find(self, where: Where) -> Iterator[Resource]:
        """Find machines of ours in VirtualBox's registry."""
        yield from find.find(self._box, where)

    # ---- the image ------------------------------------------------------------------------------------------

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Give the image its final name, in the old one's place."""
        return keep.keep(artifact, name, claim)

    def delete(self, artifact: Artifact) -> None:
        """Delete an image."""
        image_files.delete(artifact)

    def intact(self, artifact: Artifact) -> bool:
        """Say whether an image is there, unchanged."""
        return image_files.intact(artifact)

    def _within(self, claim: Claim) -> VBoxManage:
        return self._box.within(claim.cancel)
