"""Checkpoints: images of a running machine, tagged with the key of the last step inside.

They cost money, so they are made only where a task asks for one. Their name is their key: two builds cannot make
the same one twice, and one that was made before its builder was killed is found again, from any host.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import Ec2Error, code_of
from bakery.drivers.ec2.image import images, retire
from bakery.drivers.ec2.source import Ec2
from bakery.model import Checkpoint, Handle
from bakery.state.claim import Claim

TAKEN = "InvalidAMIName.Duplicate"
MOST = 50
"""Tags of one thing (docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html)."""


def save(cloud: Ec2Cloud, handle: Handle, key: str, claim: Claim) -> Checkpoint:
    """Make an image of the machine as it runs, crash-consistent; wait until it can be used, then prune older ones."""
    source = Ec2.from_settings(handle.settings["source"])
    marks = {"Name": title(key), **source.run_tags, tags.STEP: key, tags.BUILD: claim.build}
    noted = tags.split(tags.NOTE, claim.note, MOST - len(marks))
    if claim.note and not noted:
        claim.notice("the checkpoint reads more than its tags can say: only this host finds it again")
    marks |= noted
    try:
        answer = cloud.call(
            "create_image",
            "make a checkpoint",
            once=True,
            InstanceId=handle.id,
            Name=title(key),
            NoReboot=True,
            Description=f"checkpoint of {claim.build}",
            TagSpecifications=tags.specification(marks, "image", "snapshot"),
        )
        image = str(answer["ImageId"])
    except Ec2Error as error:
        found = images.named(cloud, title(key)) if code_of(error) == TAKEN else []
        if not found:
            raise
        image = str(found[0]["ImageId"])
    images.wait_image(cloud, image, claim, source.image_timeout)
    prune(cloud, claim.build, source.keep_checkpoints)
    return _checkpoint(cloud, source, key, image)


def list_checkpoints(cloud: Ec2Cloud, source: Ec2, build: str) -> Iterator[tuple[Checkpoint, str]]:
    """Yield the checkpoints of a build that can be used, whoever made them, each with its note."""
    for image in kept(cloud, build):
        marks = tags.read(image)
        if image["State"] == "available":
            yield _checkpoint(cloud, source, marks[tags.STEP], str(image["ImageId"])), tags.joined(tags.NOTE, marks)


def _checkpoint(cloud: Ec2Cloud, source: Ec2, key: str, image: str) -> Checkpoint:
    settings = {"source": source.settings(), **cloud.record, "region": cloud.region, "image": image}
    return Checkpoint(driver="ec2", key=key, settings=settings)


def title(key: str) -> str:
    """Return the image's name."""
    return f"bakery-step-{key}"[:128]


def kept(cloud: Ec2Cloud, build: str) -> list[dict[str, Any]]:
    """Return the checkpoints of a build, newest first."""
    found = cloud.pages(
        "describe_images",
        "Images",
        Owners=["self"],
        Filters=tags.filters({"tag-key": tags.STEP, f"tag:{tags.BUILD}": build}),
    )
    return sorted(found, key=lambda image: image["CreationDate"], reverse=True)


def prune(cloud: Ec2Cloud, build: str, newest: int) -> list[str]:
    """Delete a build's checkpoints but the newest; return the ids of those that went."""
    gone = [str(image["ImageId"]) for image in kept(cloud, build)[newest:]]
    for image in gone:
        retire.remove(cloud, image)
    return gone
