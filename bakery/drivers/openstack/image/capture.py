"""From a sealed machine to an image under a temporary name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import servers, volumes
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim, Intent

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
        found = _uploaded(cloud, source, handle, claim)
    else:
        _, found = snapshot(cloud, handle.id, source, claim, {})
    return finished(cloud, source, found, name)


def finished(cloud: OpenStackCloud, source: OpenStack, found: dict[str, Any], name: str) -> Artifact:
    """Describe an image of ours."""
    settings = {"source": source.settings(), **cloud.record, "image": found["id"]}
    return Artifact(
        driver="openstack",
        id=found["id"],
        name=name,
        format="glance",
        size=found.get("size"),
        settings=settings,
        data={"glance_name": found["name"], "snapshots": images.snapshots_of(found)},
        created=datetime.now(UTC),
    )


def snapshot(
    cloud: OpenStackCloud, server: str, source: OpenStack, claim: Claim, more: dict[str, str]
) -> tuple[Intent, dict[str, Any]]:
    """Let Nova make an image of a server.

    Returns:
        Its record, and what Glance says of it.

    Raises:
        DriverError: it failed.
    """
    key = tags.new_key(claim)
    intent = claim.intend("image", key, **cloud.record)
    # An empty IMAGE: the base may be a kept image of ours, and Nova hands its properties on.
    marks = {**tags.temporary(claim, key), tags.IMAGE: "", **more}

    def call() -> dict[str, Any]:
        answer = servers.action(
            cloud, server, "make an image of the server", "createImage", {"name": key, "metadata": marks}
        )
        return {"id": answer["image_id"]}

    made = resources.once(call, lambda: resources.by_key(cloud, "image", key), claim)["id"]
    intent.made(made)
    found = images.wait_active(cloud, made, claim, source.image_timeout)
    images.wait_snapshots(cloud, found, claim, source.image_timeout)
    return intent, found


def _uploaded(cloud: OpenStackCloud, source: OpenStack, handle: Handle, claim: Claim) -> dict[str, Any]:
    """End the server, which frees its volume, and let Cinder upload that."""
    volume, wanted = handle.data["volume"], source.boot_volume
    if wanted is None:
        raise DriverError(f"the server {handle.id} has no volume")
    volumes.gone(cloud, handle.id)
    volumes.wait(cloud, volume, "available", claim, source.image_timeout)
    key = tags.new_key(claim)
    intent = claim.intend("image", key, **cloud.record)
    body = {
        "os-volume_upload_image": {
            "image_name": key,
            "disk_format": wanted.disk_format,
            "container_format": "bare",
            "force": False,
        }
    }

    def call() -> dict[str, Any]:
        answer = cloud.ask(
            "POST", "block_storage", f"/volumes/{volume}/action", "make an image of the volume", json=body
        )
        return {"id": answer["os-volume_upload_image"]["image_id"]}

    made = resources.once(call, lambda: resources.by_key(cloud, "image", key), claim)["id"]
    intent.made(made)
    images.patch(cloud, made, tags.temporary(claim, key))
    images.wait_active(cloud, made, claim, source.image_timeout)
    return images.patch(cloud, made, {tags.IMAGE: ""}, gone=(VERIFIED,))
