"""Volumes to boot from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import servers
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

GIB = 1 << 30
FAILED = frozenset({"error", "error_deleting", "error_extending", "deleting"})
TIMEOUT = 600.0
ATTACHMENTS = "3.27"
"""Cinder's microversion, of Ocata (2017), that shows what is attached, or to be attached, to what."""


def boot_device(
    cloud: OpenStackCloud, source: OpenStack, image: Mapping[str, Any], flavor: Mapping[str, Any], claim: Claim
) -> dict[str, Any] | None:
    """Return what a server boots from, where that is not the flavor's own disk; makes the volume.

    An image that has no data but a Cinder snapshot is booted as it is: Nova makes the volume.
    """
    wanted = source.boot_volume
    if wanted is None or images.snapshots_of(image):
        return None
    key = tags.new_key(claim)
    intent = claim.intend("volume", key, **cloud.record)
    body: dict[str, Any] = {
        "name": key,
        "size": wanted.size or least(image, flavor),
        "imageRef": image["id"],
        "volume_type": wanted.volume_type,
        "availability_zone": wanted.zone,
        "metadata": tags.temporary(claim, key),
        "description": tags.line(claim),
    }
    given = {name: value for name, value in body.items() if value is not None}
    volume = resources.make(cloud, "volume", key, claim, given)["id"]
    intent.made(volume)
    wait(cloud, volume, "available", claim, source.image_timeout)
    return {
        "uuid": volume,
        "source_type": "volume",
        "destination_type": "volume",
        "boot_index": 0,
        "delete_on_termination": False,
    }


def least(image: Mapping[str, Any], flavor: Mapping[str, Any]) -> int:
    """Return the GiB that an image needs at least, and a flavor would have given it."""
    virtual = math.ceil((image.get("virtual_size") or image.get("size") or 0) / GIB)
    return max(1, virtual, int(image.get("min_disk") or 0), int(flavor.get("disk") or 0))


def wait(cloud: OpenStackCloud, volume: str, wanted: str, work: WorkContext, timeout: float) -> None:
    """Wait until a volume is in a state.

    Raises:
        DriverError: it failed, or vanished, or takes too long.
    """

    def probe() -> None:
        try:
            found = resources.get(cloud, "volume", volume)
        except RetryableError as error:
            raise NotYet("OpenStack asks for patience") from error
        status = found["status"] if found else "gone"
        if found is None or status in FAILED:
            raise DriverError(f"the volume {volume} failed", why=f"Cinder says: {status}")
        if status != wanted:
            raise NotYet(f"the volume is {status}")

    until(
        probe,
        what=f"the volume {volume} is {wanted}",
        timeout=timeout,
        cancel=work.cancel,
        notify=work.waiting,
        late=0.2,
    )


def gone(cloud: OpenStackCloud, server: str) -> None:
    """End a server, and wait until it is gone: only then are its ports and volumes free."""
    servers.end(cloud, server)
    until(
        lambda: servers.ended(cloud, server),
        what=f"the server {server} ends",
        timeout=TIMEOUT,
        cancel=Cancel(),
        every=(0.1, 2.0),
        late=0.2,
    )


def release(cloud: OpenStackCloud, volume: str) -> None:
    """Take a volume back from servers that are gone.

    A server that ends before a host was found for it leaves its volume reserved for ever (Nova of Zed, measured).
    """
    listed = cloud.ask(
        "GET",
        "block_storage",
        "/attachments",
        "say what uses the volume",
        missing_ok=True,
        params={"volume_id": volume},
        microversion=ATTACHMENTS,
    )
    for one in listed.get("attachments", []):
        if one["volume_id"] == volume and resources.get(cloud, "server", one["instance"]) is None:
            cloud.ask(
                "DELETE",
                "block_storage",
                f"/attachments/{one['id']}",
                "take the volume back",
                missing_ok=True,
                microversion=ATTACHMENTS,
            )
