"""Unmaking, from the record alone: by id where one is known, and by our key in any case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.create_once import by_key
from bakery.drivers.ec2.api.errors import Ec2Error, Ec2RetryableError, code_of
from bakery.drivers.ec2.image import images
from bakery.drivers.ec2.machine import instance_profile, ssm
from bakery.drivers.ec2.publish import imports
from bakery.drivers.shared.waiting import until_gone
from bakery.errors import DriverError, NotYet, RetryableError
from bakery.model import Resource

BORROWER = "image on snapshots of others"
"""An image that was registered from snapshots which another record takes: perhaps that of the image they came with."""
WAVES = (
    ("tunnel",),
    ("instance",),
    (BORROWER,),
    ("image",),
    ("import", "snapshot", "volume", "s3-object"),
    ("security-group", "key-pair", "instance-profile"),
    ("role",),
)
"""What goes after what: what stands on something goes before it, what does not may go at the same time."""


def destroy_batches(resources: Sequence[Resource]) -> list[list[Resource]]:
    """Say what is destroyed after what; kinds that this version does not know come last, one by one."""
    known = [[one for one in resources if _sort(one) in kinds] for kinds in WAVES]
    named = {kind for kinds in WAVES for kind in kinds}
    return [wave for wave in known if wave] + [[one] for one in reversed(resources) if one.kind not in named]


def _sort(resource: Resource) -> str:
    """Its kind, but for what `WAVES` tells apart."""
    return BORROWER if resource.kind == "image" and resource.data.get("snapshots") == "apart" else resource.kind


def destroy(cloud: Ec2Cloud, resource: Resource) -> None:
    """Destroy one thing; return when it is gone.

    Raises:
        DriverError: it is still there; `RetryableError` where asking again may help.
    """
    kinds: dict[str, Callable[[Ec2Cloud, Resource], None]] = {
        "instance": _instances,
        "security-group": _groups,
        "snapshot": _snapshots,
        "image": _images,
        "volume": _volumes,
        "key-pair": _key_pair,
        "instance-profile": lambda cloud, resource: instance_profile.delete_profile(cloud, resource.key),
        "s3-object": _object,
        "import": imports.destroy,
        "tunnel": lambda _, resource: ssm.close(Path(resource.data["folder"])),
        "role": lambda cloud, resource: instance_profile.delete_role(cloud, resource.key),
    }
    if resource.kind not in kinds:
        raise DriverError(f"{resource} is of a kind that this version does not know")
    kinds[resource.kind](cloud, resource)


def _ids(cloud: Ec2Cloud, resource: Resource) -> list[str]:
    """By our key, so that a second one whose answer was lost goes too; and by id, should the tag be missing."""
    known = [] if resource.id in (None, resource.key) else [str(resource.id)]
    return list(dict.fromkeys([*known, *by_key(cloud, resource.kind, resource.key)]))


def _instances(cloud: Ec2Cloud, resource: Resource) -> None:
    if resource.data.get("spot"):
        _cancel_spot(cloud, resource)
    ids = _ids(cloud, resource)
    for one in ids:
        _terminate(cloud, one)
    for one in ids:
        _wait(f"the instance {one} ends", lambda one=one: _ended(cloud, one))  # type: ignore[misc]  # a bound default


def _terminate(cloud: Ec2Cloud, instance: str) -> None:
    found = cloud.instances.now(instance)
    if found and found["State"]["Name"] == "terminated":
        return
    try:
        cloud.call("terminate_instances", f"end the instance {instance}", InstanceIds=[instance])
    except Ec2Error as error:
        if not code_of(error).startswith("InvalidInstanceID"):
            raise
    cloud.instances.forget(instance)


def _ended(cloud: Ec2Cloud, instance: str) -> None:
    found = cloud.instances.get(instance)
    if found and found["State"]["Name"] != "terminated":
        raise NotYet(f"instance {instance} is {found['State']['Name']}")


def _cancel_spot(cloud: Ec2Cloud, resource: Resource) -> None:
    """First the request: a persistent one would start the machine again."""
    found = cloud.pages(
        "describe_spot_instance_requests",
        "SpotInstanceRequests",
        Filters=tags.filters({f"tag:{tags.KEY}": resource.key}),
    )
    ids = {request["SpotInstanceRequestId"] for request in found if request["State"] in {"open", "active", "disabled"}}
    if resource.data.get("spot_request"):
        ids.add(resource.data["spot_request"])
    if not ids:
        return
    try:
        cloud.call("cancel_spot_instance_requests", "cancel the spot request", SpotInstanceRequestIds=sorted(ids))
    except Ec2Error as error:
        if not code_of(error).startswith("InvalidSpotInstanceRequestID"):
            raise


def _groups(cloud: Ec2Cloud, resource: Resource) -> None:
    for one in _ids(cloud, resource):
        try:
            cloud.call("delete_security_group", f"delete the security group {one}", GroupId=one)
        except Ec2Error as error:
            if code_of(error) == "DependencyViolation":
                again = Ec2RetryableError(error.what, why=error.why, hint="what uses it must go first")
                raise again from error
            if code_of(error) != "InvalidGroup.NotFound":
                raise


def _snapshots(cloud: Ec2Cloud, resource: Resource) -> None:
    for one in _ids(cloud, resource):
        images.delete_snapshot(cloud, one)


def _images(cloud: Ec2Cloud, resource: Resource) -> None:
    """Deregister; the snapshots go too where CreateImage or CopyImage made them."""
    own = resource.data.get("snapshots") == "own"
    orphans: set[str] = set(by_key(cloud, "snapshot", resource.key)) if own else set()
    orphans.update(resource.data.get("holds", []))
    for one in _ids(cloud, resource):
        found = cloud.images.now(one) if own else None
        if found:
            orphans.update(images.snapshots_of(found))
        images.deregister(cloud, one)
    for snapshot in sorted(orphans):
        _wait(f"the snapshot {snapshot} is gone", lambda one=snapshot: _free(cloud, one))  # type: ignore[misc]  # a bound default


def _free(cloud: Ec2Cloud, snapshot: str) -> None:
    try:
        images.delete_snapshot(cloud, snapshot)
    except RetryableError as error:
        raise NotYet(error.why) from error


def _volumes(cloud: Ec2Cloud, resource: Resource) -> None:
    for one in _ids(cloud, resource):
        _wait(f"the volume {one} is gone", lambda one=one: _detached(cloud, one))  # type: ignore[misc]  # a bound default


def _detached(cloud: Ec2Cloud, volume: str) -> None:
    try:
        cloud.call("delete_volume", f"delete the volume {volume}", VolumeId=volume)
    except Ec2Error as error:
        if code_of(error) == "VolumeInUse":
            raise NotYet(error.why) from error
        if code_of(error) != "InvalidVolume.NotFound":
            raise


def _key_pair(cloud: Ec2Cloud, resource: Resource) -> None:
    """By name; AWS says yes also when there is none."""
    cloud.call("delete_key_pair", "delete the key pair", KeyName=resource.key)


def _object(cloud: Ec2Cloud, resource: Resource) -> None:
    """Delete an upload; S3 says yes also when there is none."""
    bucket, path = resource.data["bucket"], resource.data["path"]
    cloud.call("delete_object", "delete the upload", service="s3", Bucket=bucket, Key=path)


def _wait(what: str, probe: Callable[[], Any]) -> None:
    until_gone(what, probe, every=(0.05, 5.0))
