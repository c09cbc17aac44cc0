"""Images of the folder cloud as disk files beside the imagefile, where drivers of this host have theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bakery.disk import image_files, qemuimg
from bakery.disk.qemuimg import Format
from bakery.model import Artifact
from bakery.state.claim import Claim
from bakery.util import tools
from bakery.util.sparse_files import digest

SIZE = "24M"
"""Enough for busybox and what a test writes."""


def write_disk(tree: Path, artifact: Artifact, disk: Format, claim: Claim) -> Artifact:
    """Write an image of the cloud as one disk file as well, and return it under the file's path.

    Args:
        tree: the image's archive.
        artifact: the image in the cloud.
        disk: the file's format.
        claim: for the file.
    """

    def written(path: Path) -> str:
        with TemporaryDirectory(dir=claim.folder) as name:
            root, raw = Path(name) / "root", Path(name) / "disk.raw"
            root.mkdir()
            tools.run(["tar", "-C", root, "-xf", tree], claim, what="unpacking the image", timeout=60)
            words = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(raw), SIZE]
            tools.run(words, claim, what="making a file system", timeout=60)
            source = {"driver": "raw", "file": {"driver": "file", "filename": str(raw)}}
            qemuimg.convert(source, path, format=disk, work=claim)
        return digest(path, "sha256", claim)

    settings = {**artifact.settings, "image": artifact.id}
    return replace(
        image_files.make(written, artifact.name, format=disk, settings=settings, claim=claim), driver=artifact.driver
    )
