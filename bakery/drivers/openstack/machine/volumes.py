"""Volumes to boot from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.machine import servers
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared.waiting import patience, until_gone
from bakery.errors import DriverError, NotYet
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.waiting import until

if TYPE_CHECKING:
    from openstack.compute.v2.flavor import Flavor
    from openstack.image.v2.image import Image

GIB = 1 << 30
FAILED = frozenset({"error", "error_deleting", "error_extending", "deleting"})


def boot_device(
    cloud: OpenStackCloud, source: OpenStack, image: Image, flavor: Flavor, claim: Claim
) -> dict[str, Any] | None:
    """Make the volume that a server boots from, and return its entry of `block_device_mapping_v2`.

    Returns:
        None where the server boots from the flavor's own disk, and for an image that has no data but a Cinder
        snapshot: of that Nova makes the volume.
    """
    wanted = source.boot_volume
    if wanted is None or images.snapshots_of(image):
        return None
    key = tags.new_key(claim)
    intent = claim.intend("volume", key, **cloud.record)
    attributes: dict[str, Any] = {
        "name": key,
        "size": wanted.size or least(image, flavor),
        "image_id": image.id,
        "volume_type": wanted.volume_type,
        "availability_zone": wanted.zone,
        "metadata": tags.temporary(claim, key),
        "description": tags.line(claim),
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    volume = resources.create(cloud, "volume", key, claim, lambda storage: storage.create_volume(**given)).id
    intent.made(volume)
    wait(cloud, volume, "available", claim, source.image_timeout)
    return {
        "uuid": volume,
        "source_type": "volume",
        "destination_type": "volume",
        "boot_index": 0,
        "delete_on_termination": False,
    }


def least(image: Image, flavor: Flavor | None = None) -> int:
    """Return the GiB that an image needs at least, and a flavor would have given it."""
    virtual = math.ceil((image.virtual_size or image.size or 0) / GIB)
    return max(1, virtual, int(image.min_disk or 0), int((flavor.disk if flavor else 0) or 0))


def wait(cloud: OpenStackCloud, volume: str, wanted: str, work: WorkContext, timeout: float) -> None:
    """Wait until a volume is in a state.

    Raises:
        DriverError: it failed, or vanished, or takes too long.
    """

    def probe() -> None:
        with patience("OpenStack"):
            current = resources.get(cloud, "volume", volume)
        status = current.status if current else "gone"
        if current is None or status in FAILED:
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
    until_gone(f"the server {server} ends", lambda: servers.ended(cloud, server), every=(0.1, 2.0), late=0.2)


def release(cloud: OpenStackCloud, volume: str) -> None:
    """Take a volume back from servers that are gone.

    A server that ends before a host was found for it leaves its volume reserved for ever (Nova of Zed, measured).
    """
    attachments = cloud.find(
        "block_storage",
        "say what uses the volume",
        lambda storage: list(storage.attachments(details=False, volume_id=volume)),
    )
    for attachment in attachments or []:
        if attachment.volume_id == volume and resources.get(cloud, "server", attachment.instance) is None:
            cloud.call(
                "block_storage",
                "take the volume back",
                lambda storage, name=attachment.id: storage.delete_attachment(name),  # type: ignore[misc]  # a bound default
            )
