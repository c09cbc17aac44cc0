"""Images in Glance: waited for with a deadline and a reason, changed, shared, unmade."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, OpenStackError, OpenStackRetryableError, status_of
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.waiting import until

ACTIVE = "active"
FAILED = frozenset({"killed", "error", "deleted", "pending_delete", "deactivated"})
"""States from which no image becomes active (docs.openstack.org/glance, Image statuses)."""
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
BLOCK_DEVICES = "block_device_mapping"


def wait_active(
    cloud: OpenStackCloud, image: str, work: WorkContext, timeout: float, *, expected: bool = True
) -> dict[str, Any]:
    """Wait until an image can be booted.

    Args:
        cloud: where.
        image: its id.
        work: for cancellation and events.
        timeout: seconds.
        expected: Glance has shown it before, so that its absence means that it was given up.

    Raises:
        DriverError: it failed, or vanished, or takes too long.
    """
    seen = expected

    def probe() -> dict[str, Any]:
        nonlocal seen
        try:
            found = resources.get(cloud, "image", image)
        except RetryableError as error:
            raise NotYet("OpenStack asks for patience") from error
        if found is None and not seen:
            raise NotYet("Glance does not show the image yet")
        if found is None:
            raise DriverError(
                f"the image {image} is gone before it was done", why="Nova deletes an image whose snapshot failed"
            )
        seen = True
        status = found["status"]
        if status in FAILED:
            why = found.get("os_glance_failed_import") or f"Glance says: {status}"
            raise DriverError(f"the image {image} failed", why=why)
        if status != ACTIVE:
            raise NotYet(f"the image is {status}")
        return found

    return until(
        probe,
        what=f"the image {image} becomes active",
        timeout=timeout,
        cancel=work.cancel,
        notify=work.waiting,
        late=0.2,
        hint="OpenStack(image_timeout=...) is how long an image may take, in seconds",
    )


def wait_snapshots(cloud: OpenStackCloud, image: Mapping[str, Any], work: WorkContext, timeout: float) -> list[str]:
    """Wait for the Cinder snapshots that an image of a volume-backed server points to: it is active before they are.

    Returns:
        Their ids.

    Raises:
        DriverError: one failed.
    """
    names = snapshots_of(image)

    def ready(name: str) -> None:
        found = resources.get(cloud, "snapshot", name)
        status = found["status"] if found else "gone"
        if status in {"error", "gone", "error_deleting", "deleting"}:
            raise DriverError(f"the snapshot {name} failed", why=f"Cinder says: {status}")
        if status != "available":
            raise NotYet(f"the snapshot is {status}")

    for name in names:
        until(
            lambda name=name: ready(name),  # type: ignore[misc]  # a bound default
            what=f"the snapshot {name} is done",
            timeout=timeout,
            cancel=work.cancel,
            notify=work.waiting,
            late=0.2,
        )
    return names


def snapshots_of(image: Mapping[str, Any]) -> list[str]:
    """Return the ids of the Cinder snapshots in which the image's data are."""
    devices = image.get(BLOCK_DEVICES) or "[]"
    listed = json.loads(devices) if isinstance(devices, str) else devices
    return [device["snapshot_id"] for device in listed if device.get("snapshot_id")]


def patch(cloud: OpenStackCloud, image: str, changes: Mapping[str, Any], *, gone: Iterable[str] = ()) -> dict[str, Any]:
    """Change an image in one request, all or nothing.

    Args:
        cloud: where.
        image: its id.
        changes: new values; of properties too.
        gone: properties to take away.
    """
    found = resources.get(cloud, "image", image) or {}
    steps: list[dict[str, Any]] = [
        {"op": "replace" if name in found else "add", "path": f"/{_escaped(name)}", "value": value}
        for name, value in changes.items()
    ]
    steps += [{"op": "remove", "path": f"/{_escaped(name)}"} for name in gone if name in found]
    return cloud.ask("PATCH", "image", f"/images/{image}", f"change the image {image}", json=steps, headers=PATCH)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def share(cloud: OpenStackCloud, image: str, member: str) -> None:
    """Let a project use the image; that it may already is well."""
    try:
        cloud.ask(
            "POST", "image", f"/images/{image}/members", f"share the image with {member}", json={"member": member}
        )
    except OpenStackError as error:
        if status_of(error) != CONFLICT:
            raise


def accept(cloud: OpenStackCloud, image: str, member: str) -> None:
    """Accept a shared image; `cloud` is the member's."""
    path = f"/images/{image}/members/{member}"
    cloud.ask("PUT", "image", path, f"accept the image for {member}", json={"status": "accepted"})


def download(cloud: OpenStackCloud, image: Mapping[str, Any], name: str, claim: Claim) -> str:
    """Leave an image's data as a local file, under its final name only when whole and of Glance's digest.

    Returns:
        The file's path.

    Raises:
        DriverError: the bytes are not those that Glance says it has.
    """
    target = claim.images / f"{name}.{image['disk_format']}"
    part = claim.folder / f"{target.name}.part"
    digest = hashlib.new(image.get("os_hash_algo") or "sha512")
    with part.open("wb") as file:
        answer = cloud.response("GET", "image", f"/images/{image['id']}/file", "hand out the image", stream=True)
        done = 0
        for piece in answer.iter_content(1 << 20):
            claim.cancel.check()
            file.write(piece)
            digest.update(piece)
            done += len(piece)
            claim.progress("download", done, image["size"])
    if image.get("os_hash_value") not in {None, digest.hexdigest()}:
        raise DriverError(f"the download of {image['id']} is damaged", why="its digest is not Glance's")
    shutil.move(part, target)
    return str(target)


def delete(cloud: OpenStackCloud, image: str) -> None:
    """Delete an image, and the snapshots that hold its data.

    Raises:
        OpenStackRetryableError: it is still in use (a volume is being made of it).
    """
    found = resources.get(cloud, "image", image)
    if found is None:
        return
    snapshots = snapshots_of(found)
    if found.get("protected"):
        patch(cloud, image, {"protected": False})
    try:
        resources.delete(cloud, "image", image)
    except OpenStackError as error:
        if status_of(error) == CONFLICT:
            raise OpenStackRetryableError(error.what, why=error.why, hint="what uses it must go first") from error
        raise
    for one in snapshots:
        delete_snapshot(cloud, one)


def delete_snapshot(cloud: OpenStackCloud, name: str) -> None:
    """Delete a Cinder snapshot."""
    try:
        resources.delete(cloud, "snapshot", name)
    except OpenStackError as error:
        found = resources.get(cloud, "snapshot", name)
        if found and found["status"] in {"creating", "deleting", "backing-up"}:
            raise OpenStackRetryableError(error.what, why=f"the snapshot is {found['status']}: {error.why}") from error
        if found:
            raise


def temporary(cloud: OpenStackCloud, key: str, claim: Claim, body: Mapping[str, Any]) -> dict[str, Any]:
    """Make an empty image record under our key, private, to be filled."""
    request = {"visibility": "private", "container_format": "bare", **body, "name": key}
    return resources.make(cloud, "image", key, claim, request)
