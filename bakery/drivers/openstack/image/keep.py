"""From a tested image under a temporary name to the user's image: one request swaps the name in; then the old ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackAccount, OpenStackCloud, OpenStackClouds
from bakery.drivers.openstack.image import images
from bakery.drivers.openstack.source import OpenStack
from bakery.drivers.shared.retention import surplus
from bakery.errors import DriverError
from bakery.model import Artifact
from bakery.state.claim import Claim

if TYPE_CHECKING:
    from openstack.image.v2.image import Image


def keep(clouds: OpenStackClouds, artifact: Artifact, name: str, claim: Claim) -> Artifact:
    """Make the tested image the user's.

    Raises:
        DriverError: the cloud refused; nothing old was touched.
    """
    source = OpenStack.from_settings(artifact.settings["source"])
    cloud = clouds.of(artifact.settings).within(claim.cancel)
    image = artifact.id
    tested = images.wait_active(cloud, image, claim, source.image_timeout)
    data = {**artifact.data, "glance_name": name}
    if source.download:
        data["file"] = images.download(cloud, tested, name, claim)
    if source.members:
        images.change(cloud, image, {"visibility": "shared"})
        _share(clouds, cloud, source, image)
    images.change(cloud, image, _final(source, name, claim), gone=(*tags.TEMPORARY, tags.STEP, tags.NOTE))
    claim.commit()
    older(cloud, source, name, image, claim)
    return replace(artifact, name=name, size=tested.size, data=data)


def _final(source: OpenStack, name: str, claim: Claim) -> dict[str, Any]:
    """All that makes it the user's, in one request: there is no moment at which only half of it holds."""
    wanted = {"min_disk": source.min_disk, "min_ram": source.min_ram, "protected": source.protect or None}
    return {
        **source.properties,
        **{key: value for key, value in wanted.items() if value is not None},
        "visibility": source.shown,
        "tags": list(source.tags),
        tags.BUILD: claim.tags.get(tags.BUILD, ""),
        tags.IMAGE: name,
        "name": name,
    }


def _share(clouds: OpenStackClouds, cloud: OpenStackCloud, source: OpenStack, image: str) -> None:
    """Let the members in, and accept for those whose credentials we were given."""
    for member in source.members:
        images.share(cloud, image, member)
    for member, entry in source.accept.items():
        images.accept(clouds.get(OpenStackAccount(cloud=entry)), image, member)


def older(cloud: OpenStackCloud, source: OpenStack, name: str, new: str, claim: Claim) -> None:
    """Hide the older images of a name, or delete those beyond what stays. Only images that bakery made."""
    rule = source.old
    if not rule.hide and rule.newest is None:
        return
    others = _others(cloud, name, new)
    beyond = [] if rule.newest is None else surplus(others, lambda image: image.created_at, rule.newest, rule.days)
    for image in others:
        gone = image in beyond and _let_go(cloud, source, image, claim)
        if not gone and rule.hide and not image.is_hidden and not rule.dry_run:
            images.change(cloud, image.id, {"os_hidden": True})


def _others(cloud: OpenStackCloud, name: str, new: str) -> list[Image]:
    """Return the other kept images of the name, hidden ones too (Glance lists them only when asked)."""
    listed = [
        image
        for hidden in (False, True)
        for image in resources.list_all(cloud, "image", is_hidden=hidden, owner=cloud.project, **{tags.IMAGE: name})
    ]
    return [image for image in listed if image.id != new and not images.properties_of(image).get(tags.EXPIRES)]


def _let_go(cloud: OpenStackCloud, source: OpenStack, old: Image, claim: Claim) -> bool:
    """Delete an old image, unless it is in use or protected; say which it was. Return whether it went."""
    rule = source.old
    used = users(cloud, old.id) if rule.in_use == "refuse" else []
    if used or old.is_protected:
        claim.notice(
            f"the old image {old.id} stays: " + (f"it is in use by {', '.join(used)}" if used else "it is protected"),
            hint="OpenStack(old=Old(in_use='delete')) deletes it all the same" if used else "",
            warning=True,
        )
        return False
    if rule.dry_run:
        claim.notice(f"the old image {old.id} of {old.created_at} would go")
        return True
    images.delete(cloud, old.id)
    claim.notice(f"the old image {old.id} of {old.created_at} is gone")
    return True


def users(cloud: OpenStackCloud, image: str) -> list[str]:
    """Return the servers of the project that run from an image."""
    return [f"server {server.name} ({server.id})" for server in resources.list_all(cloud, "server", image=image)]


def delete(cloud: OpenStackCloud, artifact: Artifact) -> None:
    """Delete a kept image, with the snapshots that hold its data.

    Raises:
        DriverError: servers use it, or it is protected.
    """
    used = users(cloud, artifact.id)
    if used:
        raise DriverError(f"the image {artifact.id} is in use", why=", ".join(used))
    image: Image | None = resources.get(cloud, "image", artifact.id)
    if image and image.is_protected:
        raise DriverError(
            f"the image {artifact.id} is protected", hint=f"openstack image set --unprotect {artifact.id}"
        )
    images.delete(cloud, artifact.id)
