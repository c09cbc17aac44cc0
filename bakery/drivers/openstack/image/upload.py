"""Disks that Glance has not: fetched by Glance itself from an address, or uploaded by us, with the digest compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakery.disk import qemuimg
from bakery.disk.bases.base import Base
from bakery.drivers.openstack.api import tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.options import GlanceUrl
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError, PreflightError
from bakery.model import Artifact
from bakery.state.claim import Claim

if TYPE_CHECKING:
    from openstack.image.v2.image import Image

PIECE = 1 << 20
PATIENCE = 600.0
"""Seconds that Glance may keep us waiting for a piece to be taken."""


class ProgressReader:
    """A file read piece by piece, its digest made on the way: requests streams it, with its length."""

    def __init__(self, path: Path, claim: Claim) -> None:
        self._path, self._claim = path, claim
        self._size = path.stat().st_size
        self.digest = hashlib.sha512()

    def __len__(self) -> int:
        """Return the file's length, for Content-Length."""
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces; from the start again each time."""
        self.digest = hashlib.sha512()
        done = 0
        with self._path.open("rb") as file:
            while piece := file.read(PIECE):
                self._claim.cancel.check()
                self.digest.update(piece)
                yield piece
                done += len(piece)
                self._claim.progress("upload", done, self._size)


def send(
    cloud: OpenStackCloud, disk: Path, disk_format: str, claim: Claim, *, timeout: float, properties: Mapping[str, str]
) -> Image:
    """Upload a disk into an image under a temporary name, and wait until Glance has it whole.

    The data go by the proxy's own `put`: openstacksdk's ways to upload read the whole file first, or drop it, and none
    lets Glance take longer than any other request.

    Args:
        cloud: where.
        disk: the file.
        disk_format: `qcow2` or `raw`.
        claim: for the image.
        timeout: seconds until it is active after the last byte.
        properties: of the image.

    Raises:
        DriverError: refused; or Glance's digest is not ours.
    """
    key = tags.new_key(claim)
    intent = claim.intend("image", key, **cloud.record)
    marks = tags.temporary(claim, key)
    image = images.create_empty(cloud, key, claim, disk_format, {**properties, **marks})
    intent.made(image)
    reader = ProgressReader(disk, claim)
    what = f"take the disk {disk.name}"
    headers = {"Content-Type": "application/octet-stream", "Accept": ""}

    def put(proxy: Any) -> None:
        images.checked(what, proxy.put(f"/images/{image}/file", data=reader, headers=headers, timeout=PATIENCE))

    cloud.call("image", what, put, repeat=False)
    uploaded = images.wait_active(cloud, image, claim, timeout)
    verify(uploaded, reader.digest.hexdigest())
    return uploaded


def verify(image: Image, sha512: str) -> None:
    """Compare digests, where Glance says one (`os_hash_algo`, since Rocky).

    Raises:
        DriverError: they differ.
    """
    if image.hash_algo == "sha512" and sha512 and image.hash_value != sha512.lower():
        raise DriverError(
            f"Glance holds other bytes in {image.id} than it should",
            why=f"its SHA-512 is {image.hash_value}, it should be {sha512}",
        )


def fetched(cloud: OpenStackCloud, wanted: GlanceUrl, claim: Claim) -> Image:
    """Let Glance fetch an image for this one machine.

    Raises:
        DriverError: it cannot, or the digest is another.
    """
    key = tags.new_key(claim)
    intent = claim.intend("image", key, **cloud.record)
    properties = {**wanted.properties, **tags.temporary(claim, key)}
    image = images.create_empty(cloud, key, claim, wanted.disk_format, properties)
    intent.made(image)
    what = f"fetch {wanted.url}"

    def start(proxy: Any) -> None:
        record = proxy.get_image(image)
        images.checked(what, proxy.import_image(record, method="web-download", uri=wanted.url))

    cloud.call("image", what, start, repeat=False)
    imported = images.wait_active(cloud, image, claim, wanted.timeout)
    verify(imported, wanted.sha512)
    return imported


def local(cloud: OpenStackCloud, base: Base, claim: Claim, source: OpenStack) -> Image:
    """Upload a base of this host for this one machine.

    Raises:
        PreflightError: the system inside does not take keys from a cloud.
    """
    disk = base.disk(claim)
    if disk.login == "credentials" and source.host_key == "given":
        raise PreflightError(
            f"a machine of {base} cannot be given its keys by OpenStack",
            why="it reads them from systemd credentials, which only a hypervisor of our own can pass",
            hint="CloudImage(...) has cloud-init inside",
        )
    path = _readable(disk.path, disk.format, claim)
    return send(cloud, path, disk.format, claim, timeout=source.image_timeout, properties=source.properties)


def artifact(cloud: OpenStackCloud, image: Artifact, claim: Claim, source: OpenStack) -> Image:
    """Upload a local image for this one machine."""
    path = _readable(image.path, image.format, claim)
    return send(cloud, path, image.format, claim, timeout=source.image_timeout, properties=source.properties)


def _readable(disk: Path, disk_format: str, claim: Claim) -> Path:
    """Return a disk that every QEMU reads: one that zstd compressed is written anew, for clouds whose QEMU has none."""
    if disk_format != "qcow2" or not qemuimg.is_zstd(disk):
        return disk
    target = claim.folder / "upload.qcow2"
    source = qemuimg.described(disk, "qcow2")
    qemuimg.convert(source, target, format="qcow2", work=claim, compression="zlib")
    return target


def methods(cloud: OpenStackCloud) -> list[str]:
    """Return the ways in which Glance can import; none where it cannot."""
    info = cloud.find("image", "say how it imports images", lambda proxy: proxy.get_import_info())
    return list((info.import_methods or {}).get("value", [])) if info else []
