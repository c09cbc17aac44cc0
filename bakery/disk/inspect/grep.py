"""GNU grep as a scout: it goes through data several times as fast as Python, and says where to look closely."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

from bakery.disk.inspect.scan import CHUNK, Pattern, stored_chunks
from bakery.disk.inspect.tools import find, run
from bakery.errors import DriverError
from bakery.util.process import run_process
from bakery.util.waiting import Cancel

SHORTEST: Final = 4
_NO_MATCH: Final = 1


def places(disk: Path, patterns: Sequence[Pattern], cancel: Cancel) -> list[int] | None:
    """List where in the disk something of a pattern is; None where this host has no GNU grep, or it would not do.

    grep takes a pattern a line, so that of one with several lines the longest stands for all. Where two patterns
    overlap, it tells only one: look around each place for all of them.

    Raises:
        Interrupted: cancelled.
        DriverError: grep failed.
    """
    anchors = {max(pattern.needle.split(b"\n"), key=len) for pattern in patterns if pattern.needle}
    program = find("grep")
    if program is None or not anchors or min(map(len, anchors)) < SHORTEST or not _is_gnu(cancel):
        return None
    feed = _Feed(disk, max(map(len, anchors)), cancel)
    patterns_out, patterns_in = os.pipe()
    # The patterns go through a pipe: arguments can be seen by everybody, and a file would outlive a crash.
    words = [program, "-a", "-b", "-o", "-F", "-f", f"/dev/fd/{patterns_out}"]
    writer = threading.Thread(target=_write, args=(patterns_in, b"\n".join(sorted(anchors)) + b"\n"))
    writer.start()
    try:
        environment = {"LC_ALL": "C", "PATH": os.defpath}
        answer = run_process(words, cancel=cancel, input=feed.chunks(), env=environment, pass_fds=[patterns_out])
    finally:
        os.close(patterns_out)  # a writer whose reader has ended without reading all ends, too
        writer.join()
    if answer.exited not in (0, _NO_MATCH):
        raise DriverError("grep cannot search the image", why=answer.stderr.strip())
    return sorted({feed.place(int(offset)) for offset in re.findall(r"^(\d+):", answer.stdout, re.MULTILINE)})


class _Feed:
    """The disk as grep gets it: chunk by chunk, each with a line break behind it, empty ones left out.

    grep keeps a whole line in memory, and disks have gigabytes without a line break.
    """

    def __init__(self, disk: Path, longest: int, cancel: Cancel) -> None:
        self._disk = disk
        self._overlap = longest - 1
        self._cancel = cancel
        self._sent: list[int] = []
        self._from: list[int] = []

    def chunks(self) -> Generator[bytes]:
        total = 0
        zeros = bytes(CHUNK + self._overlap)
        for at, data in stored_chunks(self._disk, self._overlap):
            if self._cancel.reason:
                return
            if not zeros.startswith(data):
                self._sent.append(total)
                self._from.append(at)
                total += len(data) + 1
                yield data + b"\n"

    def place(self, sent: int) -> int:
        """Turn an offset in what was sent into one on the disk."""
        number = bisect.bisect_right(self._sent, sent) - 1
        return self._from[number] + sent - self._sent[number]


def _write(pipe: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(pipe, "wb") as file:  # grep says in its exit code why it ended
        file.write(data)


def _is_gnu(cancel: Cancel) -> bool:
    return "GNU grep" in run(["grep", "--version"], cancel)
