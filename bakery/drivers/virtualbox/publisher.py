"""`bakery.publish.VirtualBox(...)`: an appliance, or a disk of VirtualBox's, from a disk that was made locally."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from uuid import uuid4

from bakery.drivers.publisher import Publisher
from bakery.drivers.virtualbox import check, destroy
from bakery.drivers.virtualbox.api.sdk import way_in
from bakery.drivers.virtualbox.image.capture import write_image
from bakery.drivers.virtualbox.machine import launch
from bakery.drivers.virtualbox.machine.base_images import StartDisk
from bakery.drivers.virtualbox.source import VirtualBox as Source
from bakery.model import Artifact, Problem
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True)
class VirtualBox(Source, Publisher):
    """Makes an appliance of a local image, which is then imported and smoke tested in VirtualBox.

    All options of `bakery.drivers.VirtualBox` are here too: they are the hardware that the appliance asks for. An image
    that boots with UEFI gets `firmware="efi"` where the firmware is not named.
    """

    driver: ClassVar[str] = "virtualbox"
    base: Any = None

    def check(self) -> Iterator[Problem]:
        """Look at VirtualBox and at the words of the source."""
        yield from check.check(way_in(), self)

    def publish(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Make a machine of the disk that is never started, and an image of that machine."""
        box = way_in().within(claim.cancel)
        efi = self.firmware == "bios" and artifact.settings.get("firmware") == "uefi"
        source = Source.from_settings({**self.settings(), **({"firmware": "efi"} if efi else {})})
        start = StartDisk(artifact.path, artifact.format)
        job = launch.LaunchJob(box=box, source=source, base=start, claim=claim)
        uuid = str(uuid4())
        intent = launch.begin(claim, uuid)
        launch.make_new(job, start, name, uuid)
        resource = intent.made(claim.name)
        if source.modifyvm:
            box.modify(uuid, source.modifyvm)
        image = write_image(box, uuid, source, name, claim)
        destroy.destroy(box, resource)  # now: what is left under this claim becomes the user's together with the image
        return replace(image, key=artifact.key)
