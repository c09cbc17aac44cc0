"""What a manifest says of an image of several disks."""

from __future__ import annotations

from bakery.build.manifest import _disk
from bakery.model import Artifact


def test_a_further_disk_is_named_with_its_file_and_digest() -> None:
    told = {"name": "disk2", "size": 7, "sha256": "ab", "mtime": 1}
    image = Artifact(driver="qemu", id="/i/web.qcow2", name="web", format="qcow2", data={"disks": [told]})
    assert _disk(image, told) == {"name": "disk2", "id": "/i/web.disk2.qcow2", "size": 7, "sha256": "ab"}
