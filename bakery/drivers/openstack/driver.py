"""Images on OpenStack: check, launch, endpoint, capture, destroy, find; and keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bakery.drivers.base import Driver
from bakery.drivers.openstack import check, destroy, find
from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackAccount, OpenStackCloud, OpenStackClouds
from bakery.drivers.openstack.image import capture, checkpoints, images, keep
from bakery.drivers.openstack.machine import base_images, launch, servers
from bakery.drivers.openstack.machine.endpoint import Reach
from bakery.drivers.openstack.options import GlanceImage, GlanceUrl
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Problem, Resource, Where
from bakery.state.claim import Claim
from bakery.util.context import WorkContext


class OpenStackDriver(Driver[OpenStack]):
    """OpenStack, through openstacksdk. Dispatches each verb to its module, with the cloud that the record names."""

    name = "openstack"
    source = OpenStack
    requires = "imagebakery[openstack]: see docs/install.md"
    syncs = True

    def __init__(self) -> None:
        self.clouds = OpenStackClouds()
        self._reach = Reach()
        self._ready: dict[str, launch.Ready] = {}

    def check(self, boot: OpenStack) -> Iterator[Problem]:
        """Look at credentials, base, flavors, networks, names and quota; all problems at once."""
        yield from check.check(self.clouds, boot)

    def prepare(self, boot: OpenStack, work: WorkContext) -> str | None:
        """Look up the base; its id stands for its content, as Glance never changes an image's data."""
        match boot.base:
            case GlanceUrl():
                return boot.base.sha512 or None
            case str() | GlanceImage():
                cloud = self.clouds.get(check.account(boot)).within(work.cancel)
                return str(base_images.resolve(cloud, boot.base).id)
        return super().prepare(boot, work)

    def launch(self, boot: OpenStack | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Start a machine from a source, or from an image of ours with the settings it was built with."""
        if isinstance(boot, OpenStack):
            source, cloud = boot, self.clouds.get(check.account(boot))
        else:
            source = OpenStack.from_settings(boot.settings["source"], base=boot)
            cloud = self.clouds.of(boot.settings)
        job = launch.ServerJob(cloud=cloud.within(claim.cancel), source=source, claim=claim)
        return launch.launch(job, self._ready.pop(claim.name, None))

    def overlaps(self, boot: OpenStack) -> bool:
        """Where each machine has ports and addresses of its own."""
        return not (boot.ports or boot.fixed_address or boot.floating_address)

    def prepare_launch(self, boot: OpenStack, claim: Claim) -> None:
        """Make the key pair, the group, the ports and the floating address."""
        cloud = self.clouds.get(check.account(boot)).within(claim.cancel)
        self._ready[claim.name] = launch.prepare_launch(launch.ServerJob(cloud=cloud, source=boot, claim=claim))

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say where it listens and which key it shows."""
        return self._reach.endpoint(self._cloud(handle), handle)

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Stop the machine and make an image of it under a temporary name."""
        return capture.capture(self._cloud(handle).within(claim.cancel), handle, name, claim)

    def destroy(self, resource: Resource) -> None:
        """Destroy from the record alone."""
        destroy.destroy(self.clouds.of(resource.data), resource)

    def destroy_batches(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        """Destroy machines, keys, images and addresses at once; then ports and volumes; then security groups."""
        return destroy.destroy_batches(resources)

    def find(self, where: Where) -> Iterator[Resource]:
        """Find what carries our marks; `where.settings` may hold `cloud`, `region` and `interface`."""
        settings = where.settings.get("account", where.settings)
        yield from find.find(self.clouds.get(OpenStackAccount.from_json(settings)), where)

    def image_format(self, boot: OpenStack) -> str:
        """Return the word for an image that lives at the provider."""
        del boot
        return "glance"

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Make the tested image the user's."""
        return keep.keep(self.clouds, artifact, name, claim)

    def delete(self, artifact: Artifact) -> None:
        """Delete a kept image, unless it is in use."""
        keep.delete(self.clouds.of(artifact.settings), artifact)

    def intact(self, artifact: Artifact) -> bool:
        """Say whether a kept image can still be used."""
        image = resources.get(self.clouds.of(artifact.settings), "image", artifact.id)
        return bool(image and image.status == images.ACTIVE)

    def console(self, handle: Handle) -> str:
        """Return the end of the console text; why there is none where there is none."""
        try:
            return servers.console(self._cloud(handle), handle.id)
        except DriverError as error:
            return f"(no console text: {error.what}: {error.why})"

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        """Make an image of the running machine, where the source asks for that."""
        source = OpenStack.from_settings(handle.settings["source"])
        if not source.checkpoints or handle.data.get("volume"):
            return None
        del folder
        return checkpoints.save(self._cloud(handle).within(claim.cancel), handle, key, claim)

    def list_checkpoints(self, boot: OpenStack, build: str) -> Iterator[tuple[Checkpoint, str]]:
        """Find the checkpoints of a build by their properties, whichever host made them."""
        if boot.checkpoints:
            yield from checkpoints.list_checkpoints(self.clouds.get(check.account(boot)), boot, build)

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        """Say which clouds are configured, and whether the one that the environment means lets us in."""
        yield from check.doctor(self.clouds, offline=work.offline)

    def _cloud(self, handle: Handle) -> OpenStackCloud:
        return self.clouds.of(handle.data)
