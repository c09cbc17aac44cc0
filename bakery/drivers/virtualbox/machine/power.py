"""Whether a machine runs, and how it is powered off: by its guest where its disk matters, at once where it does not."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path

import psutil

from bakery.drivers.qemu.process import tail
from bakery.drivers.virtualbox.api.answers import MachineInfo
from bakery.drivers.virtualbox.api.errors import VirtualBoxError
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.errors import DriverError, NotYet
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel, until

OFF = frozenset({"poweroff", "aborted"})
SAVED = frozenset({"saved", "aborted-saved"})
RUNNING = frozenset({"running"})
CHANGING = frozenset(
    {"starting", "stopping", "saving", "restoring", "livesnapshotting", "onlinesnapshotting", "settingup"}
)
PRESS_AGAIN = 20.0
"""Seconds until the power button is pressed again: a guest that is still booting does not hear it the first time."""
CUT_OFF = 60.0
"""Seconds for VirtualBox to end a machine whose disk is thrown away."""
_ENDED = {
    "poweroff": "the machine powered itself off",
    "aborted": "the machine's process was killed or crashed",
    "saved": "somebody saved the machine's state, and with that stopped it",
    "aborted-saved": "somebody saved the machine's state, and its process crashed",
    "gurumeditation": "VirtualBox stopped the machine: a guru meditation",
    "paused": "somebody paused the machine",
    "stuck": "VirtualBox stopped the machine: a guru meditation",
}


def must_run(box: VBoxManage, name: str, console: Path) -> MachineInfo:
    """Return what is known of a machine that runs.

    Raises:
        NotYet: it is starting.
        DriverError: it is gone, or will never run again by itself.
    """
    machine = box.info(name)
    if machine is None:
        raise DriverError(f"the machine {name} is gone", why="VirtualBox has none of that name any more")
    if machine.state in RUNNING:
        return machine
    if machine.state in CHANGING:
        raise NotYet(f"the machine is {machine.state}")
    raise ended(machine, console)


def ended(machine: MachineInfo, console: Path) -> DriverError:
    """Say how a machine ended, with the last that it and VirtualBox wrote."""
    what = _ENDED.get(machine.state, f"the machine is {machine.state}")
    parts = (_last(console, "its console ended with", 12), logged(machine))
    return DriverError(what, why="\n".join(filter(None, parts)) or "it left no words")


def logged(machine: MachineInfo) -> str:
    """Return the last that VirtualBox logged of a machine, under a title; empty where there is no log."""
    return _last(log_of(machine), "VirtualBox logged", 6)


def _last(path: Path, title: str, count: int) -> str:
    lines = tail(path, count)
    return f"{title}:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


def log_of(machine: MachineInfo) -> Path:
    """Return the file that VirtualBox logs a machine's life to."""
    return Path(machine.values.get("LogFldr", machine.config.parent / "Logs")) / "VBox.log"


def off(box: VBoxManage, name: str, console: Path, *, timeout: float, work: WorkContext) -> None:
    """Press the power button and wait until the guest has powered itself off.

    A guest that does not is left running: cutting it off would lose what it has not written.

    Args:
        box: VirtualBox.
        name: the machine.
        console: what it wrote on its serial port.
        timeout: seconds.
        work: can cancel it.

    Raises:
        DriverError: it does not power off, or died on the way.
    """
    pressed = -math.inf

    def is_off() -> None:
        nonlocal pressed
        if time.monotonic() - pressed < PRESS_AGAIN and box.runs(name):
            raise NotYet("the machine is shutting down")
        machine = box.info(name)
        if machine is None or machine.state not in {*RUNNING, *CHANGING, "poweroff"}:
            raise ended(machine, console) if machine else DriverError(f"the machine {name} is gone")
        if machine.state == "poweroff":
            return
        if machine.state in RUNNING and time.monotonic() - pressed >= PRESS_AGAIN:
            with suppress(VirtualBoxError):  # it may have powered off in between, which the next look tells
                box.control(name, "acpipowerbutton")
            pressed = time.monotonic()
        raise NotYet("the machine is shutting down")

    until(
        is_off,
        what="the machine powers off",
        timeout=timeout,
        cancel=work.cancel,
        notify=work.waiting,
        every=(0.1, 0.5),
        hint="the guest must obey its power button (ACPI); shutdown_timeout= gives it more time",
    )


def cut_off(box: VBoxManage, machine: MachineInfo) -> None:
    """End a machine whose disk is thrown away, and return when it is off.

    Raises:
        DriverError: it is still there.
    """
    if machine.state in OFF:
        return
    if machine.state in SAVED:
        box.discard_state(machine.uuid)
        return
    with suppress(VirtualBoxError):  # it may be off by now, or be one that hears nothing; looked at below
        box.control(machine.uuid, "poweroff")

    def is_off() -> None:
        if box.runs(machine.uuid):
            raise NotYet("it runs")
        found = box.info(machine.uuid)
        if found is not None and found.state not in OFF:
            raise NotYet(f"it is {found.state}")

    try:
        until(is_off, what=f"the end of {machine.name}", timeout=CUT_OFF, cancel=Cancel(), every=(0.05, 0.5))
    except DriverError:
        kill(machine.uuid)
        until(is_off, what=f"the end of {machine.name}", timeout=CUT_OFF, cancel=Cancel(), every=(0.05, 0.5))


def kill(uuid: str) -> None:
    """Kill the process that runs a machine; VBoxSVC notes it as aborted."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if words and Path(words[0]).name.startswith(("VBoxHeadless", "VirtualBoxVM")) and uuid in words:
                process.kill()
