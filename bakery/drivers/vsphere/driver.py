"""Images on VMware vSphere: check, launch, endpoint, capture, destroy, find; and keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bakery.disk import image_files
from bakery.drivers.base import Driver
from bakery.drivers.shared.appliance import Appliance
from bakery.drivers.shared.appliance_files import content_key
from bakery.drivers.vsphere import check, destroy, find
from bakery.drivers.vsphere.api import inventory, libraries
from bakery.drivers.vsphere.api.account import VSphereAccount
from bakery.drivers.vsphere.api.center import VCenter, VCenters
from bakery.drivers.vsphere.guest import endpoint as guest_endpoint
from bakery.drivers.vsphere.guest.endpoint import GuestPasswords
from bakery.drivers.vsphere.image import appliance_files, capture, export, keep, keep_item, library
from bakery.drivers.vsphere.machine import base_images, deploy_item, launch
from bakery.drivers.vsphere.machine.endpoint import AddressFinder
from bakery.drivers.vsphere.options import LibraryItem, OvfOptions, VSphereMachine
from bakery.drivers.vsphere.source import VSphere
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Problem, Resource, Where
from bakery.state.claim import Claim
from bakery.util.context import WorkContext


class VSphereDriver(Driver[VSphere]):
    """VMware vSphere, through pyvmomi. Dispatches each verb to its module, with the server that the record names."""

    name = "vsphere"
    source = VSphere
    requires = "imagebakery[vmware]: see docs/install.md"

    def __init__(self) -> None:
        self.centers = VCenters()
        self._addresses = AddressFinder()
        self._passwords = GuestPasswords()

    def check(self, boot: VSphere) -> Iterator[Problem]:
        """Look at the certificate, credentials, all names, room and privileges; all problems at once."""
        self._passwords.remember(boot)
        yield from check.check(self.centers, boot)

    def name_conflicts(self, boot: VSphere, name: str) -> Iterator[Problem]:
        """Say whether something that is not an older image of ours has the name."""
        self._passwords.remember(boot)  # also that of a publisher, whose source is not launched
        yield from check.name_conflicts(self.centers, boot, name)

    def prepare(self, boot: VSphere, work: WorkContext) -> str | None:
        """Look up the base: a template's content has a key that changes with it; so have others'."""
        if isinstance(boot.base, Appliance):
            return content_key(boot.base, work)
        if isinstance(boot.base, LibraryItem):
            return deploy_item.find(self.centers.of_source(boot).within(work.cancel), boot).key
        if isinstance(boot.base, str | VSphereMachine):
            center = self.centers.of_source(boot).within(work.cancel)
            return base_images.resolve(center, boot.base, inventory.read(center, machines=True)).key
        return super().prepare(boot, work)

    def launch(self, boot: VSphere | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Clone a machine from a source, or from an image of ours with the settings it was built with."""
        if isinstance(boot, VSphere):
            self._passwords.remember(boot)
            source, center = boot, self.centers.of_source(boot)
        else:
            # Its disks are in the image, what the base could be linked to the image need not be, and what the base's
            # OVF asked for is answered in the image's.
            changes = {"disks": (), "clone": "full", "ovf": OvfOptions()}
            source = VSphere.from_settings(boot.settings["source"], base=boot, **changes)
            if source.datastore is None and boot.settings.get("datastore"):  # where an image is imported to be tested
                source = replace(source, datastore=boot.settings["datastore"])
            center = self.centers.of(boot.settings)
        source = replace(source, base=base_images.deployable(source.base))
        return launch.launch(launch.CloneJob(center=center.within(claim.cancel), source=source, claim=claim))

    def overlaps(self, boot: VSphere) -> bool:
        """Where each machine has an address of its own."""
        fixed = boot.transport == "ssh" and boot.address != "tools" and not boot.address.startswith("guestinfo.")
        return not fixed and not boot.hardware.addresses

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say where it listens, and which key it shows; or who is known in a guest without a network."""
        if handle.settings["source"].get("transport") == "guest":
            source = VSphere.from_settings(handle.settings["source"], base=None)
            password = self._passwords.of(source.user)
            return guest_endpoint.endpoint(self._center(handle), handle, source, password)
        return self._addresses.endpoint(self._center(handle), handle)

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Power the machine off through its guest and make an image of it under a temporary name."""
        made = {export.OVA: export.export, library.OVF: library.capture_item, library.TEMPLATE: library.capture_item}
        make = made.get(handle.settings["source"].get("image"), capture.capture)
        return make(self._center(handle).within(claim.cancel), handle, name, claim)

    def destroy(self, resource: Resource) -> None:
        """Destroy from the record alone."""
        if resource.kind == image_files.KIND:
            image_files.destroy(resource)
            return
        destroy.destroy(self.centers.of(resource.data), resource)

    def destroy_batches(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        """Destroy machines and images at once; then give old images their names back; then folders."""
        return destroy.destroy_batches(resources)

    def find(self, where: Where) -> Iterator[Resource]:
        """Find what carries our marks; `where.settings` may hold `server`, `username`, `ca` and `insecure`."""
        settings = where.settings.get("account", where.settings)
        yield from find.find(self.centers.get(VSphereAccount.from_json(settings)), where)

    def image_format(self, boot: VSphere) -> str:
        """Return the format of an image that is a file here, or a word for one that lives in the vCenter."""
        return "machine" if boot.image == "snapshot" else boot.image

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Make the tested image the user's."""
        if artifact.format == export.OVA:
            return appliance_files.keep(artifact, name, claim)
        if artifact.format in library.FORMATS:
            return keep_item.keep(self.centers.of(artifact.settings).within(claim.cancel), artifact, name, claim)
        return keep.keep(self.centers.of(artifact.settings).within(claim.cancel), artifact, name, claim)

    def delete(self, artifact: Artifact) -> None:
        """Destroy a kept image, unless linked clones stand on it."""
        if artifact.format == export.OVA:
            image_files.delete(artifact)
            return
        if artifact.format in library.FORMATS:
            libraries.delete(self.centers.of(artifact.settings), artifact.id)
            return
        keep.delete(self.centers.of(artifact.settings), artifact, WorkContext(cache=Path()))

    def intact(self, artifact: Artifact) -> bool:
        """Say whether a kept image is still there under its name."""
        if artifact.format == export.OVA:
            return image_files.intact(artifact)
        center = self.centers.of(artifact.settings)
        if artifact.format in library.FORMATS:
            return keep_item.intact(center, artifact)
        values = center.properties(center.machine(artifact.id), "name")
        return values is not None and values.get("name") == artifact.name

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        """Say which vSphere the environment means, and whether it lets us in."""
        yield from check.doctor(self.centers, offline=work.offline)

    def _center(self, handle: Handle) -> VCenter:
        return self.centers.of(handle.data)
