"""One command over a link: what becomes of a lost connection, and when a result is an error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Final

from bakery.errors import BakeryError, CommandFailed, ConnectError, NotYet, TaskError
from bakery.machine.command import INPUT_LOST, NO_INPUT, Command, joined
from bakery.machine.output import CommandOutput, caller
from bakery.machine.transport.sudo import sudo_refused
from bakery.model import Result
from bakery.util.results import Lost, OnOutput, TimedOut

if TYPE_CHECKING:
    from bakery.machine.transport.link import Link

RECONNECT: Final = 60.0
"""Seconds that a machine has to let us in again after the connection was lost under a command."""
HINTS: Final = {
    126: "the file is there, but cannot be executed, or the folder cannot be entered",
    127: "the command was not found: is its package installed?",
    137: "it was killed, often because the machine ran out of memory",
}


def execute(
    link: Link,
    alive: Callable[[], object],
    call: Command,
    source: bytes | IO[bytes] | None,
    *,
    timeout: float | None,
    on_output: OnOutput,
    collect: bool,
) -> Result:
    """Run a command; its result carries the command as the user wrote it.

    Raises:
        TimedOut: it was ended after `timeout` seconds.
        TaskError: the connection was lost under it.
        ConnectError: the machine runs something else in place of it.
        DriverError: because the machine died.
    """
    try:
        return attempt(link, call, source, timeout=timeout, on_output=on_output, collect=collect)
    except Lost as error:
        raise lost(link, alive, call, str(error)) from error


def attempt(
    link: Link,
    call: Command,
    source: bytes | IO[bytes] | None,
    *,
    timeout: float | None,
    on_output: OnOutput,
    collect: bool = True,
) -> Result:
    """Run a command as `execute` does, and leave it to the caller what a lost connection means.

    Raises:
        Lost: the connection ended under it.
        TimedOut: it was ended after `timeout` seconds.
        ConnectError: the machine runs something else in place of it.
    """
    transport = link.open()
    line, head = call.line(transport.user, reads=source is not None)
    try:
        result = transport.run(line, input=joined(head, source), timeout=timeout, on_output=on_output, collect=collect)
    except TimedOut as error:
        raise TimedOut(_named(call, error.result)) from None
    except ConnectError as error:  # something took the place of our shell, since an earlier command most often
        error.where = error.where or caller()
        raise
    return _named(call, result)


def ask(link: Link, script: str, title: str) -> Result:
    """Run a look of bakery's own as the login user.

    Args:
        link: the way to the machine.
        script: lines for a POSIX shell.
        title: what messages call it.

    Raises:
        TaskError: the connection was lost under it.
        DriverError: because the machine died.
    """
    try:
        return link.open().run(script)
    except Lost as error:
        raise lost(link, link.endpoint, Command(command=script, title=title), str(error)) from error


def raise_if_failed(
    call: Command,
    result: Result,
    voice: CommandOutput,
    *,
    timeout: float | None = None,
    warn: bool,
    valid: Sequence[int] = (0,),
) -> Result:
    """Return a result, or raise what it means; exit codes in `valid` are successes.

    Raises:
        CommandFailed: it failed, and `warn` is not set.
        TaskError: another user could not be become, or the input did not come; also with `warn`, since nothing was run.
    """
    if result.failed and (refusal := sudo_refused(result.stderr)):
        raise TaskError(
            f"cannot run commands as {call.user}: the login user may not",
            why=refusal.why,
            where=caller(),
            hint=refusal.hint,
        )
    if result.exited == INPUT_LOST and NO_INPUT in result.stderr:
        raise TaskError(
            f"`{call.shown}` was not run: its input does not reach it",
            why=f"commands of {call.user} have another standard input on this machine",
            where=caller(),
            hint="a start file redirects it: look for `exec <` in what the login shell reads, such as ~/.bashrc",
        )
    if result.exited in valid or warn:
        return result
    if result.exited == -1:
        limit = round(timeout or result.seconds, 1)
        what = f"`{call.shown}` was ended: it ran longer than its timeout of {limit:g} s"
        hint = "if it needs longer: timeout= of the call, or of its @bakery.task"
    else:
        what = f"`{call.shown}` ended with exit code {result.exited}"
        hint = HINTS.get(result.exited, "")
    error = CommandFailed(what, result=result, why=voice.unseen(result.stdout, result.stderr), hint=hint)
    error.where = caller()
    raise error


def _named(call: Command, result: Result) -> Result:
    return Result(
        command=call.shown, exited=result.exited, stdout=result.stdout, stderr=result.stderr, seconds=result.seconds
    )


def lost(link: Link, alive: Callable[[], object], call: Command, reason: str) -> BakeryError:
    """Ask whether the machine died; else try to get back in, so that the next command can run."""
    link.close()
    with contextlib.suppress(NotYet):  # no address, or not again yet: it is restarting
        alive()  # raises DriverError, with its last words, when it is dead
    what = f"the connection was lost under `{call.shown}`"
    try:
        link.open(RECONNECT)
    except ConnectError as error:
        return TaskError(
            f"{what}, and the machine does not let us in again",
            why=f"{error.what}\n{error.why}".strip(),
            where=caller(),
            hint="did the command stop sshd, or the network? " + error.hint,
        )
    return TaskError(
        what,
        why=reason,
        where=caller(),
        hint="the machine lives and lets us in again: did the command restart sshd, the network or the machine? "
        "use reboot() for the last; start the others detached from the session",
    )
