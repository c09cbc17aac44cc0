"""Sockets in the file system whose paths may be too long for an address."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 100
"""Bytes that a socket's path may have everywhere: 108 on Linux, 104 on macOS, less a little."""


@contextmanager
def reachable(socket: Path) -> Generator[str]:
    """Give a path that fits into a socket address while the block runs: also TMPDIR may be a long one."""
    if len(bytes(socket)) <= LONGEST:
        yield str(socket)
    elif Path("/proc/self/fd").is_dir():
        folder = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{socket.name}"
        finally:
            os.close(folder)
    else:
        with tempfile.TemporaryDirectory(prefix="bake-", dir="/tmp") as short:
            link = Path(short) / "to"
            link.symlink_to(socket.parent, target_is_directory=True)
            yield str(link / socket.name)
