"""The process in which pytest runs: its words and environment, its pipes, and the end of all of them."""

from __future__ import annotations

import json
import os
import selectors
import sys
import sysconfig
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol, Self

from bakery.errors import SmokeError
from bakery.smoke import wire
from bakery.smoke.job import SmokeJob, TestRef
from bakery.util.context import WorkContext
from bakery.util.process import (
    PIPE,
    STDOUT,
    end_group,
    end_on_terminal,
    signal_name,
    start_on_terminal,
    start_process,
    wait,
)

CONFIG: Final = Path(__file__).with_name("pytest.ini")
BUILTIN_FILE: Final = Path(__file__).with_name("builtin.py")
GRACE: Final = 5.0
_POLL: Final = 0.1
_TAIL: Final = 20_000


class Start(Protocol):
    """What a process of pytest is started with."""

    @property
    def folder(self) -> Path:
        """Where it runs."""
        ...

    @property
    def on_terminal(self) -> bool:
        """True where the user talks to it: it has this process's own streams and terminal."""
        ...

    def words(self, inbox: int, outlet: int) -> list[str]:
        """Return the program and its arguments.

        Args:
            inbox: descriptor that the job comes from.
            outlet: descriptor that events go into.
        """
        ...

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return its whole environment, made of ours."""
        ...


@dataclass(frozen=True, kw_only=True)
class PytestStart:
    """What pytest is started with: all that is known of a job before there is a machine.

    Args:
        imagefile: the user's file.
        files: the files that define tests.
        junit: where the JUnit report is written.
        build: the build's name.
    """

    imagefile: Path
    files: tuple[Path, ...]
    junit: Path
    build: str

    @classmethod
    def of(cls, job: SmokeJob) -> PytestStart:
        """Take it from a job."""
        return cls.on(job.imagefile, job.builtin, job.tests, junit=job.junit, build=job.build)

    @classmethod
    def on(
        cls, imagefile: Path, builtin: Collection[str], tests: Iterable[TestRef], *, junit: Path, build: str
    ) -> PytestStart:
        """Find the files of the wanted tests, built-in ones first."""
        files: list[Path] = [BUILTIN_FILE] if builtin else []
        files += [test.file for test in tests]
        return cls(imagefile=imagefile, files=tuple(dict.fromkeys(files)), junit=junit, build=build)

    @property
    def folder(self) -> Path:
        """The imagefile's."""
        return self.imagefile.parent

    @property
    def on_terminal(self) -> bool:
        """Never: nobody talks to these tests."""
        return False

    def words(self, inbox: int, outlet: int) -> list[str]:
        """Return pytest with its own configuration only; see docs/smoke-tests.md for each choice."""
        self.junit.parent.mkdir(parents=True, exist_ok=True)
        return [
            sys.executable,
            "-P",
            "-B",
            "-m",
            "pytest",
            "-p",
            "bakery.smoke.plugin",
            f"--bakery-job={inbox}",
            f"--bakery-events={outlet}",
            "-c",
            str(CONFIG),
            f"--rootdir={self.folder}",
            "--noconftest",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            "--color=no",
            "-q",
            "--no-header",
            "--no-summary",
            f"--junitxml={self.junit}",
            "-o",
            f"junit_suite_name={self.build or 'smoke'}",
            *map(str, self.files),
        ]

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the caller's environment without what would change pytest's mind."""
        clean = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
        return {**with_bakery(clean), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def with_bakery(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python finds bakery, also where that is not installed."""
    root = str(Path(__file__).parents[2])
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return {**environ}
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH", "")]))}


class PytestProcess:
    """The process, its three pipes, and the end of all of them.

    It loads Python and pytest, and then waits to be told what to test. So it can be started while the machine boots.

    Args:
        start: its words.
        hear: called with what it writes, as it comes; else only the end of that is kept.
    """

    def __init__(self, start: Start, hear: Callable[[bytes], None] | None = None) -> None:
        self._start = start
        self._hear = hear
        self._tail = b""
        self._begun = self._ended = False

    def __enter__(self) -> Self:
        """Start it, unless it was started."""
        if self._begun:
            return self
        self._begun = True
        inbox, self._outbox = os.pipe()
        self._events, outlet = os.pipe()
        try:
            words, environment = self._start.words(inbox, outlet), self._start.environment(os.environ)
            ours: dict[str, Any] = {"env": environment, "cwd": self._start.folder, "pass_fds": (inbox, outlet)}
            if self._start.on_terminal:
                self._process = start_on_terminal(words, **ours)
            else:
                self._process = start_process(words, stdout=PIPE, stderr=STDOUT, **ours)
        finally:
            os.close(inbox)
            os.close(outlet)
        return self

    def events(self, job: SmokeJob, deadline: float, work: WorkContext) -> Iterator[dict[str, Any]]:
        """Say what to test, and yield events until the process ends."""
        self._send(wire.dump(job))
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            if self._output is not None:
                selector.register(self._output, selectors.EVENT_READ)
            while True:
                work.cancel.check()
                if time.monotonic() > deadline:
                    raise self._late(job)
                ready = {key.fd for key, _ in selector.select(_POLL)}
                if self._output is not None and self._output.fileno() in ready and not self._read_output(self._output):
                    selector.unregister(self._output)
                if self._events in ready:
                    chunk = os.read(self._events, 1 << 16)
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    yield from map(json.loads, lines)
                    if not chunk:
                        return

    @property
    def _output(self) -> IO[bytes] | None:
        """What it writes; None where that goes to the terminal."""
        return self._process.stdout

    def _read_output(self, output: IO[bytes]) -> bool:
        data = os.read(output.fileno(), 1 << 16)
        self._tail = (self._tail + data)[-_TAIL:]
        if self._hear is not None:
            self._hear(data)
        return bool(data)

    def last_words(self) -> str:
        """Wait for the end and say how it came: exit code or signal, and what was written last."""
        code = wait(self._process, GRACE)
        if code is None:
            return "it closed its pipe and runs on"
        self.hear_rest()
        how = f"ended by {signal_name(-code)}" if code < 0 else f"exit code {code}"
        return f"{how}\n{self._tail.decode(errors='replace').strip()}".strip()

    def hear_rest(self) -> None:
        """Wait for the end, for a moment, and read what it has written and nobody has read yet."""
        wait(self._process, GRACE)
        if self._output is None:
            return
        os.set_blocking(self._output.fileno(), False)
        try:
            while self._read_output(self._output):
                pass
        except BlockingIOError:
            pass  # a program that a test started holds the other end

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._outbox, rest) :]
        except BrokenPipeError:
            pass  # it is dead already, and its last words will say why

    def _late(self, job: SmokeJob) -> SmokeError:
        self._end()
        return SmokeError(
            f"the smoke tests did not end within {job.timeout:g} s",
            why=self._tail.decode(errors="replace").strip(),
            hint="the last test that is not reported hangs; give host.run(..., timeout=SECONDS) where a command may",
        )

    def _end(self) -> None:
        if self._start.on_terminal:
            end_on_terminal(self._process, GRACE)
        else:
            end_group(self._process, GRACE)

    def __exit__(self, *_: object) -> None:
        """End the process with all that it started, and close the pipes; once."""
        if not self._begun or self._ended:
            return
        self._ended = True
        self._end()
        self._process.wait()
        for fd in (self._outbox, self._events):
            os.close(fd)
        if self._output is not None:
            self._output.close()
