"""What each process of pytest that tests a machine has: the job that came, and the pipe that results go into."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Final

import pytest

from bakery.imagefile.process_end import end_at_once

ORPHANED: Final = 70


class EventPipe:
    """Takes a JSON object a line.

    Args:
        fd: descriptor of the pipe.
    """

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)  # a program that a test starts must not keep it open
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, kind: str, **data: Any) -> None:
        """Send an event to the parent; its texts have no secrets any more."""
        line = json.dumps({"type": kind, **data}).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._fd, line) :]


def job_line(fd: int) -> bytes:
    """Read the job, as it is on its way; see `bakery.smoke.wire`.

    Raises:
        UsageError: the pipe ends within it.
    """
    data = b""
    while not data.endswith(b"\n"):
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            raise pytest.UsageError("the job is cut short")
        data += chunk
    return data


def watch_parent(fd: int) -> None:
    """End with the parent, which never writes a second line, whatever the tests are doing.

    Args:
        fd: the pipe that the job came from.
    """
    threading.Thread(target=_end_with_parent, args=(fd,), daemon=True).start()


def _end_with_parent(fd: int) -> None:
    os.read(fd, 1)  # an end of file: it is gone
    end_at_once(ORPHANED)
