"""What a machine shows on its screen, as a picture."""

from __future__ import annotations

from pathlib import Path

from bakery.drivers.qemu.monitor import Monitor
from bakery.util.waiting import Cancel, until

PATIENCE = 30.0
"""Seconds: QEMU serves one client at a time, and the build asks it as well."""


def dump(machine: Path, to: Path) -> None:
    """Write the screen as a PNG file.

    Args:
        machine: the machine's folder.
        to: the file.

    Raises:
        NotYet: QEMU serves somebody else, or is gone.
        QmpError: it cannot.
    """
    with Monitor(machine) as monitor:
        monitor.ask("screendump", filename=str(to.absolute()), format="png")


def screenshot(machine: Path, to: Path) -> None:
    """Do the same, and wait until QEMU has time for it.

    Raises:
        DriverError: it has none for half a minute, or cannot.
    """
    until(lambda: dump(machine, to), what="a screenshot", timeout=PATIENCE, cancel=Cancel(), every=(0.05, 0.5))
