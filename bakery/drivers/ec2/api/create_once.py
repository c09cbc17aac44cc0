"""Resources whose create call knows no client token: created once, even where the answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import Ec2RetryableError
from bakery.drivers.shared.create_once import create_once
from bakery.state.claim import Claim


def by_key(cloud: Ec2Cloud, kind: str, key: str) -> list[str]:
    """Return the ids of the resources that carry our key as a tag; normally one or none.

    Args:
        cloud: where.
        kind: `instance`, `security-group`, `snapshot`, `volume` or `image`.
        key: from the record.
    """
    operation, result, name = {
        "image": ("describe_images", "Images", "ImageId"),
        "instance": ("describe_instances", "Reservations", "InstanceId"),
        "security-group": ("describe_security_groups", "SecurityGroups", "GroupId"),
        "snapshot": ("describe_snapshots", "Snapshots", "SnapshotId"),
        "volume": ("describe_volumes", "Volumes", "VolumeId"),
    }[kind]
    owners: dict[str, Any] = {"Owners": ["self"]} if kind == "image" else {}
    found = cloud.pages(operation, result, Filters=tags.filters({f"tag:{tags.KEY}": key}), **owners)
    if kind == "instance":
        found = (machine for reservation in found for machine in reservation["Instances"])
    return [item[name] for item in found]


def make(cloud: Ec2Cloud, kind: str, key: str, claim: Claim, call: Callable[[], str]) -> str:
    """Create one resource and return its id.

    botocore would repeat a call whose answer was lost, and make a second one; here our key is looked for first.

    Args:
        cloud: where.
        kind: as in `by_key`.
        key: what the resource carries as a tag from its first moment; never its name, which may be another's.
        claim: whose cancellation ends the waiting.
        call: asks AWS once (`cloud.call(..., once=True)`).

    Raises:
        Ec2RetryableError: the last of several refusals.
    """
    return create_once(call, lambda: by_key(cloud, kind, key), claim, on=Ec2RetryableError)
