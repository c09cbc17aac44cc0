"""Where a machine has room for a CD drive: on a controller that it has, or on one that is added."""

from __future__ import annotations

from typing import NamedTuple

from bakery.drivers.virtualbox.api.answers import MachineInfo

_PORTS = {"IntelAhci": (30, 1), "PIIX3": (2, 2), "PIIX4": (2, 2), "ICH6": (2, 2)}
"""Ports of a controller, and devices of each, for the controllers that take CD drives."""


class Slot(NamedTuple):
    """A place for a drive."""

    controller: str
    port: int
    device: int


def free(machine: MachineInfo) -> Slot | None:
    """Return the first free place for a CD drive; None where no controller has one."""
    taken = machine.attachments
    for number in range(16):
        name = machine.values.get(f"storagecontrollername{number}", "")
        ports, devices = _PORTS.get(machine.values.get(f"storagecontrollertype{number}", ""), (0, 0))
        places = (Slot(name, port, device) for port in range(ports) for device in range(devices))
        if place := next((place for place in places if place not in taken), None):
            return place
    return None


def ports(machine: MachineInfo, controller: str) -> int:
    """Return how many ports a controller has been given."""
    numbers = (n for n in range(16) if machine.values.get(f"storagecontrollername{n}") == controller)
    return next((int(machine.values.get(f"storagecontrollerportcount{n}", 0)) for n in numbers), 0)
