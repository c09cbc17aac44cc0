"""Images on Amazon EC2: check, launch, endpoint, capture, destroy, find; and keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bakery.drivers.base import Driver
from bakery.drivers.ec2 import check, destroy, find
from bakery.drivers.ec2.api.account import Ec2Account, Ec2Clouds
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.image import capture, checkpoints, keep
from bakery.drivers.ec2.machine import base_images, launch
from bakery.drivers.ec2.machine import endpoint as reach
from bakery.drivers.ec2.options import Newest, Parameter, read
from bakery.drivers.ec2.source import Ec2
from bakery.errors import DriverError
from bakery.model import Artifact, Checkpoint, Endpoint, Handle, Problem, Resource, Where
from bakery.state.claim import Claim
from bakery.util.context import WorkContext


class Ec2Driver(Driver[Ec2]):
    """EC2, through boto3. Each verb is a module of this package; here is only who is meant."""

    name = "ec2"
    source = Ec2
    requires = "imagebakery[aws]: see docs/install.md"
    checkpoints_cost = True
    syncs = True

    def __init__(self) -> None:
        self.clouds = Ec2Clouds()
        self._hooks: dict[str, reach.Hook] = {}

    def check(self, boot: Ec2) -> Iterator[Problem]:
        """Look at credentials, base, network, permissions, names and quota; all problems at once."""
        yield from check.check(self.clouds, boot)

    def doctor(self, work: WorkContext) -> Iterator[Problem]:
        """Ask AWS who we are."""
        yield from check.doctor(self.clouds, offline=work.offline)

    def name_conflicts(self, boot: Ec2, name: str) -> Iterator[Problem]:
        """Look for images of exactly that name, where no date makes it unique."""
        yield from check.name_conflicts(self.clouds, boot, name)

    def launch(self, boot: Ec2 | Artifact | Checkpoint, claim: Claim) -> Handle:
        """Start a machine from a source, or from an image of ours with the settings it was built with."""
        if isinstance(boot, Ec2):
            source, cloud = boot, self.clouds.get(boot.account)
            self._hooks[claim.build] = boot.address
        else:
            source = Ec2.from_settings(boot.settings["source"], base=boot)
            cloud = self.clouds.of(boot.settings)
        return launch.launch(Ec2Job(clouds=self.clouds, cloud=cloud, source=source, claim=claim))

    def endpoint(self, handle: Handle) -> Endpoint:
        """Say where it listens and which key it shows."""
        hook = self._hooks.get(handle.data["build"])
        return reach.endpoint(self.clouds.of(handle.data), handle, hook)

    def capture(self, handle: Handle, name: str, claim: Claim) -> Artifact:
        """Stop the machine and make an image of it under a temporary name."""
        return capture.capture(self.clouds.of(handle.data), handle, name, claim)

    def destroy(self, resource: Resource) -> None:
        """Destroy from the record alone."""
        destroy.destroy(self.clouds.of(resource.data), resource)

    def overlaps(self, boot: Ec2) -> bool:
        """Where no raw parameter gives the machine an address of its own: ending one takes most of a minute."""
        return not {"NetworkInterfaces", "PrivateIpAddress"} & boot.launch_options.keys()

    def destroy_batches(self, resources: Sequence[Resource]) -> list[list[Resource]]:
        """Machines together, then images, then what those stood on."""
        return destroy.destroy_batches(resources)

    def find(self, where: Where) -> Iterator[Resource]:
        """Find what carries our tags; `where.settings` may hold `region`, `profile`, `endpoint_url`."""
        settings: dict[str, Any] = dict(where.settings)
        if "account" in settings:
            account = Ec2Account.from_json(settings["account"])
        else:
            known = {name: read(settings[name]) for name in ("region", "profile", "endpoint_url") if name in settings}
            account = Ec2Account(**known)
        yield from find.find(self.clouds.get(account), where)

    def image_format(self, boot: Ec2) -> str:
        """Return the word for an image that lives at the provider."""
        del boot
        return "ami"

    def keep(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Make the tested image the user's."""
        return keep.keep(self.clouds, artifact, name, claim)

    def checkpoint(self, handle: Handle, key: str, folder: Path, claim: Claim) -> Checkpoint | None:
        """Make an image of the running machine under a step's key; nothing of it is in `folder`."""
        del folder
        return checkpoints.save(self.clouds.of(handle.data), handle, key, claim)

    def list_checkpoints(self, boot: Ec2, build: str) -> Iterator[tuple[Checkpoint, str]]:
        """Find the checkpoints of a build by their tags, whichever host made them."""
        yield from checkpoints.list_checkpoints(self.clouds.get(boot.account), boot, build)

    def prepare(self, boot: Ec2, work: WorkContext) -> str | None:
        """Return what decides the first disk's content: an AMI never changes, so its id does."""
        if isinstance(boot.base, Newest | Parameter):
            return str(base_images.resolve(self.clouds.get(boot.account), boot.base)["ImageId"])
        return super().prepare(boot, work)

    def delete(self, artifact: Artifact) -> None:
        """Delete a kept image in all its regions, unless it is in use."""
        keep.delete(self.clouds, artifact)

    def intact(self, artifact: Artifact) -> bool:
        """Say whether a kept image is still there."""
        return keep.intact(self.clouds, artifact)

    def console(self, handle: Handle) -> str:
        """Return the console text; empty where EC2 has none to give."""
        try:
            return reach.console(self.clouds.of(handle.data), handle.id)
        except DriverError as error:
            return f"(no console text: {error.what}: {error.why})"
