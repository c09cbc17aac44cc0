"""The processes of a worker's builds: forked from templates, watched until they have ended."""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import signal
import threading
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, Final

from bakery.build.cluster import child, template
from bakery.build.cluster.template import STATUS, Wanted
from bakery.errors import DriverError

PRELOADED: Final = [
    "bakery.build.cluster.template",
    "bakery.drivers.nspawn.driver",
    "bakery.drivers.qemu.driver",
    "bakery.machine.machine",
    "bakery.machine.reboot",
    "bakery.machine.seal",
    "bakery.machine.transport.namespace",
    "bakery.machine.transport.ssh",
    "bakery.smoke",
    "fabric",
    "filelock",
    "importlib.resources.readers",
    "jinja2",
    "rich",
    "tenacity",
]
"""Modules that builds need: loaded once, by the process that all templates are forked from."""
MOST: Final = 4
"""BuildTemplates that a worker holds; the one that was used least lately goes first."""
READ: Final = 60.0
"""Seconds that an imagefile may take to be read; one that takes longer is read by each build."""


class BuildProcess:
    """A build's process.

    Args:
        connection: to it.
        status: tells its exit code.
        number: its process id.
    """

    def __init__(self, connection: Connection, status: int, number: int) -> None:
        self.connection = connection
        self._status = status
        try:
            self._handle: int | None = os.pidfd_open(number)
        except ProcessLookupError:  # it has ended already
            self._handle = None

    def kill(self) -> None:
        """End it at once."""
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def join(self) -> int | None:
        """Wait until it has ended, and return its exit code; None where its template went before it."""
        told = os.read(self._status, STATUS.size)
        os.close(self._status)
        if self._handle is not None:
            if not told:
                select.select([self._handle], [], [])
            os.close(self._handle)
            self._handle = None
        self.connection.close()
        return int(STATUS.unpack(told)[0]) if told else None


class BuildTemplate:
    """A template's process, as the worker has it.

    Args:
        wanted: what it is to read.
    """

    def __init__(self, wanted: Wanted) -> None:
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._lock = threading.Lock()
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=template.serve, args=(theirs, wanted), daemon=False)
        self._process.start()
        theirs.close()
        self.is_fit = self._answers()

    def _answers(self) -> bool:
        try:
            return bool(self._line.poll(READ) and self._line.recv_bytes() == b"1")
        except (EOFError, OSError):
            return False  # it ended while it read the imagefile

    def start(self, text: str, places: child.Places, attempt: str) -> BuildProcess:
        """Start a build.

        Args:
            text: the assignment.
            places: where things are.
            attempt: tells this try from others.

        Raises:
            OSError: the template is gone.
        """
        request = json.dumps({"assignment": text, "places": asdict(places), "attempt": attempt})
        ours, theirs = multiprocessing.Pipe()
        told, status = os.pipe()
        try:
            with self._lock:
                self._line.send_bytes(request.encode())
                reduction.send_handle(self._line, theirs.fileno(), self._process.pid)
                reduction.send_handle(self._line, status, self._process.pid)
        except BaseException:
            ours.close()
            os.close(told)
            raise
        finally:
            theirs.close()
            os.close(status)
        number = os.read(told, STATUS.size)
        if not number:
            ours.close()
            os.close(told)
            raise OSError("the process that builds are forked from is gone")
        return BuildProcess(ours, told, STATUS.unpack(number)[0])

    def close(self) -> None:
        """Let it end; builds that were forked from it go on."""
        self._line.close()


class BuildTemplates:
    """The templates of a worker: one for each project whose builds it makes, and one that has read nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Wanted, BuildTemplate] = {}
        self._unfit: set[Wanted] = set()

    def start(self, wanted: Wanted, text: str, places: child.Places, attempt: str) -> BuildProcess:
        """Start a build in a process of its own.

        Args:
            wanted: the project that it belongs to.
            text, places, attempt: as for `BuildTemplate.start`.

        Raises:
            DriverError: no process can be started.
        """
        why = "the process that builds are forked from does not start"
        for what in (wanted, Wanted(), Wanted()):
            held = self._of(what)
            if held is not None:
                try:
                    return held.start(text, places, attempt)
                except OSError as error:
                    self._drop(what, held)
                    why = str(error)
        raise DriverError("the worker cannot start a build's process", why=why)

    def _of(self, wanted: Wanted) -> BuildTemplate | None:
        """Return the template that has read a project; None where there can be none."""
        with self._lock:
            if wanted in self._unfit:
                return None
            held = self._held.pop(wanted, None)
            if held is None:
                held = BuildTemplate(wanted)
                if not held.is_fit:
                    held.close()
                    if wanted.project:
                        self._unfit.add(wanted)
                    return None
                while len(self._held) >= MOST:
                    self._held.pop(next(iter(self._held))).close()
            self._held[wanted] = held  # the last is the one that was used last
            return held

    def _drop(self, wanted: Wanted, held: BuildTemplate) -> None:
        with self._lock:
            if self._held.get(wanted) is held:
                del self._held[wanted]
        held.close()

    def close(self) -> None:
        """Let all of them end."""
        with self._lock:
            for held in self._held.values():
                held.close()
            self._held.clear()
