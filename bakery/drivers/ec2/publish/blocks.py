"""A raw disk as blocks: which are used, what they hold, what has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bakery.model import Artifact
from bakery.util import tools
from bakery.util.context import WorkContext

SIZE = 512 * 1024
"""Bytes of a block of the EBS direct APIs (docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html)."""
ZERO = bytes(SIZE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block.

    Args:
        index: its place, from 0.
        data: its content, always of full size.
    """

    index: int
    data: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return hashlib.sha256(self.data).digest()


def raw(artifact: Artifact, folder: Path, work: WorkContext) -> Path:
    """Return the image as a raw file: itself, or a sparse copy in `folder`.

    Raises:
        DriverError: qemu-img cannot read it.
    """
    if artifact.format == "raw":
        return artifact.path
    target = folder / "publish.raw"
    words = ["qemu-img", "convert", "-f", artifact.format, "-O", "raw", str(artifact.path), str(target)]
    tools.run(words, work, what=f"reading {artifact.path.name}", timeout=3 * 3600)
    return target


def used(disk: Path) -> Iterator[Block]:
    """Yield the blocks that hold anything but zeros, in order; holes of a sparse file are not even read."""
    size = disk.stat().st_size
    with disk.open("rb") as file:
        last = -1
        for start, end in _extents(file.fileno(), size):
            for index in range(max(start // SIZE, last + 1), -(-end // SIZE)):
                last = index
                file.seek(index * SIZE)
                data = file.read(SIZE).ljust(SIZE, b"\0")
                if data != ZERO:
                    yield Block(index=index, data=data)


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Return the parts of a file that are not holes (lseek(2), SEEK_DATA)."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            return  # nothing but a hole up to the end
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def current(disk: Path, parent: Mapping[int, str]) -> Iterator[Block]:
    """Yield the used blocks, and then, as the zeros that they have become, those that only a parent holds.

    Args:
        disk: the raw file.
        parent: hexadecimal digests of the parent's blocks.
    """
    seen: set[int] = set()
    for block in used(disk):
        seen.add(block.index)
        yield block
    for index in sorted(set(parent) - seen):
        yield Block(index=index, data=ZERO)


def aggregate(digests: Mapping[int, bytes]) -> bytes:
    """Return the digest over all digests in the order of their blocks: EBS's LINEAR aggregation."""
    return hashlib.sha256(b"".join(digests[index] for index in sorted(digests))).digest()
