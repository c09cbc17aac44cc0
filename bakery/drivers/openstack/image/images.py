"""Images in Glance: waited for with a deadline and a reason, changed, shared, downloaded, deleted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import CONFLICT, OpenStackError, OpenStackRetryableError, refusal, status_of
from bakery.drivers.shared.waiting import patience
from bakery.errors import DriverError, NotYet
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.waiting import until

if TYPE_CHECKING:
    from openstack.image.v2.image import Image

ACTIVE = "active"
FAILED = frozenset({"killed", "error", "deleted", "pending_delete", "deactivated"})
"""States from which no image becomes active (docs.openstack.org/glance, Image statuses)."""
BLOCK_DEVICES = "block_device_mapping"


def wait_active(
    cloud: OpenStackCloud, image: str, work: WorkContext, timeout: float, *, expected: bool = True
) -> Image:
    """Wait until an image can be booted, and return it.

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

    def probe() -> Image:
        nonlocal seen
        with patience("OpenStack"):
            current: Image | None = resources.get(cloud, "image", image)
        if current is None and not seen:
            raise NotYet("Glance does not show the image yet")
        if current is None:
            raise DriverError(
                f"the image {image} is gone before it was done", why="Nova deletes an image whose snapshot failed"
            )
        seen = True
        if current.status in FAILED:
            why = properties_of(current).get("os_glance_failed_import") or f"Glance says: {current.status}"
            raise DriverError(f"the image {image} failed", why=why)
        if current.status != ACTIVE:
            raise NotYet(f"the image is {current.status}")
        return current

    return until(
        probe,
        what=f"the image {image} becomes active",
        timeout=timeout,
        cancel=work.cancel,
        notify=work.waiting,
        late=0.2,
        hint="OpenStack(image_timeout=...) is how long an image may take, in seconds",
    )


def wait_snapshots(cloud: OpenStackCloud, image: Image, work: WorkContext, timeout: float) -> list[str]:
    """Wait for the Cinder snapshots that an image of a volume-backed server points to: it is active before they are.

    Returns:
        Their ids.

    Raises:
        DriverError: one failed.
    """
    snapshots = snapshots_of(image)

    def ready(name: str) -> None:
        with patience("OpenStack"):
            snapshot = resources.get(cloud, "snapshot", name)
        status = snapshot.status if snapshot else "gone"
        if status in {"error", "gone", "error_deleting", "deleting"}:
            raise DriverError(f"the snapshot {name} failed", why=f"Cinder says: {status}")
        if status != "available":
            raise NotYet(f"the snapshot is {status}")

    for name in snapshots:
        until(
            lambda name=name: ready(name),  # type: ignore[misc]  # a bound default
            what=f"the snapshot {name} is done",
            timeout=timeout,
            cancel=work.cancel,
            notify=work.waiting,
            late=0.2,
        )
    return snapshots


def properties_of(image: Image) -> Mapping[str, Any]:
    """Return the properties of an image that openstacksdk knows no attribute for: all of ours are among them."""
    return image.properties or {}


def snapshots_of(image: Image) -> list[str]:
    """Return the ids of the Cinder snapshots in which the image's data are."""
    devices = properties_of(image).get(BLOCK_DEVICES) or "[]"
    listed = json.loads(devices) if isinstance(devices, str) else devices
    return [device["snapshot_id"] for device in listed if device.get("snapshot_id")]


def change(cloud: OpenStackCloud, image: str, changes: Mapping[str, Any], *, gone: Iterable[str] = ()) -> Image:
    """Change an image in one request, all or nothing, and return it.

    The steps are ours, and openstacksdk's `Image.patch` sends them: `update_image` makes them of the differences to an
    image that was fetched before, in lists too, and Glance refuses `/tags/0`.

    Args:
        cloud: where.
        image: its id.
        changes: new values by Glance's names; of properties too.
        gone: properties to take away.
    """

    def request(proxy: Any) -> Image:
        current: Image = proxy.get_image(image)
        known = {name for name, value in _by_name(current).items() if value is not None}
        steps: list[dict[str, Any]] = [
            {"op": "replace" if name in known else "add", "path": f"/{_escaped(name)}", "value": value}
            for name, value in changes.items()
        ]
        steps += [{"op": "remove", "path": f"/{_escaped(name)}"} for name in gone if name in known]
        return current.patch(proxy, steps)

    return cloud.call("image", f"change the image {image}", request)


def _by_name(image: Image) -> dict[str, Any]:
    """Return all that Glance said of an image, by Glance's names."""
    return {**image.to_dict(computed=False, original_names=True), **properties_of(image)}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def share(cloud: OpenStackCloud, image: str, member: str) -> None:
    """Let a project use the image; one that may already is left as it is."""
    try:
        cloud.call("image", f"share the image with {member}", lambda proxy: proxy.add_member(image, member_id=member))
    except OpenStackError as error:
        if status_of(error) != CONFLICT:
            raise


def accept(cloud: OpenStackCloud, image: str, member: str) -> None:
    """Accept a shared image; `cloud` is the member's."""
    cloud.call(
        "image",
        f"accept the image for {member}",
        lambda proxy: proxy.update_member(member, image, status="accepted"),
    )


def download(cloud: OpenStackCloud, image: Image, name: str, claim: Claim) -> str:
    """Leave an image's data as a local file, under its final name only when whole and of Glance's digest.

    Returns:
        The file's path.

    Raises:
        DriverError: the bytes are not those that Glance says it has.
    """
    target = claim.images / f"{name}.{image.disk_format}"
    part = claim.folder / f"{target.name}.part"
    digest = hashlib.new(image.hash_algo or "sha512")
    what = "hand out the image"
    response = cloud.call("image", what, lambda proxy: checked(what, proxy.download_image(image.id, stream=True)))
    done = 0
    with part.open("wb") as file:
        for piece in response.iter_content(1 << 20):
            claim.cancel.check()
            file.write(piece)
            digest.update(piece)
            done += len(piece)
            claim.progress("download", done, image.size)
    if image.hash_value not in {None, digest.hexdigest()}:
        raise DriverError(f"the download of {image.id} is damaged", why="its digest is not Glance's")
    shutil.move(part, target)
    return str(target)


def checked(what: str, response: Any) -> Any:
    """Return a response that is no refusal, for the calls of openstacksdk's image proxy that do not look.

    Raises:
        OpenStackError: its status says no.
    """
    if response.status_code >= 400:  # noqa: PLR2004  HTTP's
        raise refusal(what, response)
    return response


def delete(cloud: OpenStackCloud, image: str) -> None:
    """Delete an image, and the snapshots that hold its data.

    Raises:
        OpenStackRetryableError: it is still in use (a volume is being made of it).
    """
    current: Image | None = resources.get(cloud, "image", image)
    if current is None:
        return
    snapshots = snapshots_of(current)
    if current.is_protected:
        change(cloud, image, {"protected": False})
    try:
        resources.delete(cloud, "image", image)
    except OpenStackError as error:
        if status_of(error) == CONFLICT:
            raise OpenStackRetryableError(error.what, why=error.why, hint="what uses it must go first") from error
        raise
    for snapshot in snapshots:
        delete_snapshot(cloud, snapshot)


def delete_snapshot(cloud: OpenStackCloud, name: str) -> None:
    """Delete a Cinder snapshot.

    Raises:
        OpenStackRetryableError: it is in the middle of something.
    """
    try:
        resources.delete(cloud, "snapshot", name)
    except OpenStackError as error:
        snapshot = resources.get(cloud, "snapshot", name)
        if snapshot and snapshot.status in {"creating", "deleting", "backing-up"}:
            raise OpenStackRetryableError(error.what, why=f"the snapshot is {snapshot.status}: {error.why}") from error
        if snapshot:
            raise


def create_empty(cloud: OpenStackCloud, key: str, claim: Claim, disk_format: str, properties: Mapping[str, str]) -> str:
    """Create an image's record under our key, private, without data, and return its id.

    Not by `create_image`: that adds three properties of its own, and uploads a file of the name where there is one in
    the working folder.
    """

    def request(proxy: Any) -> Image:
        from openstack.image.v2.image import Image

        image = Image.new(
            name=key,
            visibility="private",
            container_format="bare",
            disk_format=disk_format,
            properties={**properties},
        )
        return image.create(proxy)

    return str(resources.create(cloud, "image", key, claim, request).id)
