"""The content of a sparse file, as fast as its data is large."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from bakery.util.context import WorkContext
from bakery.util.extents import stored_parts

CHUNK = 1 << 20


def fingerprint(path: Path, work: WorkContext) -> str:
    """Digest a file's content, whatever of it is stored as holes.

    BLAKE2b of the size and of every MiB that is not all zeros, with its number: holes are not read at all. Equal files
    have equal fingerprints on every file system.

    Raises:
        Interrupted: when cancelled.
    """
    state = hashlib.blake2b(digest_size=32)
    zeros = bytes(CHUNK)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        state.update(size.to_bytes(8, "little"))
        for number in _with_data(file.fileno(), size):
            work.cancel.check()
            chunk = os.pread(file.fileno(), CHUNK, number * CHUNK)
            if chunk != zeros[: len(chunk)]:
                state.update(number.to_bytes(8, "little") + chunk)
    return state.hexdigest()


def _with_data(descriptor: int, size: int) -> Iterator[int]:
    """Yield the numbers of the chunks that are not wholly a hole."""
    after = 0
    for start, end in stored_parts(descriptor, size):
        first, after = max(start // CHUNK, after), -(-end // CHUNK)
        yield from range(first, after)
