"""Who may use an image, and how long it is offered: the last things done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.source import Ec2


def finish(cloud: Ec2Cloud, source: Ec2, image: str, snapshots: Iterable[str]) -> None:
    """Set the date, the protection and, last of all, the sharing of an image."""
    if source.deprecate_after is not None:
        date = datetime.now(UTC) + timedelta(days=source.deprecate_after)
        cloud.call("enable_image_deprecation", "set the date of deprecation", ImageId=image, DeprecateAt=date)
    if source.protect:
        cooldown = source.protect == "cooldown"
        what = "protect the image"
        cloud.call("enable_image_deregistration_protection", what, ImageId=image, WithCooldown=cooldown)
    if source.product_codes:
        codes = list(source.product_codes)
        cloud.call("modify_image_attribute", "set the product codes", ImageId=image, ProductCodes=codes)
    if not source.share_with:
        return
    accounts = [who for who in source.share_with if who.isdigit()]
    if source.share_snapshots and accounts:
        for snapshot in snapshots:
            _share_snapshot(cloud, snapshot, accounts)
    permissions = [permission(who) for who in source.share_with]
    cloud.call("modify_image_attribute", "share the image", ImageId=image, LaunchPermission={"Add": permissions})


def permission(who: str) -> dict[str, str]:
    """Return one launch permission: for an account, everybody, an organisation or a unit of one."""
    if who == "all":
        return {"Group": "all"}
    if who.isdigit():
        return {"UserId": who}
    return {"OrganizationalUnitArn" if ":ou/" in who else "OrganizationArn": who}


def _share_snapshot(cloud: Ec2Cloud, snapshot: str, accounts: list[str]) -> None:
    cloud.call(
        "modify_snapshot_attribute",
        "share the snapshot",
        SnapshotId=snapshot,
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=accounts,
    )


def kept_tags(source: Ec2, name: str, marks: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a kept image: the user's, its name, and which build made it; no date of expiry."""
    build = {tags.BUILD: marks[tags.BUILD]} if tags.BUILD in marks else {}
    return {"Name": name, **build, **source.tags, tags.IMAGE: name}


def retag(cloud: Ec2Cloud, things: Iterable[str], marks: Mapping[str, str]) -> None:
    """Give things the tags of something kept, and take those of something temporary away."""
    ids = list(things)
    if not ids:
        return
    cloud.call("create_tags", "tag what is kept", Resources=ids, Tags=tags.listed(marks))
    gone: list[dict[str, Any]] = [{"Key": key} for key in tags.TEMPORARY]
    cloud.call("delete_tags", "tag what is kept", Resources=ids, Tags=gone)
