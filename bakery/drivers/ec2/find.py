"""Finding what carries our tags, without a journal: for `bake gc --driver ec2 --older-than 6h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.shared.marks import is_older
from bakery.model import Resource, Where

ENDED = {"terminated", "shutting-down"}
KINDS: tuple[tuple[str, str, str, str], ...] = (
    ("security-group", "describe_security_groups", "SecurityGroups", "GroupId"),
    ("key-pair", "describe_key_pairs", "KeyPairs", "KeyPairId"),
    ("volume", "describe_volumes", "Volumes", "VolumeId"),
    ("snapshot", "describe_snapshots", "Snapshots", "SnapshotId"),
    ("image", "describe_images", "Images", "ImageId"),
    ("instance", "describe_instances", "Reservations", "InstanceId"),
)
"""In the order of making, as `undo` goes backwards: machines first, then images, then what those stood on."""


def find(cloud: Ec2Cloud, where: Where) -> Iterator[Resource]:
    """Yield a record for everything temporary that we made here and that fits."""
    for kind, operation, result, name in KINDS:
        owner: dict[str, Any] = (
            {"Owners": ["self"]} if kind == "image" else {"OwnerIds": ["self"]} if kind == "snapshot" else {}
        )
        items = cloud.pages(operation, result, Filters=_filters(where), **owner)
        if kind == "instance":
            items = (machine for reservation in items for machine in reservation["Instances"])
        for item in items:
            if _temporary(item, where):
                yield _record(cloud, kind, str(item[name]), item)
    yield from _profiles(cloud, where)


def _filters(where: Where) -> list[dict[str, Any]]:
    return tags.filters({f"tag:{tags.RUN}": where.run} if where.run else {"tag-key": tags.RUN})


def _temporary(item: Mapping[str, Any], where: Where) -> bool:
    """Tell what is to go from a kept image, which lost its date of expiry, and from an ended machine."""
    marks = tags.read(item)
    state = item.get("State")
    if tags.EXPIRES not in marks or (isinstance(state, Mapping) and state.get("Name") in ENDED):
        return False
    return is_older(marks.get(tags.STARTED, ""), where.older_than, undated=True)


def _record(cloud: Ec2Cloud, kind: str, name: str, item: Mapping[str, Any]) -> Resource:
    marks = tags.read(item)
    data: dict[str, Any] = dict(cloud.record)
    if item.get("SpotInstanceRequestId"):
        data |= {"spot": True, "spot_request": item["SpotInstanceRequestId"]}
    key = marks.get(tags.KEY, name)
    if kind == "key-pair":
        key = item["KeyName"]
    return Resource(
        driver="ec2", kind=kind, key=key, id=name, run=marks[tags.RUN], build=marks.get(tags.BUILD, ""), data=data
    )


def _profiles(cloud: Ec2Cloud, where: Where) -> Iterator[Resource]:
    """Roles and profiles cannot be filtered by tag: they are found by our names."""
    for kind, operation, result, name in (
        ("role", "list_roles", "Roles", "RoleName"),
        ("instance-profile", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    ):
        for item in cloud.pages(operation, result, service="iam"):
            if not item[name].startswith("bakery-") and "bakery" not in item[name]:
                continue
            marks = _iam_tags(cloud, kind, item[name])
            if tags.RUN in marks and (where.run in (None, marks[tags.RUN])):
                described = {"Tags": tags.listed(marks)}
                if _temporary(described, where):
                    yield _record(cloud, kind, item[name], described)


def _iam_tags(cloud: Ec2Cloud, kind: str, name: str) -> dict[str, str]:
    asked: dict[str, Any] = {"RoleName": name} if kind == "role" else {"InstanceProfileName": name}
    operation = "list_role_tags" if kind == "role" else "list_instance_profile_tags"
    return tags.read(cloud.call(operation, service="iam", **asked))
