"""Making things whose create call knows no client token: made once, even where the answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import Ec2RetryableError
from bakery.state.claim import Claim
from bakery.util.retry import retry

ATTEMPTS = 6


def by_key(cloud: Ec2Cloud, kind: str, key: str) -> list[str]:
    """Return the ids of the things that carry our key as a tag; normally one or none.

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
    """Make one thing and return its id.

    botocore would repeat a call whose answer was lost, and make a second thing; here we look for our key first.

    Args:
        cloud: where.
        kind: as in `by_key`.
        key: what the thing carries as a tag from its first moment; never its name, which may be another's.
        claim: whose cancellation ends the waiting.
        call: asks AWS once (`cloud.call(..., once=True)`).

    Raises:
        Ec2RetryableError: the last of several refusals.
    """
    asked = False

    def ask() -> str:
        nonlocal asked
        found = by_key(cloud, kind, key) if asked else []
        asked = True
        return found[0] if found else call()

    def say(_: int, error: BaseException) -> None:
        claim.waiting(f"{error}, trying again")

    return retry(ask, claim.cancel, on=Ec2RetryableError, attempts=ATTEMPTS, first=0.5, say=say)
