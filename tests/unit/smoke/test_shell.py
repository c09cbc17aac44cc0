from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from bakery.model import Stream
from bakery.smoke.shell import CommandTimeoutError, Shell
from bakery.util.results import Lost

Answer = tuple[bytes, bytes, int]


class FakePipes:
    """A machine's shell that understands our frames, and gives its output in pieces of `size` bytes."""

    def __init__(self, answer: Callable[[str], Answer | None], size: int = 3) -> None:
        self._answer = answer
        self._size = size
        self._mark = b""
        self._queue: list[tuple[Stream, bytes]] = []
        self.closed = False
        self.pid = 4711

    def send(self, data: bytes) -> None:
        if found := re.match(r"PATH=.* m=(\w+)\n", data.decode()):
            self._mark = found[1].encode()
            return
        words = shlex.split(data.decode())
        for command in (words[at + 1] for at, word in enumerate(words) if word == "-c"):
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


def shell_of(*pipes: FakePipes) -> Shell:
    waiting = list(pipes)
    return Shell(lambda: waiting.pop(0))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_output_comes_back_unchanged_however_it_is_cut(size: int) -> None:
    shell = shell_of(FakePipes(lambda _: (b"\x00a;b\n\xff", b"oops", 3), size))
    [reply] = shell.ask("anything")
    assert (reply.stdout, reply.stderr, reply.exited) == (b"\x00a;b\n\xff", b"oops", 3)


def test_commands_sent_together_are_answered_in_order() -> None:
    shell = shell_of(FakePipes(lambda command: (command.encode(), b"", 0)))
    assert [reply.stdout for reply in shell.ask("one", "two 'x'", "three")] == [b"one", b"two 'x'", b"three"]
    assert shell.round_trips == 1


@pytest.mark.parametrize(
    ("command", "retires"),
    [
        ("serve &", True),
        ("a & b", True),
        ("(a &)", True),
        ("a && b", False),
        ("a 2>&1", False),
        ("a >&2", False),
        ("a &>f", False),
        ("a || b", False),
        ("a <&3", False),
    ],
)
def test_a_shell_that_may_have_left_something_running_is_not_used_again(command: str, retires: bool) -> None:
    first, second = FakePipes(lambda _: (b"1", b"", 0)), FakePipes(lambda _: (b"2", b"", 0))
    shell = shell_of(first, second)
    shell.ask(command)
    assert shell.ask("next")[0].stdout == (b"2" if retires else b"1")
    assert not first.closed
    shell.close()
    assert first.closed


def test_a_command_out_of_time_is_killed_through_a_second_shell() -> None:
    commands: list[str] = []

    def answer(command: str) -> Answer:
        commands.append(command)
        return b"", b"", 0

    first, second = FakePipes(lambda _: None), FakePipes(answer)
    shell = shell_of(first, second)
    with pytest.raises(CommandTimeoutError, match="still running after 0 s, and ended: sleep 9"):
        shell.ask("sleep 9", timeout=0)
    assert "tree 4711" in commands[0]
    assert first.closed


def test_a_lost_shell_is_reported_and_then_replaced() -> None:
    first, second = FakePipes(lambda _: None), FakePipes(lambda _: (b"back", b"", 0))
    shell = shell_of(first, second)
    with pytest.raises(Lost):
        shell.ask("kill -9 $PPID")
    assert shell.ask("x")[0].stdout == b"back"
    assert first.closed
