"""Files that appear whole or not at all, and files that outlive a power cut."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path
from stat import S_ISDIR
from typing import IO, Final

_LONGEST: Final = 60
"""Characters of a file's name that its temporary file repeats: with four bytes each they fit into a name's 255."""


def slug(name: str) -> str:
    """Return a build's name as folders and things at providers can be called: `web@here` is `web-here`."""
    return "".join(char if char.isalnum() else "-" for char in name)


def write_whole(path: Path, content: str | bytes, *, durable: bool = False, mode: int = 0o666) -> None:
    """Write a file so that a reader sees the old content or the new, never a part; a link stays one.

    Args:
        path: the file; its folder is there.
        content: bytes, or text that is written in UTF-8, with the bytes that no text could hold as they were.
        durable: as for `replacing`.
        mode: as for `replacing`.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    with replacing(path, durable=durable, mode=mode) as file:
        file.write(content if isinstance(content, bytes) else os.fsencode(content))


@contextmanager
def replacing(
    path: Path, *, durable: bool = False, mode: int = 0o666, temporary: Path | None = None
) -> Generator[IO[bytes]]:
    """Open a file beside `path`, which takes its place when the block ends, and is deleted when the block fails.

    What is no file, a device or a pipe, is written to as it is: nothing may ever be put in its place.

    Args:
        path: the file; its folder is there. Where it is a link, the file that it leads to is replaced.
        durable: return when file and name would survive a power cut: for what cannot be made again.
        mode: permissions of the new file, less the umask.
        temporary: its name until then, on the same file system, for what is so large that the next try must find and
            overwrite what a killed process left; a new name unless said otherwise.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    unfinished = temporary or path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(4)}")
    exclusive = 0 if temporary else os.O_EXCL
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | exclusive, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    if durable:
        flush(path.parent)


def flush(path: Path, *, follow: bool = True) -> None:
    """Return when a file's content, or the names in a folder, would survive a power cut.

    Args:
        path: the file or folder, which can be read.
        follow: False to refuse a link.

    Raises:
        OSError: it cannot be read, or the disk did not take it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        os.fsync(descriptor)
    except OSError as error:
        # fsync(2) says so of a file system that cannot write a folder out: no program could do more there
        if error.errno != EINVAL or not S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)
