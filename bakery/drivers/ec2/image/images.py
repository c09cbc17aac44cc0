"""Snapshots and images: made, waited for with an eye on progress, unmade."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import Ec2Error, Ec2RetryableError, code_of
from bakery.drivers.shared.waiting import patience
from bakery.errors import DriverError, NotYet
from bakery.util.context import WorkContext
from bakery.util.waiting import until

AT_MOST = 24 * 3600.0


class Stall:
    """Notices when something makes no progress any more: waits are bounded by that, not by a fixed time.

    Args:
        what: what does not move.
        timeout: seconds without any change.
    """

    def __init__(self, what: str, timeout: float) -> None:
        self._what, self._timeout = what, timeout
        self._seen, self._since = "", time.monotonic()

    def look(self, progress: str) -> None:
        """Take note of the progress.

        Raises:
            DriverError: it has not changed for too long.
        """
        now = time.monotonic()
        if progress != self._seen:
            self._seen, self._since = progress, now
        elif now - self._since > self._timeout:
            raise DriverError(
                f"{self._what} makes no progress",
                why=f"{self._timeout:g} s without a change; it still says: {progress}",
                hint="Ec2(image_timeout=...) is the longest time without progress, in seconds",
            )


def wait_snapshot(cloud: Ec2Cloud, snapshot: str, work: WorkContext, timeout: float) -> None:
    """Wait until a snapshot is complete.

    Raises:
        DriverError: it failed, or stopped moving.
    """
    stall = Stall(f"the snapshot {snapshot}", timeout)

    def probe() -> None:
        with patience("AWS", stall.look):
            found = cloud.snapshots.get(snapshot)
        state, done = (found["State"], found.get("Progress", "")) if found else ("not visible yet", "")
        if state in {"error", "recoverable", "recovering"}:
            raise DriverError(f"the snapshot {snapshot} is in state {state}", why=found.get("StateMessage", ""))  # type: ignore[union-attr]  # a state means that it was found
        if state != "completed":
            stall.look(f"{state} {done}")
            raise NotYet(f"snapshot {snapshot}: {state} {done}".strip())

    until(probe, what="the snapshot is complete", timeout=AT_MOST, cancel=work.cancel, notify=work.waiting)


def wait_image(cloud: Ec2Cloud, image: str, work: WorkContext, timeout: float) -> dict[str, Any]:
    """Wait until an image can be used; return it as AWS describes it.

    Raises:
        DriverError: it failed, is gone, or stopped moving.
    """
    stall = Stall(f"the image {image}", timeout)

    def probe() -> dict[str, Any]:
        with patience("AWS", stall.look):
            found = cloud.images.get(image)
            state = found["State"] if found else "not visible yet"
            done = _progress(cloud, found) if found and state != "available" else ""
        if state in {"failed", "invalid", "error", "deregistered"}:
            reason = (found or {}).get("StateReason", {}).get("Message", "")
            raise DriverError(f"the image {image} is {state}", why=reason or "AWS gives no reason")
        if found is None or state != "available":
            stall.look(f"{state} {done}")
            raise NotYet(f"image {image} in {cloud.region}: {state} {done}".strip())
        return found

    return until(probe, what="the image is available", timeout=AT_MOST, cancel=work.cancel, notify=work.waiting)


def _progress(cloud: Ec2Cloud, image: Mapping[str, Any]) -> str:
    """How far its snapshots are; an image by itself says only that it is pending."""
    try:
        shown = [cloud.snapshots.get(one) for one in snapshots_of(image)]
    except NotYet:
        return ""
    return " ".join(str(one.get("Progress", "")) for one in shown if one)


def snapshots_of(image: Mapping[str, Any]) -> list[str]:
    """Return the ids of the snapshots that an image stands on."""
    disks = (mapping.get("Ebs", {}) for mapping in image.get("BlockDeviceMappings", []))
    return [disk["SnapshotId"] for disk in disks if disk.get("SnapshotId")]


def named(cloud: Ec2Cloud, name: str) -> list[dict[str, Any]]:
    """Return our own images of exactly this name, deprecated ones too; normally one or none."""
    found = cloud.pages(
        "describe_images", "Images", Owners=["self"], Filters=tags.filters({"name": name}), IncludeDeprecated=True
    )
    return [image for image in found if image.get("Name") == name]


def deregister(cloud: Ec2Cloud, image: str) -> None:
    """Deregister an image; one that is not there is well."""
    try:
        cloud.call("deregister_image", f"deregister the image {image}", ImageId=image)
    except Ec2Error as error:
        if not code_of(error).startswith("InvalidAMIID"):
            raise
    cloud.images.forget(image)


def delete_snapshot(cloud: Ec2Cloud, snapshot: str) -> None:
    """Delete a snapshot; one that is not there is well.

    Raises:
        Ec2RetryableError: an image that was just deregistered still counts as using it.
    """
    try:
        cloud.call("delete_snapshot", f"delete the snapshot {snapshot}", SnapshotId=snapshot)
    except Ec2Error as error:
        if code_of(error) == "InvalidSnapshot.InUse":
            again = Ec2RetryableError(error.what, why=error.why, hint=error.hint)
            again.code = code_of(error)
            raise again from error
        if code_of(error) != "InvalidSnapshot.NotFound":
            raise
