"""qemu-img: overlays, and the conversion that makes an image out of a machine's disk."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bakery.errors import DriverError
from bakery.model import Problem
from bakery.util import tools
from bakery.util.context import WorkContext

Format: TypeAlias = Literal["qcow2", "raw"]
Compression: TypeAlias = Literal["zstd", "zlib", "none"]
PACKAGES = {"qemu-img": "qemu-utils"}
BLOCK = 4096
"""Bytes: the block size of ext4 and XFS as they are usually made."""
COMPRESSION_TYPE = 104
"""In a qcow2 header: one byte, 1 for zstd; 0, or no such byte, for zlib."""
ZSTD = b"\1"
CLUSTER = 65536
"""Bytes: qemu-img's own choice for the images that it writes."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """What qemu-img says about a disk.

    Args:
        format: `qcow2`, `raw`, ...
        virtual: bytes that a guest sees.
        actual: bytes that the file takes on its disk.
        backing: the file that it stands on, as its header says.
    """

    format: str
    virtual: int
    actual: int
    backing: Path | None = None


def info(path: Path, format: Format | None, work: WorkContext) -> Info:  # noqa: A002  qemu-img's word
    """Look at a disk, also one that a machine is writing to.

    Args:
        path: the disk.
        format: of it; None to guess, which is for disks that no guest ever wrote to.
        work: can cancel it.

    Raises:
        DriverError: it is not there, or no disk.
    """
    words: list[str | Path] = ["qemu-img", "info", "--force-share", "--output=json"]
    words += ["-f", format] if format else []
    said = json.loads(tools.run([*words, path], work, what=f"looking at {path.name}", timeout=60))
    backing = said.get("full-backing-filename") or said.get("backing-filename")
    return Info(
        format=said["format"],
        virtual=said["virtual-size"],
        actual=said.get("actual-size", 0),
        backing=Path(backing) if backing else None,
    )


def overlay(
    path: Path,
    *,
    base: Path,
    format: Format,  # noqa: A002  the same
    size: int,
    work: WorkContext,
    cluster: int = BLOCK,
) -> None:
    """Make an empty qcow2 disk that shows `base` wherever it was not written to.

    Its clusters are as small as a file system's blocks: QEMU gives back only whole ones, and a deleted file of one
    block would stay in the image for as long as its neighbours do.

    Args:
        path: the file to make.
        base: what it stands on; not opened here, so that it may be in use, or not be there yet.
        format: the base's format; never guessed, because a guest can write any header into a raw disk.
        size: bytes that a guest sees; more than the base has is allowed.
        work: can cancel it.
        cluster: bytes of its clusters.
    """
    words: list[str | Path] = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", format, "-b", base.absolute()]
    words += ["-o", f"cluster_size={cluster}"]
    tools.run([*words, path, str(size)], work, what=f"making {path.name}", timeout=60)
    path.chmod(0o600)


def create(path: Path, *, size: int, work: WorkContext, cluster: int = BLOCK) -> None:
    """Make an empty qcow2 disk that stands on nothing.

    Args:
        path: the file to make.
        size: bytes that a guest sees.
        work: can cancel it.
        cluster: bytes of its clusters, as for `overlay`.
    """
    words: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", path]
    tools.run([*words, str(size)], work, what=f"making {path.name}", timeout=60)
    path.chmod(0o600)


def described(path: Path, format: str) -> dict[str, Any]:  # noqa: A002  qemu-img's word
    """Describe a disk file, with what it stands on, as QEMU's block layer does, for `convert`."""
    return {"driver": format, "file": {"driver": "file", "filename": str(path)}}


def convert(
    source: Mapping[str, Any],
    to: Path,
    *,
    format: Format,  # noqa: A002  the same
    work: WorkContext,
    compression: Compression = "zstd",
) -> None:
    """Write a disk, with all that it stands on, as one file: only what is used, qcow2 compressed.

    Args:
        source: a disk that no machine writes to, as QEMU's block layer describes it (BlockdevOptions in the QMP
            reference); see `described`.
        to: the file to make; readable by others, as images are.
        format: of the new file. Raw files are sparse.
        work: can cancel it.
        compression: of a qcow2 file: QEMU 5.1 reads `zstd` where it was built with it, every QEMU reads the others.
    """
    words: list[str | Path] = ["qemu-img", "convert", "-O", format, "-W", "-m", _coroutines()]
    # The cache of the new file is the host's, so that hashing it right afterwards does not read the disk.
    words += ["-T", "unsafe", "-t", "unsafe"]
    if format == "qcow2" and compression != "none":
        words += ["-c", *(("-o", "compression_type=zstd") if compression == "zstd" else ())]
    tools.run([*words, f"json:{json.dumps(source)}", to], work, what=f"writing {to.name}", timeout=3 * 3600)


def check(format: str, compression: str) -> Iterator[Problem]:  # noqa: A002  the same
    """Yield what keeps qemu-img from writing such an image: Debian 11's, for one, is built without zstd."""
    if format != "qcow2" or compression != "zstd" or shutil.which("qemu-img") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", f"{folder}/probe", "1M"]
        try:
            tools.run(words, WorkContext(cache=Path()), what="trying zstd", timeout=60)
        except DriverError as error:
            yield Problem(
                what="this host's qemu-img writes no images with zstd",
                why=error.why,
                hint='compression="zlib" in the source',
            )


def is_zstd(path: Path) -> bool:
    """Say whether a file is a qcow2 image that only a QEMU with zstd reads (docs/interop/qcow2.txt)."""
    with path.open("rb") as file:
        head = file.read(COMPRESSION_TYPE + 1)
    return head.startswith(b"QFI\xfb") and head[4:8] > b"\0\0\0\2" and head[COMPRESSION_TYPE:] == ZSTD


def changes(overlay: Path, to: Path, *, base: Path, work: WorkContext) -> None:
    """Write what an overlay says itself as a compressed qcow2 file that stands on the same base.

    Args:
        overlay: qcow2, standing on `base`; no machine writes to it.
        to: the file to make.
        base: qcow2.
        work: can cancel it.
    """
    words: list[str | Path] = ["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-W", "-m", _coroutines()]
    words += ["-T", "unsafe", "-t", "unsafe", "-c", "-o", "compression_type=zstd", "-B", base, "-F", "qcow2"]
    tools.run([*words, overlay, to], work, what=f"writing {to.name}", timeout=3600)


def _coroutines() -> str:
    """Say how many parts qemu-img works on at once: it allows 16, and more than the cores gain nothing."""
    return str(max(2, min(16, 2 * (os.cpu_count() or 1))))
