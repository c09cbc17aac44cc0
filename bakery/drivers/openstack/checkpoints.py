"""Checkpoints: images of the running machine, with the key of the last step inside; found again from any host."""

from __future__ import annotations

from typing import Any

from bakery.claim import Claim
from bakery.drivers.openstack import capture, images, tags, things
from bakery.drivers.openstack.cloud import Cloud
from bakery.drivers.openstack.faults import RefusedForNow
from bakery.drivers.openstack.source import OpenStack
from bakery.model import Checkpoint, Handle

TAG = "bakery-checkpoint"


def save(cloud: Cloud, handle: Handle, key: str, claim: Claim) -> Checkpoint:
    """Make an image of the machine as it runs, wait until it can be used, and delete the build's older ones."""
    source = OpenStack.from_settings(handle.settings["source"])
    step = key[: tags.LONGEST]
    intent, found = capture.snapshot(cloud, handle.id, source, claim, {tags.STEP: step})
    marks = {"tags": [TAG], "name": f"bakery-step-{step}"[: tags.LONGEST]}
    images.patch(cloud, found["id"], marks, gone=tags.TEMPORARY)
    intent.keep()
    _prune(cloud, claim, source.keep_checkpoints)
    return _checkpoint(cloud, source, key, found["id"])


def _prune(cloud: Cloud, claim: Claim, newest: int) -> None:
    """Delete what is beyond the newest; one that is in use stays for the next time."""
    for old in kept(cloud, claim.tags[tags.BUILD])[newest:]:
        try:
            images.delete(cloud, old["id"])
        except RefusedForNow as error:
            claim.notice(f"the old checkpoint {old['id']} stays: {error.why}")


def recall(cloud: Cloud, source: OpenStack, key: str) -> Checkpoint | None:
    """Return the checkpoint of a step's key, whoever made it in this project; None where there is none."""
    found = _listed(cloud, **{tags.STEP: key[: tags.LONGEST]})
    return _checkpoint(cloud, source, key, found[0]["id"]) if found else None


def kept(cloud: Cloud, build: str) -> list[dict[str, Any]]:
    """Return the checkpoints of a build, newest first."""
    return _listed(cloud, **{tags.BUILD: build[: tags.LONGEST]})


def _listed(cloud: Cloud, **marks: str) -> list[dict[str, Any]]:
    found = things.every(cloud, "image", tag=TAG, owner=cloud.project, status=images.ACTIVE, **marks)
    return sorted(found, key=lambda image: (image["created_at"], image["id"]), reverse=True)


def _checkpoint(cloud: Cloud, source: OpenStack, key: str, image: str) -> Checkpoint:
    settings = {"source": source.settings(), **cloud.record, "image": image}
    return Checkpoint(driver="openstack", key=key, settings=settings)
