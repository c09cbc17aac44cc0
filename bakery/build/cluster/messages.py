"""What a build on another machine says while it runs, and what it is told: texts through a pipe.

What it says is a kind and a JSON object, with a space between: the worker passes most of it on without reading it.
"""

from __future__ import annotations

import io
import json
import queue
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from bakery.build.job import Job
from bakery.build.versions import Naming
from bakery.errors import Interrupted
from bakery.events import Event
from bakery.redaction.redactor import LineBuffer, Redactor
from bakery.state.project import State
from bakery.util.waiting import Cancel


def packed(kind: str, /, **what: Any) -> str:
    """Return a message as it travels."""
    return f"{kind} {json.dumps(what, separators=(',', ':'))}"


def unpacked(text: str) -> tuple[str, dict[str, Any]]:
    """Return a message's kind, and what it says."""
    kind, _, what = text.partition(" ")
    said: dict[str, Any] = json.loads(what)
    return kind, said


class WorkerLine:
    """The build's end of the pipe to its worker.

    Args:
        connection: the pipe.
        cancel: set when the worker says so, and when it is gone.
    """

    def __init__(self, connection: Connection, cancel: Cancel) -> None:
        self._connection = connection
        self._cancel = cancel
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def listen(self) -> None:
        """Take what the worker says, in a thread of its own, until the process ends."""
        threading.Thread(target=self._listen, name="worker", daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                told = json.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                self._cancel.set("the worker that ran it is gone")
                return
            if told["kind"] == "end":
                self._cancel.set(told["reason"])
            else:
                self._answers.put(told)

    def say(self, kind: str, /, **what: Any) -> None:
        """Tell the worker something. Where it is gone nobody hears it: the build is being cancelled by then."""
        text = packed(kind, **what).encode()
        with self._lock:
            try:
                self._connection.send_bytes(text)
            except OSError:
                self._cancel.set("the worker that ran it is gone")

    def ask(self, kind: str, /, **what: Any) -> Mapping[str, Any]:
        """Ask for something, and wait for the answer.

        Raises:
            Interrupted: the build was cancelled meanwhile.
        """
        self.say(kind, **what)
        while True:
            self._cancel.check()
            try:
                return self._answers.get(timeout=0.1)
            except queue.Empty:
                continue


class EventSender:
    """The reporter of a build on another machine: each event goes to the worker, in order."""

    def __init__(self, line: WorkerLine) -> None:
        self._line = line

    def read(self, event: Event) -> None:
        """Send an event."""
        self._line.say("event", **event.to_json())

    def close(self) -> None:
        """End: there is nothing left to write."""


class AskedNaming(Naming):
    """Asks the client before an image is kept: it alone knows the names, and whether another try has it already."""

    def __init__(self, line: WorkerLine, image: str) -> None:
        self._line = line
        self._image = image

    def foresee(self, job: Job, state: State) -> str:
        """Return what the client expects."""
        del state
        return self._image or job.build.image

    def take(self, job: Job, state: State) -> tuple[str, str]:
        """Wait until the client says that this is the image that counts."""
        del job, state
        told = self._line.ask("keep")
        if not told["granted"]:
            raise Interrupted("another machine has made this image")
        return told["name"], told["version"]


class SentPrints(io.TextIOBase):
    """What the imagefile prints: whole lines, redacted, shown where `bake` runs."""

    def __init__(self, line: WorkerLine, redactor: Redactor) -> None:
        self._line = line
        self._redactor = redactor
        self._local = threading.local()
        self._buffers: list[LineBuffer] = []

    def write(self, text: str, /) -> int:
        """Take a part; send what has become whole."""
        buffer = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = LineBuffer(self._redactor)
            self._buffers.append(buffer)
        self._send(buffer.feed(text))
        return len(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def finish(self) -> None:
        """Send what never got its line end."""
        for buffer in self._buffers:
            self._send(buffer.flush())

    def _send(self, text: str) -> None:
        if text:
            self._line.say("print", text=text if text.endswith("\n") else f"{text}\n")
