from __future__ import annotations

import pytest

from bakery.smoke.shell import CommandTimeoutError, Shell
from bakery.util.results import Lost
from tests.unit.smoke.pipes import Answer, FakePipes


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
