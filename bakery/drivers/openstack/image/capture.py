"""From a sealed machine to an image under a temporary name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import OpenStackRetryableError
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import servers, volumes
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared.create_once import create_once
from bakery.errors import DriverError
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim, Intent

if TYPE_CHECKING:
    from openstack.image.v2.image import Image

VERIFIED = "signature_verified"
"""Cinder (Zed) writes this on the images that it uploads, and then cannot make a volume of an image that has it."""


def capture(cloud: OpenStackCloud, handle: Handle, name: str, claim: Claim) -> Artifact:
    """Power the machine off, and make an image of its disk; nothing refers to it yet but its temporary name.

    Raises:
        DriverError: the machine does not stop, or the cloud cannot make the image.
    """
    source = OpenStack.from_settings(handle.settings["source"])
    servers.stop(cloud, handle.id, source, claim)
    volume = source.boot_volume
    if volume and handle.data.get("volume") not in {None, "nova"}:
        image = _upload_volume(cloud, source, handle, claim)
    else:
        _, image = snapshot(cloud, handle.id, source, claim, {})
    return finished(cloud, source, image, name)


def finished(cloud: OpenStackCloud, source: OpenStack, image: Image, name: str) -> Artifact:
    """Describe an image of ours as an artifact."""
    settings = {"source": source.settings(), **cloud.record, "image": image.id}
    return Artifact(
        driver="openstack",
        id=image.id,
        name=name,
        format="glance",
        size=image.size,
        settings=settings,
        data={"glance_name": image.name, "snapshots": images.snapshots_of(image)},
        created=datetime.now(UTC),
    )


def snapshot(
    cloud: OpenStackCloud, server: str, source: OpenStack, claim: Claim, more: dict[str, str]
) -> tuple[Intent, Image]:
    """Let Nova make an image of a server.

    Returns:
        Its record, and the image.

    Raises:
        DriverError: it failed.
    """
    key = tags.new_key(claim)
    intent = claim.intend("image", key, **cloud.record)
    # An empty IMAGE: the base may be a kept image of ours, and Nova hands its properties on.
    marks = {**tags.temporary(claim, key), tags.IMAGE: "", **more}

    def request(compute: Any) -> str:
        # `compute.create_server_image` asks for the image afterwards, and fails where Glance does not show it yet.
        from openstack.compute.v2.server import Server

        return Server.existing(id=server).create_image(compute, key, marks)

    def call() -> str:
        return cloud.call("compute", "make an image of the server", request, repeat=False)

    image = create_once(call, lambda: _ids(cloud, key), claim, on=OpenStackRetryableError)
    intent.made(image)
    active = images.wait_active(cloud, image, claim, source.image_timeout)
    images.wait_snapshots(cloud, active, claim, source.image_timeout)
    return intent, active


def _ids(cloud: OpenStackCloud, key: str) -> list[str]:
    return [image.id for image in resources.by_key(cloud, "image", key)]


def _upload_volume(cloud: OpenStackCloud, source: OpenStack, handle: Handle, claim: Claim) -> Image:
    """End the server, which frees its volume, and let Cinder upload that."""
    volume, wanted = handle.data["volume"], source.boot_volume
    if wanted is None:
        raise DriverError(f"the server {handle.id} has no volume")
    volumes.gone(cloud, handle.id)
    volumes.wait(cloud, volume, "available", claim, source.image_timeout)
    key = tags.new_key(claim)
    intent = claim.intend("image", key, **cloud.record)

    def request(storage: Any) -> str:
        answer = storage.upload_volume_to_image(
            volume, key, force=False, disk_format=wanted.disk_format, container_format="bare"
        )
        return str(answer["image_id"])

    def call() -> str:
        return cloud.call("block_storage", "make an image of the volume", request, repeat=False)

    image = create_once(call, lambda: _ids(cloud, key), claim, on=OpenStackRetryableError)
    intent.made(image)
    images.change(cloud, image, tags.temporary(claim, key))
    images.wait_active(cloud, image, claim, source.image_timeout)
    return images.change(cloud, image, {tags.IMAGE: ""}, gone=(VERIFIED,))
