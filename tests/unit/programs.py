"""Programs in place of those that `subprocess` starts: their pipes are real, what they do is a function of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import IO, Any, TypeAlias

import pytest

Acts: TypeAlias = "Callable[[Started], int]"


@dataclass
class Programs:
    """Stands in for `subprocess.Popen`: the programs by their names, and what was started."""

    known: dict[str, Acts] = field(default_factory=dict[str, Acts])
    started: list[Started] = field(default_factory=list["Started"])
    signals: list[str] = field(default_factory=list[str])

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch, **known: Acts) -> Programs:
        """Install it; all these programs are on PATH, and no other."""
        made = cls(known)
        monkeypatch.setattr(subprocess, "Popen", made.start)
        monkeypatch.setattr(os, "killpg", made.kill)
        monkeypatch.setattr("shutil.which", lambda name, **_: f"/usr/bin/{name}" if str(name) in known else None)
        return made

    def start(self, argv: Sequence[str], **options: Any) -> Started:
        """Start one."""
        words = [*argv[argv.index("--") + 1 :]] if "setpriv" in argv[0] else [*argv]
        act = self.known.get(words[0])
        if act is None:
            raise FileNotFoundError(2, "No such file or directory", words[0])
        program = Started(words, options, pid=1_000_000_000 + len(self.started))
        self.started.append(program)
        program.begin(act)
        return program

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a group."""
        (program,) = [one for one in self.started if one.pid == pid]
        if program.returncode is not None and not program.left:
            raise ProcessLookupError
        self.signals.append(signal.Signals(number).name)
        program.take(signal.Signals(number))


@dataclass
class Started:
    """One that was started."""

    words: list[str]
    options: Mapping[str, Any]
    pid: int
    deaf: bool = False
    """It does not end of SIGTERM."""
    left: bool = False
    """Something that it started holds its pipes."""
    returncode: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    given: bytes = b""

    def begin(self, act: Acts) -> None:
        """Open its pipes, and let it act."""
        self._theirs = ExitStack()
        self.stdin = self._pipe("stdin", "wb", "rb")
        self.stdout = self._pipe("stdout", "rb", "wb")
        self.stderr = self._pipe("stderr", "rb", "wb")
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()

    def _pipe(self, name: str, ours: str, theirs: str) -> IO[bytes] | None:
        given = self.options.get(name)
        if given != subprocess.PIPE:
            if hasattr(given, "write"):
                setattr(self, f"_{name}", given)
            return None
        read, write = os.pipe()
        here, there = (write, read) if ours == "wb" else (read, write)
        setattr(self, f"_{name}", self._theirs.enter_context(os.fdopen(there, theirs, buffering=0)))
        return os.fdopen(here, ours, buffering=0)

    def _run(self, act: Acts) -> None:
        with self._theirs:
            with suppress(BrokenPipeError):
                self.returncode = act(self)
            if self.returncode is None:
                self.returncode = -signal.SIGPIPE
            if self.left:
                self.ended.wait(10)

    def out(self, data: bytes) -> None:
        """Write to standard output."""
        self._stdout.write(data)  # type: ignore[attr-defined]  # set by name

    def err(self, data: bytes) -> None:
        """Write to standard error."""
        self._stderr.write(data)  # type: ignore[attr-defined]  # set by name

    def read(self) -> bytes:
        """Read standard input to its end."""
        self.given = self._stdin.read()  # type: ignore[attr-defined]  # set by name
        return self.given

    def hang(self) -> int:
        """Wait for a signal that ends it."""
        self.ended.wait(10)
        return -signal.SIGKILL if self.deaf else -signal.SIGTERM

    def take(self, number: signal.Signals) -> None:
        """Take a signal."""
        if number == signal.SIGKILL or not self.deaf:
            self.ended.set()

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self.returncode

    def kill(self) -> None:
        """End it at once."""
        self.take(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._thread.join(0.01 if self.deaf and not self.ended.is_set() else timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.words, timeout or 0)
        return self.returncode


def says(out: bytes = b"", err: bytes = b"", code: int = 0) -> Acts:
    """A program that writes and ends."""

    def act(program: Started) -> int:
        if out:
            program.out(out)
        if err:
            program.err(err)
        return code

    return act
