"""Disk images as files in the cache: unpacked, recognised, recorded, and known to be unchanged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Literal, cast

from bakery.disk.bases.checksum import Checksum
from bakery.errors import DriverError, PreflightError
from bakery.model import Problem
from bakery.util.context import WorkContext
from bakery.util.files import replacing, write_whole
from bakery.util.sparse_files import copy_sparse, digest, disk_space
from bakery.util.tools import reading

PACKED = (".gz", ".bz2", ".xz", ".zst")


def unpacked_name(name: str) -> str:
    """`disk.raw.xz` unpacks to `disk.raw`."""
    return Path(name).stem if name.endswith(PACKED) else name


def check_unpacker(name: str) -> Iterator[Problem]:
    """Yield what is missing to unpack a file of this name."""
    if name.endswith(".zst") and shutil.which("zstd") is None:
        yield Problem(what=f"{name} needs zstd to be unpacked", hint="apt install zstd")


def unpack(packed: Path, to: Path, work: WorkContext) -> None:
    """Unpack by the name's ending, leaving holes for zeros, and delete the packed file; or do nothing.

    Raises:
        PreflightError: it is damaged, or the disk is full.
    """
    if packed == to:
        return
    for problem in check_unpacker(packed.name):
        raise PreflightError(problem.what, hint=problem.hint)
    part = to.with_name(to.name + ".part")
    try:
        with disk_space(to.parent), replacing(to, temporary=part) as out, _opened(packed) as source:
            copy_sparse(source, out, work, what=f"unpacking {packed.name}")
    except (OSError, EOFError, lzma.LZMAError, zlib.error, DriverError) as error:
        why = error.why if isinstance(error, DriverError) else str(error)
        raise PreflightError(f"{packed.name} cannot be unpacked", why=why) from error
    packed.unlink()


def _opened(packed: Path) -> AbstractContextManager[IO[bytes]]:
    match packed.suffix:
        case ".gz":
            return cast("IO[bytes]", gzip.open(packed))
        case ".bz2":
            return cast("IO[bytes]", bz2.open(packed))
        case ".xz":
            return cast("IO[bytes]", lzma.open(packed))
        case _:
            words = ("zstd", "--decompress", "--stdout", "--quiet", "--", packed)
            return reading(words, what=f"unpacking {packed.name}")


def detect(path: Path) -> Literal["qcow2", "raw"]:
    """Recognise a disk by its content, and refuse one that would make QEMU open other files of this host.

    The layout of the header is from QEMU's docs/interop/qcow2.txt.

    Raises:
        PreflightError: it is neither, or a qcow2 file that stands on another file.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"QFI\xfb"):
        version = int.from_bytes(head[4:8], "big")
        backing = int.from_bytes(head[8:16], "big")
        external = version > 2 and int.from_bytes(head[72:80], "big") & 0b100  # noqa: PLR2004  format version 2
        if backing or external:
            raise PreflightError(
                f"{path.name} is a qcow2 image that stands on another file",
                why="it could name any file of this host",
                hint="flatten it with `qemu-img convert -O qcow2`",
            )
        return "qcow2"
    if head[510:512] == b"\x55\xaa":
        return "raw"
    raise PreflightError(
        f"{path.name} is no disk image that can be booted",
        why="it is neither qcow2 nor has it a partition table",
        hint="other formats can be turned into qcow2 with `qemu-img convert`",
    )


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".record.json")


def _look(path: Path) -> dict[str, int]:
    """Return what changes whenever somebody writes to the file, even one who sets its date back."""
    info = path.stat()
    return {"size": info.st_size, "mtime": info.st_mtime_ns, "ctime": info.st_ctime_ns}


def record(path: Path, work: WorkContext, *, known: Checksum | None = None) -> None:
    """Make a file read-only, and write down what it is so that `intact` can tell later.

    Args:
        path: the file, just checked.
        work: says how far it is.
        known: its checksum, where the file was hashed just now.
    """
    path.chmod(0o444)
    checksum = known or Checksum("sha256", digest(path, "sha256", work))
    write_whole(_record(path), json.dumps({**_look(path), "checksum": [checksum.algorithm, checksum.digest]}))


def recorded(path: Path) -> bool:
    """Say whether a file was once checked to the end."""
    return path.exists() and _record(path).exists()


def intact(path: Path, work: WorkContext, *, thorough: bool = False) -> bool:
    """Say whether a recorded file is unchanged; reads it only where its size or dates say that it may not be.

    Args:
        path: the file.
        work: says how far it is.
        thorough: read it in any case.
    """
    try:
        noted = json.loads(_record(path).read_text())
        checksum = Checksum(*noted["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # never checked to the end, or the record is damaged itself
    look = _look(path)
    if look["size"] != noted["size"]:
        return False
    if not thorough and all(noted.get(name) == value for name, value in look.items()):
        return True
    if digest(path, checksum.algorithm, work) != checksum.digest:
        return False
    write_whole(_record(path), json.dumps({**look, "checksum": noted["checksum"]}))
    return True


def drop(path: Path) -> None:
    """Delete a file and its record."""
    _record(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
