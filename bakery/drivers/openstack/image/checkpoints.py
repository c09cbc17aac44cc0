"""Checkpoints: images of the running machine, with the key of the last step inside; found again from any host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bakery.drivers.openstack.api import resources, tags
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.api.errors import OpenStackRetryableError
from bakery.drivers.openstack.image import capture, images
from bakery.drivers.openstack.source import OpenStack
from bakery.model import Checkpoint, Handle
from bakery.state.claim import Claim

if TYPE_CHECKING:
    from openstack.image.v2.image import Image

TAG = "bakery-checkpoint"
MOST = 60_000
"""Characters of a property's value: Glance keeps it in a column of 65,535 bytes."""


def save(cloud: OpenStackCloud, handle: Handle, key: str, claim: Claim) -> Checkpoint:
    """Make an image of the machine as it runs, wait until it can be used, and delete the build's older ones."""
    source = OpenStack.from_settings(handle.settings["source"])
    step = key[: tags.LONGEST]
    intent, image = capture.snapshot(cloud, handle.id, source, claim, {tags.STEP: step})
    note = {tags.NOTE: claim.note} if 0 < len(claim.note) <= MOST else {}
    changes = {"tags": [TAG], "name": f"bakery-step-{step}"[: tags.LONGEST], **note}
    images.change(cloud, image.id, changes, gone=tags.TEMPORARY)
    intent.keep()
    _prune(cloud, claim, source.keep_checkpoints)
    return _checkpoint(cloud, source, key, image.id)


def _prune(cloud: OpenStackCloud, claim: Claim, newest: int) -> None:
    """Delete what is beyond the newest; one that is in use stays for the next time."""
    for old in kept(cloud, claim.tags[tags.BUILD])[newest:]:
        try:
            images.delete(cloud, old.id)
        except OpenStackRetryableError as error:
            claim.notice(f"the old checkpoint {old.id} stays: {error.why}")


def list_checkpoints(cloud: OpenStackCloud, source: OpenStack, build: str) -> Iterator[tuple[Checkpoint, str]]:
    """Yield the checkpoints of a build, whoever made them in this project, each with its note."""
    for image in kept(cloud, build):
        properties = images.properties_of(image)
        yield _checkpoint(cloud, source, properties[tags.STEP], image.id), properties.get(tags.NOTE, "")


def kept(cloud: OpenStackCloud, build: str) -> list[Image]:
    """Return the checkpoints of a build, newest first."""
    marks = {tags.BUILD: build[: tags.LONGEST]}
    listed: list[Image] = resources.list_all(
        cloud, "image", tag=TAG, owner=cloud.project, status=images.ACTIVE, **marks
    )
    return sorted(listed, key=lambda image: (image.created_at, image.id), reverse=True)


def _checkpoint(cloud: OpenStackCloud, source: OpenStack, key: str, image: str) -> Checkpoint:
    settings = {"source": source.settings(), **cloud.record, "image": image}
    return Checkpoint(driver="openstack", key=key, settings=settings)
