"""`bakery.publish.OpenStack(...)`: a Glance image from a disk that was made locally."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from bakery.disk import qemuimg
from bakery.drivers.openstack import check
from bakery.drivers.openstack.api.cloud import OpenStackClouds
from bakery.drivers.openstack.image import capture, upload
from bakery.drivers.openstack.source import OpenStack as Source
from bakery.drivers.publisher import Publisher
from bakery.model import Artifact, Problem
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True)
class OpenStack(Source, Publisher):
    """Uploads a local image to Glance. All options of `bakery.drivers.OpenStack` are here too: for the machine on which
    the image is smoke tested, and for its name, properties and members.

    Args:
        disk_format: what the store wants: `qcow2`, `raw` (the only one that Ceph boots without a copy); None is the
            local image's own.
        compression: of a qcow2 image: `zlib`, which every cloud's QEMU reads; `zstd` where yours is built with it; None
            leaves it as it is.
    """

    driver: ClassVar[str] = "openstack"
    base: Any = None
    disk_format: str | None = None
    compression: Literal["zstd", "zlib"] | None = "zlib"

    def check(self) -> Iterator[Problem]:
        """Look at credentials, flavors, networks and quota."""
        yield from check.check(OpenStackClouds(), self)

    def publish(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Upload the disk under a temporary name; its digest is compared with Glance's."""
        cloud = OpenStackClouds().get(check.account(self)).within(claim.cancel)
        wanted = self.disk_format or artifact.format
        as_it_is = wanted == artifact.format and not (self.compression == "zlib" and qemuimg.is_zstd(artifact.path))
        disk = artifact.path if as_it_is else _converted(artifact, wanted, self.compression or "zstd", claim)
        properties = {**_firmware(artifact), **self.properties}
        image = upload.send(cloud, disk, wanted, claim, timeout=self.image_timeout, properties=properties)
        return replace(capture.finished(cloud, self, image, name), key=artifact.key)


def _firmware(artifact: Artifact) -> dict[str, str]:
    """How the disk boots, where whoever made it wrote that down."""
    return {"hw_firmware_type": "uefi"} if artifact.settings.get("firmware") == "uefi" else {}


def _converted(artifact: Artifact, wanted: str, compression: qemuimg.Compression, claim: Claim) -> Path:
    target = claim.folder / f"publish.{wanted}"
    source = qemuimg.described(artifact.path, artifact.format)
    form = cast("qemuimg.Format", wanted)  # or another one, which then is qemu-img's to know
    qemuimg.convert(source, target, format=form, work=claim, compression=compression)
    return target
