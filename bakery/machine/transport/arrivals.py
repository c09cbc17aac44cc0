"""Waiting for what comes on a channel of an SSH connection."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import Channel


class Arrivals:
    """Says when something came, on standard output or standard error, or both have ended.

    paramiko's own way is a file descriptor (`Channel.fileno`). With both streams in use it may fall silent for good:
    one thread takes the sign for one stream away while another thread gives it for the other, and nothing guards the
    two (`paramiko.pipe.OrPipe`, seen with 5.1.0; `findings/paramiko-channel-descriptor-falls-silent.sh`).

    Look whether something is there, then wait, then look again.

    Args:
        channel: nobody else may have asked for its descriptor.
    """

    def __init__(self, channel: Channel) -> None:
        self._came = threading.Event()
        for buffer in (channel.in_buffer, channel.in_stderr_buffer):
            buffer.set_event(self)  # type: ignore[arg-type]  # of an Event it needs these two methods

    def set(self) -> None:
        """Note that something came; paramiko calls it."""
        self._came.set()

    def clear(self) -> None:
        """Do nothing: paramiko says that one of the streams has been read, and the other one may not."""

    def wait(self, seconds: float | None) -> None:
        """Wait until something comes, or has come since the last wait.

        Args:
            seconds: at most; None waits for ever.
        """
        self._came.wait(seconds)
        self._came.clear()  # before the caller looks: what comes from now on counts for the next wait
