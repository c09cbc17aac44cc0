"""Tasks: what vSphere does in its own time, waited for with a deadline, and cancelled when nobody wants it any more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from bakery.drivers.shared.create_once import create_once
from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, VSphereRetryableError, fault_of, refusal
from bakery.errors import BakeryError, Interrupted, NotYet
from bakery.state.claim import Claim
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

LATE = 0.1
"""How much later than it happens the end of a task may be seen, as a part of the time waited."""
CHANGING = 600.0
"""Seconds for changing a machine's settings."""
LONGEST = 1.0
"""Seconds of the longest pause between two questions."""
PATHS = ("info.state", "info.error", "info.result", "info.progress")
"""pyvmomi 9.1 cannot read the whole `info` of a task on what is no entity, such as a snapshot, from every server."""


def run(
    center: VCenter,
    what: str,
    start: Callable[[], Any],
    work: WorkContext,
    *,
    timeout: float,
    repeat: bool = False,
    hint: str = "",
) -> Any:
    """Start a task, wait for its end, and return its result.

    Args:
        center: where.
        what: what is wanted, for messages: "power the machine on".
        start: returns the task.
        work: ends the wait when cancelled, and is told what is waited for.
        timeout: seconds.
        repeat: start it again where the answer was lost; False where that would do something twice.
        hint: what to do about a task that takes too long.

    Raises:
        VSphereError: refused, failed, or not done in time.
    """
    return wait(center, what, center.call(what, start, repeat=repeat), work, timeout=timeout, hint=hint)


def reconfigure(center: VCenter, what: str, machine: Any, spec: Any, work: WorkContext, *, repeat: bool = True) -> None:
    """Change a machine's settings.

    Args:
        center: where.
        what: as `run`.
        machine: pyvmomi's reference to it.
        spec: the new settings: a `vim.vm.ConfigSpec`.
        work: as `run`.
        repeat: as `run`; False for a spec that adds something each time.

    Raises:
        VSphereError: as `run`.
    """
    run(center, what, lambda: machine.ReconfigVM_Task(spec), work, timeout=CHANGING, repeat=repeat)


def run_once(
    center: VCenter,
    what: str,
    start: Callable[[], Any],
    look_up: Callable[[], list[Any]],
    claim: Claim,
    *,
    timeout: float,
) -> Any:
    """Start a task that makes something, once, also where an answer is lost, and return what it made.

    Args:
        center: where.
        what: as `run`.
        start: returns the task.
        look_up: returns what has our name already.
        claim: as `run`; its events say why something is asked again.
        timeout: seconds.

    Raises:
        VSphereError: as `run`.
    """

    def attempt() -> Any:
        try:
            return run(center, what, start, claim, timeout=timeout)
        except VSphereError as error:
            if fault_of(error) != "DuplicateName" or not (found := look_up()):
                raise
            return found[0]  # asked for before; that answer was lost

    return create_once(attempt, look_up, claim, on=VSphereRetryableError)


def wait(center: VCenter, what: str, task: Any, work: WorkContext, *, timeout: float, hint: str = "") -> Any:
    """Wait for a task's end and return its result; as `run`."""
    try:
        return until(
            lambda: _result(center, what, task),
            what=f"vSphere has to {what}",
            timeout=timeout,
            cancel=work.cancel,
            notify=work.waiting,
            every=(0.05, LONGEST),
            late=LATE,
            error=TaskTimeoutError,
            hint=hint,
        )
    except (Interrupted, TaskTimeoutError):
        _cancel(center, task)
        raise


class TaskTimeoutError(VSphereError):
    """A task is not done in time."""


def _result(center: VCenter, what: str, task: Any) -> Any:
    with patience("vSphere"):
        info = center.properties(task, *PATHS)
    if info is None:
        raise VSphereError(f"vSphere did not {what}", why="its task is not there any more")
    match str(info.get("info.state")):
        case "success":
            return info.get("info.result")
        case "error":
            raise refusal(what, info["info.error"])
        case _:
            progress = info.get("info.progress")
            raise NotYet(f"vSphere is to {what}" + (f" ({progress} %)" if progress else ""))


def _cancel(center: VCenter, task: Any) -> None:
    """Ask for a task's end; one that cannot be cancelled goes on, and what it makes is destroyed later."""
    with contextlib.suppress(BakeryError):
        center.within(Cancel()).call("cancel the task", task.CancelTask, repeat=False)
