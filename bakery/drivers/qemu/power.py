"""What a running QEMU knows: whether the guest runs, which port leads to it; and how to power it off."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from bakery.drivers.qemu import process
from bakery.drivers.qemu.monitor import Monitor
from bakery.errors import DriverError, NotYet
from bakery.machine.transport.diagnose import diagnose
from bakery.model import Handle
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

PATIENCE = 300.0
"""Seconds for a guest to power itself off; an emulated one with much to write may need a minute."""
NOTED = 0.5
"""Seconds; nobody writes it down for a machine that another process started."""
GRACE = 5.0
"""Seconds in which a QEMU that has hung up must have ended."""
AGAIN = 20.0
"""Seconds until the power button is pressed again: a guest that is still booting does not hear the first time."""
HINTS = {
    "Address already in use": "another program has that port: `ss -ltnp` names it; see qemu_args=",
    "Cannot allocate memory": "this host has too little memory: a smaller memory=, or fewer --jobs",
    "No space left on device": "free some space, or set BAKERY_CACHE_DIR and the project's folder to a larger disk",
    "Could not access KVM": 'accel="auto" takes what works here; `bake doctor` says more',
    "invalid option": "qemu_args= has something that this QEMU does not know",
    "is not a valid device model name": "this QEMU has no such device: `qemu-system-x86_64 -device help`",
}
"""What to do about QEMU's own words."""
PANIC = "end Kernel panic - not syncing"
"""The last that Linux says."""


def state(monitor: Monitor) -> str:
    """QEMU's word for the state of the guest: `running`, `shutdown`, `paused`, `internal-error`, ..."""
    answer: dict[str, Any] = monitor.ask("query-status")
    return str(answer["status"])


def must_live(handle: Handle) -> None:
    """Raise if QEMU ended.

    Raises:
        DriverError: with its last words.
    """
    if not process.alive(handle.id, handle.data["pid"]):
        with suppress(DriverError):  # the thread that waits for its end writes down its exit code a moment later
            noted = partial(_must_be_noted, handle)
            until(noted, what="QEMU's exit code", timeout=NOTED, cancel=Cancel(), every=(0.01, 0.05))
        words = process.last_words(handle.folder)
        hint = next((hint for part, hint in HINTS.items() if part in words), "")
        raise DriverError("the virtual machine is dead", why=words, hint=hint)


@contextmanager
def answering(handle: Handle) -> Generator[None]:
    """Tell of a machine that does not answer in the block whether it is dead.

    Raises:
        DriverError: it is, with its last words; or it lives, and does not answer.
    """
    try:
        yield
    except NotYet as error:
        with suppress(DriverError):  # the kernel may still be clearing it up
            until(partial(_must_be_gone, handle), what="QEMU's end", timeout=GRACE, cancel=Cancel(), every=(0.01, 0.1))
        must_live(handle)
        raise DriverError(
            "the virtual machine does not answer", why=error.reason, hint="is this host overloaded?"
        ) from error


def _must_be_noted(handle: Handle) -> None:
    if not (handle.folder / process.EXIT).exists():
        raise NotYet("QEMU's exit code")


def _must_be_gone(handle: Handle) -> None:
    if process.alive(handle.id, handle.data["pid"]):
        raise NotYet("QEMU may be ending")


def must_run(monitor: Monitor, handle: Handle) -> None:
    """Raise if the guest will never run again.

    Raises:
        DriverError: it powered itself off, its processor stopped, or its kernel panicked.
    """
    _refuse(state(monitor), handle)
    lines = process.tail(handle.folder / process.SERIAL, 80)
    if panicked(lines):
        found = diagnose("\n".join(lines), "address", "the kernel stopped")
        raise DriverError(f"the machine does not boot: {found.verdict}", why="\n".join(lines[-20:]), hint=found.hint)


def panicked(lines: Sequence[str]) -> bool:
    """Say whether a console ends with a panic, after which its kernel does nothing any more, not even restart."""
    ends = [number for number, line in enumerate(lines) if PANIC in line]
    return bool(ends) and not any(
        sign in line for line in lines[ends[0] :] for sign in ("Rebooting in", "Linux version")
    )


def _refuse(status: str, handle: Handle) -> None:
    """Raise for a state that the guest will never leave."""
    match status:
        case "shutdown":
            what = "the virtual machine powered itself off"
        case "internal-error" | "io-error" | "guest-panicked":
            what = f"the virtual machine stopped: {status}"
        case _:
            return
    raise DriverError(what, why=process.last_words(handle.folder))


def forwarded_port(monitor: Monitor, guest: int = 22) -> int:
    """Return the port of this host that leads to the guest's sshd; the kernel picked it when QEMU bound port 0.

    Args:
        monitor: QEMU's.
        guest: where the guest's sshd listens.

    Raises:
        NotYet: there is none.
    """
    table: str = monitor.ask("human-monitor-command", command_line="info usernet")
    found = re.search(rf"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+{guest}\s", table)
    if found is None:
        raise NotYet("no port leads to it yet")
    return int(found[1])


def off(handle: Handle, work: WorkContext) -> None:
    """Power a guest off by its power button, wait until it has done so, and let QEMU write all to the disk.

    A guest that does not is left running: killing it would lose what it has not written.

    Raises:
        DriverError: it does not power off, or died on the way.
    """
    pressed = -math.inf

    def is_off() -> None:
        nonlocal pressed
        if not process.alive(handle.id, handle.data["pid"]):
            raise DriverError(
                "the virtual machine died before it had powered off", why=process.last_words(handle.folder)
            )
        with Monitor(handle.folder) as monitor:
            status = state(monitor)  # asked once: it may change between two questions
            if status == "shutdown":
                return
            _refuse(status, handle)
            if time.monotonic() - pressed > AGAIN:
                monitor.ask("system_powerdown")
                pressed = time.monotonic()
        raise NotYet("the machine is shutting down")

    until(
        is_off,
        what="the machine powers off",
        timeout=PATIENCE,
        cancel=work.cancel,
        notify=work.waiting,
        every=(0.05, 0.25),
        hint="the serial console says what it waits for",
    )
    _quit(handle, work)


def _quit(handle: Handle, work: WorkContext) -> None:
    """End QEMU of a guest that is off; its last writes reach the file before it ends."""
    with suppress(NotYet), Monitor(handle.folder) as monitor:  # it may be gone before it has answered
        monitor.ask("quit")

    def ended() -> None:
        if process.alive(handle.id, handle.data["pid"]):
            raise NotYet("QEMU is writing to the disk")

    until(ended, what="the end of QEMU", timeout=PATIENCE, cancel=work.cancel, notify=work.waiting)
