"""`bakery.publish.OpenStack(...)`: a Glance image from a disk that was made locally."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from bakery.drivers.openstack import check
from bakery.drivers.openstack.api.cloud import OpenStackClouds
from bakery.drivers.openstack.image import capture, upload
from bakery.drivers.openstack.source import OpenStack as Source
from bakery.drivers.publisher import Publisher
from bakery.errors import DriverError
from bakery.model import Artifact, Problem
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True)
class OpenStack(Source, Publisher):
    """Uploads a local image to Glance. All options of `bakery.drivers.OpenStack` are here too: for the machine on which
    the image is smoke tested, and for its name, properties and members.

    Args:
        disk_format: what the store wants: `qcow2`, `raw` (the only one that Ceph boots without a copy); None is the
            local image's own.
    """

    driver: ClassVar[str] = "openstack"
    base: Any = None
    disk_format: str | None = None

    def check(self) -> Iterator[Problem]:
        """Look at credentials, flavors, networks and quota."""
        yield from check.check(OpenStackClouds(), self)

    def publish(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Upload the disk under a temporary name; its digest is compared with Glance's."""
        cloud = OpenStackClouds().get(check.account(self)).within(claim.cancel)
        wanted = self.disk_format or artifact.format
        disk = artifact.path if wanted == artifact.format else _converted(artifact, wanted, claim.folder)
        properties = {**_firmware(artifact), **self.properties}
        found = upload.send(cloud, disk, wanted, claim, timeout=self.image_timeout, properties=properties)
        return replace(capture.finished(cloud, self, found, name), key=artifact.key)


def _firmware(artifact: Artifact) -> dict[str, str]:
    """How the disk boots, where whoever made it wrote that down."""
    return {"hw_firmware_type": "uefi"} if artifact.settings.get("firmware") == "uefi" else {}


def _converted(artifact: Artifact, wanted: str, folder: Path) -> Path:
    target = folder / f"publish.{wanted}"
    command = ["qemu-img", "convert", "-f", artifact.format, "-O", wanted, str(artifact.path), str(target)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise DriverError(f"qemu-img cannot read {artifact.path}", why=done.stderr.strip())
    return target
