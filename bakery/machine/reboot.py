"""Waiting for a machine: for its restart, for whatever a task waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from bakery.errors import ConnectError, NotYet, TaskError
from bakery.machine.command import Command
from bakery.machine.execute import lost
from bakery.machine.output import caller
from bakery.model import Result
from bakery.util.results import Lost, TimedOut, Words
from bakery.util.waiting import until

if TYPE_CHECKING:
    from bakery.machine.transport.link import Link
    from bakery.util.context import WorkContext

# The boot id is the kernel's; a container keeps its host's, so the start time of process 1 goes with it (proc(5)).
IDENTITY: Final = "cat /proc/sys/kernel/random/boot_id; sed 's/.*) //' /proc/1/stat | cut -d' ' -f20"
RESTART: Final = """
if [ -d /run/systemd/system ]; then systemctl reboot; else (sync; reboot) </dev/null >/dev/null 2>&1 & fi
"""
STARTED: Final = "[ ! -d /run/systemd/system ] || systemctl is-system-running --wait"
STATE: Final = """
if [ -e /run/systemd/shutdown/scheduled ]; then
  echo scheduled
elif [ -d /run/systemd/system ]; then
  systemctl is-system-running
else
  echo unknown
fi
"""
COMES_BACK: Final = 600.0
"""Seconds that a machine has to restart."""
STILL_THERE: Final = 60.0
"""Seconds after which a machine that lost the connection, and is in its old boot, counts as not restarting."""
KILLED: Final = 128
"""From here on, an exit code tells of a signal; source: sh(1)."""
READY: Final = frozenset({"running", "degraded"})


class Runner(Protocol):
    """The part of `Machine` that is used here."""

    def run(
        self,
        command: Words,
        *,
        user: str | None = None,
        warn: bool = False,
        hide: bool | str | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Run a command; see `Machine.run`."""
        ...


class Restartable(Protocol):
    """The part of `Machine` that restarts it."""

    def reboot(self, timeout: float) -> None:
        """Restart it; see `Machine.reboot`."""


def reboot(machine: Runner, link: Link, work: WorkContext, timeout: float) -> None:
    """Restart and wait; see `Machine.reboot`."""
    deadline = time.monotonic() + timeout
    before = _born(link)
    _order(link)
    link.close()
    await_restart(link, work, before, timeout)
    _started(machine, max(1.0, deadline - time.monotonic()))


def await_restart(link: Link, work: WorkContext, before: str, timeout: float) -> None:
    """Wait until the machine is in another boot.

    Args:
        link: the way to it.
        work: how to be cancelled, and who hears what is being waited for.
        before: its identity in the old boot.
        timeout: seconds.

    Raises:
        ConnectError: it is not, in time.
        DriverError: it died.
    """
    deadline = time.monotonic() + timeout

    def probe() -> None:
        # A machine on its way down may still let us in; it then says who it was, or hangs up.
        link.open(max(1.0, deadline - time.monotonic()))
        try:
            if identity(link) != before:
                return
        except (Lost, TaskError) as error:
            link.close()
            raise NotYet("it hung up: going down, or just up") from error
        link.close()
        raise NotYet("it is still in its old boot")

    until(
        probe,
        what="the machine has restarted",
        timeout=timeout,
        cancel=work.cancel,
        notify=work.waiting,
        error=ConnectError,
        hint="look at the machine's console",
    )


def run_across_restart(link: Link, work: WorkContext, attempt: Callable[[], Result], shown: str) -> Result | None:
    """Run a command that may restart the machine, and wait for the restart if it does.

    Args:
        link: the way to the machine.
        work: how to be cancelled, and who hears what is being waited for.
        attempt: runs the command; raises `Lost` when the connection ends.
        shown: what messages call it.

    Returns:
        The command's result, as a success where the restart ended it; None when the connection was lost, and the
        machine is still in its old boot.

    Raises:
        TaskError: it plans a restart for later.
        ConnectError: the machine does not come back.
        DriverError: the machine died.
    """
    before = _born(link)
    try:
        result = attempt()
    except Lost:
        result = None
    if result is not None and not _goes_down(link, work, before, shown):
        return result
    link.close()
    try:
        await_restart(link, work, before, COMES_BACK if result is not None else STILL_THERE)
    except ConnectError:
        if result is None:
            return None
        raise
    if result is None or result.exited >= KILLED:
        return Result(command=shown, exited=0, stdout=result.stdout if result is not None else "")
    return result


def execute_across_restart(
    link: Link,
    alive: Callable[[], object],
    work: WorkContext,
    call: Command,
    attempt: Callable[[], Result],
    *,
    may_stay: bool,
) -> Result:
    """Run a command that may restart the machine; the next one finds it in its new boot.

    Args:
        link: the way to the machine.
        alive: raises `DriverError` when the machine is dead.
        work: how to be cancelled.
        call: the command, for messages.
        attempt: runs it; raises `Lost` when the connection ends.
        may_stay: a connection that ends is no failure where the machine stays in its boot, either.

    Raises:
        TaskError: the connection was lost, and the machine did not restart; or a restart is planned for later.
        ConnectError: it does not come back.
        DriverError: it died.
    """
    if may_stay:
        return _across_disconnect(link, work, attempt, call.shown)
    result = run_across_restart(link, work, attempt, call.shown)
    if result is None:
        raise lost(link, alive, call, "it did not restart")
    return result


def _across_disconnect(link: Link, work: WorkContext, attempt: Callable[[], Result], shown: str) -> Result:
    """Run a command that may cut the connection; where it restarts the machine too, wait for that."""
    before = _born(link)
    try:
        result = attempt()
    except Lost:
        result = Result(command=shown, exited=0)
        link.close()
        link.open()
    if _goes_down(link, work, before, shown):
        link.close()
        await_restart(link, work, before, COMES_BACK)
    return result


def restart_in_its_place(machine: Restartable, command: Words, restarts: str, timeout: float) -> Result:
    """Do what a command that only restarts the machine means.

    Args:
        machine: the machine.
        command: what the task asked for.
        restarts: `restart` or `off`, as `restart_commands.intent` says.
        timeout: seconds.

    Raises:
        TaskError: it would switch the machine off.
    """
    shown = Command(command=command if isinstance(command, str) else tuple(command)).shown
    if restarts == "off":
        raise TaskError(
            f"`{shown}` would switch the machine off in the middle of its build",
            where=caller(),
            hint="leave it out: the machine is stopped when its image is made; m.reboot() restarts it",
        )
    machine.reboot(timeout)
    return Result(command=shown, exited=0)


def _goes_down(link: Link, work: WorkContext, before: str, shown: str) -> bool:
    """Say whether the machine is about to restart, after a command that may have told it to."""
    try:
        state = link.open().run(STATE, timeout=30).stdout.strip()
        if state == "scheduled":
            raise TaskError(
                f"`{shown}` plans a restart for later, when other commands run",
                where=caller(),
                hint="restart at once, and wait for it: m.reboot()",
            )
        for _ in range(10 if state == "unknown" else 0):  # an init that does not say
            work.cancel.sleep(0.3)
            if identity(link) != before:
                return True
    except (Lost, TimedOut):
        return True
    return state == "stopping"


def limit(given: float | None, ends: float | None, step: str) -> float | None:
    """Return the seconds that a command may take: what its call says, and no longer than its step has left.

    Raises:
        TaskError: the step has no time left.
    """
    if ends is None:
        return given
    left = ends - time.monotonic()
    if left <= 0:
        raise TaskError(f"the task {step} ran longer than its timeout")
    return left if given is None else min(given, left)


def wait_for(machine: Runner, work: WorkContext, what: Words | Callable[[], object], timeout: float) -> None:
    """Wait for a command or a function; see `Machine.wait_for`."""
    name = getattr(what, "__name__", "the function") if callable(what) else Command(command=what).shown

    def probe() -> None:
        if callable(what):
            if not what():
                raise NotYet(f"{name} says no")
            return
        result = machine.run(what, warn=True, hide=True, timeout=timeout)
        if result.failed:
            last = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise NotYet(f"exit code {result.exited}" + (f": {last[0]}" if last else ""))

    try:
        until(
            probe,
            what=f"waiting for {name}",
            timeout=timeout,
            cancel=work.cancel,
            notify=lambda reason, seconds: work.waiting(f"{name}: {reason}", seconds),
            error=TaskError,
        )
    except TaskError as error:
        error.where = error.where or caller()
        raise


def identity(link: Link) -> str:
    """Return what is another one after each boot.

    Raises:
        TaskError: the machine does not say.
        Lost: the connection ended.
    """
    result = link.open().run(IDENTITY, timeout=30)
    if result.failed or len(result.stdout.split()) != 2:  # noqa: PLR2004  the boot id and the start time
        raise TaskError("the machine does not say which boot it is in", why=result.stderr.strip())
    return result.stdout


def _born(link: Link) -> str:
    """Return the identity of a machine that nobody has told to restart yet.

    Raises:
        TaskError: the machine does not say, or the connection was lost.
        DriverError: the machine died.
    """
    try:
        return identity(link)
    except Lost as error:
        call = Command(command=IDENTITY, title="look which boot the machine is in")
        raise lost(link, link.endpoint, call, str(error)) from error


def _order(link: Link) -> None:
    """Give the order. The connection may end before the answer, which is an answer too."""
    transport = link.open()
    if link.endpoint().transport == "namespace" and transport.run("[ -d /run/systemd/system ]").failed:
        raise TaskError(
            "a plain namespace cannot restart: no systemd runs in it",
            where=caller(),
            hint="run bake as root with systemd-nspawn installed, or build with Qemu",
        )
    order = RESTART if transport.user == "root" else f"sudo -n sh -c '{RESTART}'"
    try:
        result = transport.run(order, timeout=60)
    except Lost:
        return
    if result.failed:
        raise TaskError("the machine refuses to restart", why=result.stderr.strip())


def _started(machine: Runner, timeout: float) -> None:
    """Wait until systemd has started all units; one that failed is for the smoke tests to judge."""
    result = machine.run(STARTED, user="root", warn=True, hide=True, timeout=timeout)
    state = result.stdout.strip()
    if result.failed and state not in READY:
        raise ConnectError(
            f"the machine has restarted, but systemd has not: {state or 'no answer'}",
            why=result.stderr.strip(),
            hint="a unit hangs: `systemctl list-jobs` on the machine names it",
        )
