"""A machine's shell in memory: it understands our frames, and answers by the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, cast

from bakery.model import Stream
from bakery.smoke.shell import Pending, Reply, Request, Shell
from bakery.util.results import Lost

Answer = tuple[bytes, bytes, int]


class FakePipes:
    """A shell that gives its output in pieces of `size` bytes, and ends where a command has no answer."""

    def __init__(self, answer: Callable[[str], Answer | None], size: int = 3) -> None:
        self._answer = answer
        self._size = size
        self._mark = b""
        self._queue: list[tuple[Stream, bytes]] = []
        self.closed = False
        self.pid = 4711

    def send(self, data: bytes) -> None:
        if found := re.match(r"(?:for d|unset SHLVL).* m=(\w+); exec", data.decode()):
            self._mark = found[1].encode()
            return
        if data.startswith(b"{ "):
            commands = [data.decode().partition("{ ")[2].rpartition("\n} 2>&9\n")[0]]
        else:
            words = shlex.split(data.decode())
            commands = [words[at + 1] for at, word in enumerate(words) if word == "-c"]
        for command in commands:
            answer = self._answer(command)
            if answer is not None:
                self._say(*answer)

    def _say(self, stdout: bytes, stderr: bytes, exited: int) -> None:
        self._queue.append(("stdout", stdout + self._mark + b"%d;" % exited))
        self._queue.append(("stderr", stderr + self._mark))

    def receive(self, timeout: float | None) -> list[tuple[Stream, bytes]]:
        if not self._queue:
            if self.closed or timeout is None:
                raise Lost("ended")
            return []
        stream, data = self._queue.pop(0)
        if data[self._size :]:
            self._queue.insert(0, (stream, data[self._size :]))
        return [(stream, data[: self._size])]

    def close(self) -> None:
        self.closed = True


class FakeShell:
    """A shell that answers at once, by the command; `asked` holds what each round trip carried."""

    def __init__(self, reply: Callable[[str], Reply]) -> None:
        self._reply = reply
        self.asked: list[tuple[str, ...]] = []

    @property
    def shell(self) -> Shell:
        return cast("Shell", self)

    def begin(self, *requests: Request) -> list[Pending]:
        self.asked.append(tuple(request.command for request in requests))
        sent = [Pending(cast("Any", None)) for _ in requests]
        for pending, request in zip(sent, requests, strict=True):
            pending.reply = self._reply(request.command)
        return sent

    def take(self, pending: Pending) -> Reply:
        assert pending.reply is not None
        return pending.reply

    def ask_with(
        self, requests: list[Request], ahead: list[Request], timeout: float | None
    ) -> tuple[list[Reply], list[Pending]]:
        del timeout
        sent = self.begin(*requests, *ahead)
        return [self.take(each) for each in sent[: len(requests)]], sent[len(requests) :]

    def ask(self, *commands: str, timeout: float | None = None, interpreter: str = "/bin/sh") -> list[Reply]:
        return self.ask_with([Request(command, interpreter) for command in commands], [], timeout)[0]
