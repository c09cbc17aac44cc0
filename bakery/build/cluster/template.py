"""The process that a project's builds are forked from: it has read the imagefile once, and runs nothing else.

It has one thread, so that a fork of it is a whole process. A build that crashes takes nothing with it: each is a
process of its own. An imagefile that starts threads, or cannot be read, is read by each build anew.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from bakery.build.cluster import child
from bakery.build.cluster.offers import NEEDED
from bakery.drivers.registry import Registry
from bakery.imagefile import loader
from bakery.imagefile.plan import Selection, plan
from bakery.imagefile.variables import Settings
from bakery.util.process_attributes import begin

STATUS: Final = struct.Struct("<i")
"""What the worker reads of a build: its process's id, later its exit code."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a template is to read before the first build.

    Args:
        project: the unpacked project; empty for a template that reads nothing.
        imagefile: its name.
        values: the file with variables that were said outside it; empty where none were.
    """

    project: str = ""
    imagefile: str = ""
    values: str = ""


def serve(line: Connection, wanted: Wanted) -> None:
    """Read the project, say whether that went well, and fork a build for each message, until the worker is gone.

    Args:
        line: to the worker.
        wanted: what to read.
    """
    begin()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides when it ends: by closing the line
    prepared = _read(wanted)
    fit = threading.active_count() == 1 and (prepared is not None or not wanted.project)
    line.send_bytes(b"1" if fit else b"0")
    if fit:
        gc.collect()
        gc.freeze()  # what is here already is never looked at again, and so never copied for a build
        _Forks(line, prepared).serve()


def _read(wanted: Wanted) -> child.ReadProject | None:
    """Read the imagefile, and plan all builds; None where a build must do that itself, and tell what is wrong."""
    if not wanted.project:
        return None
    os.chdir(wanted.project)
    files = (Path(wanted.values),) if wanted.values else ()
    with (
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        try:  # what it prints, the client has printed
            recipe = loader.load(Path(wanted.project) / wanted.imagefile)
            made = plan(recipe, Settings(files=files, environ=dict(os.environ)), Selection())
        except BaseException:  # users' code: whatever it is, each build tells it as its own
            return None
    for name in {build.driver for build in made.builds}:
        for module in ("", *NEEDED.get(name, ())):
            with contextlib.suppress(Exception):  # a driver that is not there: the build says so
                importlib.import_module(module) if module else Registry().get(name)
    return child.ReadProject(recipe=recipe, plan=made)


class _Forks:
    """The builds that were forked, each until its exit code is told.

    Args:
        line: to the worker.
        prepared: what was read for them.
    """

    def __init__(self, line: Connection, prepared: child.ReadProject | None) -> None:
        self._line = line
        self._prepared = prepared
        self._selector = selectors.DefaultSelector()
        self._builds: dict[int, tuple[int, int]] = {}

    def serve(self) -> None:
        """Fork for as long as the worker is there; builds that still go on then end by themselves."""
        self._selector.register(self._line.fileno(), selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd != self._line.fileno():
                    self._ended(key.fd)
                elif not self._begin():
                    return

    def _begin(self) -> bool:
        """Fork one; False where the worker is gone."""
        try:
            request = json.loads(self._line.recv_bytes())
            connection, status = (reduction.recv_handle(self._line) for _ in range(2))
        except (EOFError, OSError):
            return False
        number = os.fork()
        if number == 0:
            self._line.close()
            for _, other in self._builds.values():
                os.close(other)
            os.close(status)
            _run(Connection(connection), request, self._prepared)
        os.close(connection)
        os.write(status, STATUS.pack(number))
        watch = os.pidfd_open(number)
        self._selector.register(watch, selectors.EVENT_READ)
        self._builds[watch] = number, status
        return True

    def _ended(self, watch: int) -> None:
        """Tell a build's exit code."""
        self._selector.unregister(watch)
        os.close(watch)
        number, status = self._builds.pop(watch)
        _, code = os.waitpid(number, 0)
        with contextlib.suppress(OSError):  # nobody waits for it any more
            os.write(status, STATUS.pack(os.waitstatus_to_exitcode(code)))
        os.close(status)


def _run(connection: Connection, request: Mapping[str, Any], prepared: child.ReadProject | None) -> None:
    """Make one image, and end."""
    code = 1
    try:
        child.main(connection, request["assignment"], child.Places(**request["places"]), request["attempt"], prepared)
        code = 0
    except BaseException:  # the last frame of this process
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
