"""What is destroyed after what."""

from __future__ import annotations

from bakery.drivers.ec2.destroy import destroy_batches
from bakery.model import Resource


def thing(kind: str, key: str, **data: str) -> Resource:
    return Resource(driver="ec2", kind=kind, key=key, data=data)


def test_an_image_on_the_snapshots_of_another_goes_before_that_one() -> None:
    """AWS deletes no snapshot that an image stands on; who waits for that must not stand in front of the image."""
    made = [
        thing("security-group", "group"),
        thing("instance", "machine"),
        thing("snapshot", "disk"),
        thing("image", "tested", snapshots="apart"),
        thing("image", "copy", snapshots="own"),
        thing("image", "renamed copy", snapshots="apart"),
        thing("something new", "unknown"),
    ]
    assert [[one.key for one in wave] for wave in destroy_batches(made)] == [
        ["machine"],
        ["tested", "renamed copy"],
        ["copy"],
        ["disk"],
        ["group"],
        ["unknown"],
    ]
