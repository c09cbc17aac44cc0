"""Folders and files as parts of a few megabytes, each named by its SHA-256: sent once, checked, and resumed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from bakery.cache.shared.place import SharedPlace
from bakery.errors import DriverError
from bakery.util.process import PIPE, Process, end_group, start_process
from bakery.util.waiting import Cancel

PART: Final = 16 << 20
"""Bytes of a part before it is compressed."""
FOLDER: Final = "parts"
COMMON: Final = ("--file=-", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls")
PACK: Final = (
    *COMMON,
    "--create",
    "--format=posix",  # dates to the nanosecond, by which a checkpoint is checked
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--sort=name",
    "--sparse",
    "--sparse-version=0.0",  # later ones write tar's process id, and the same files would never be the same parts
)


@dataclass(frozen=True)
class StoredPart:
    """A part as it is stored: its digest, and its bytes."""

    sha256: str
    size: int

    @property
    def name(self) -> str:
        """Its file's name in the place."""
        return f"{FOLDER}/{self.sha256[:2]}/{self.sha256}"


def send(
    folder: Path, names: Sequence[str], place: SharedPlace, cancel: Cancel, *, without: str = ""
) -> list[StoredPart]:
    """Send what is in a folder; parts that are there already are not sent.

    Args:
        folder: where the files are.
        names: those to send; folders with all that is in them.
        place: where to.
        cancel: ends it between two parts.
        without: the name of a file that stays here.

    Raises:
        DriverError: a file cannot be read, or the place does not take it.
    """
    left_out = [f"--exclude={without}"] if without else []
    words = ["tar", *PACK, *left_out, "--directory", str(folder), "--", *names]
    parts: list[StoredPart] = []
    with _tar(words, "packing", stdout=PIPE) as tar:
        while data := cast("IO[bytes]", tar.stdout).read(PART):
            cancel.check()
            packed = zlib.compress(data, 1)
            part = StoredPart(hashlib.sha256(packed).hexdigest(), len(packed))
            if place.size(part.name) != part.size:
                place.write(part.name, packed)
            parts.append(part)
    return parts


def fetch(parts: Sequence[StoredPart], to: Path, place: SharedPlace, cancel: Cancel, *, meanwhile: Path) -> None:
    """Fetch what `send` sent.

    Args:
        parts: its parts, in order.
        to: the folder, which is there.
        place: where they are.
        cancel: ends it between two parts.
        meanwhile: a folder for parts until all are here; those of an earlier try are not fetched again.

    Raises:
        DriverError: a part is missing or damaged, or the files cannot be written.
    """
    meanwhile.mkdir(mode=0o700, exist_ok=True)
    for part in parts:
        cancel.check()
        _fetch_one(part, meanwhile / part.sha256, place)
    owners = ["--same-owner"] if os.geteuid() == 0 else ["--no-same-owner"]
    words = ["tar", *COMMON, *owners, "--extract", "--same-permissions", "--delay-directory-restore"]
    with _tar([*words, "--directory", str(to)], "unpacking", stdin=PIPE) as tar:
        stream = cast("IO[bytes]", tar.stdin)
        for part in parts:
            cancel.check()
            stream.write(zlib.decompress((meanwhile / part.sha256).read_bytes()))
        stream.close()
    shutil.rmtree(meanwhile)


def _fetch_one(part: StoredPart, file: Path, place: SharedPlace) -> None:
    if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == part.sha256:
        return
    data = place.read(part.name)
    if data is None or hashlib.sha256(data).hexdigest() != part.sha256:
        if data is not None:
            place.delete(part.name)  # whoever has it sends it again
        raise DriverError(
            f"a part of a checkpoint is {'missing' if data is None else 'damaged'} in {place.url}", why=part.name
        )
    file.write_bytes(data)


@contextmanager
def _tar(words: Sequence[str], what: str, **streams: Any) -> Generator[Process]:
    """Run tar while the block feeds or reads it.

    Raises:
        DriverError: it fails.
    """
    with tempfile.TemporaryFile() as errors:
        process = start_process(words, stderr=errors, **streams)
        broken: OSError | None = None
        try:
            yield process
            process.wait()
        except BrokenPipeError as error:  # it has ended: why, it says itself
            broken = error
            process.wait()
        finally:
            end_group(process)
            for stream in filter(None, (process.stdin, process.stdout)):
                with suppress(BrokenPipeError):
                    stream.close()
        if process.returncode or broken:
            errors.seek(0)
            raise DriverError(f"{what} a checkpoint failed", why=errors.read(2000).decode(errors="replace").strip())
