"""Power a machine off through its guest: by VMware Tools, else by its power button; its plug is never pulled."""

from __future__ import annotations

import time
from typing import Final

from bakery.drivers.shared.waiting import patience
from bakery.drivers.vsphere.api import types
from bakery.drivers.vsphere.api.center import VCenter
from bakery.drivers.vsphere.api.errors import VSphereError, fault_of
from bakery.drivers.vsphere.source import VSphere
from bakery.errors import DriverError, NotYet
from bakery.model import Handle
from bakery.util.context import WorkContext
from bakery.util.waiting import until

AGAIN: Final = 30.0
"""Seconds after which a guest that did not react is asked once more."""
TOOLS_RUN = frozenset({"guestToolsRunning", "guestToolsExecutingScripts"})
POWER_KEY: Final = 0x66 << 16 | 0x07
"""The power key of a USB keyboard (HID usage tables 1.5, page 7, usage 0x66), as `UsbScanCodeSpec` has it. logind takes
it for the power button, and acpid does not."""
PATHS = ("runtime.powerState", "runtime.question", "guest.toolsRunningStatus")


class Shutdown:
    """One machine's way to being off.

    Args:
        center: where.
        handle: the machine.
    """

    def __init__(self, center: VCenter, handle: Handle) -> None:
        self._center = center
        self._machine = center.machine(handle.data["machine"])
        self._asked = -AGAIN
        self._how = ""

    def wait(self, source: VSphere, work: WorkContext) -> None:
        """Ask the guest to power off, and wait until it is.

        Raises:
            DriverError: it does not, cannot be asked, is gone, or waits for an answer.
        """
        until(
            self._probe,
            what="the machine powers off",
            timeout=source.stop_timeout,
            cancel=work.cancel,
            notify=work.waiting,
            every=(0.1, source.poll),
            late=0.1,
            hint="does the guest react? It stays on, since cutting it off would lose what it has not written: "
            "VSphere(stop_timeout=...)",
        )

    def _probe(self) -> None:
        with patience("vSphere"):
            values = self._center.properties(self._machine, *PATHS)
            if values is None:
                raise DriverError("the machine is gone and cannot be imaged", why="somebody destroyed it")
            if (question := values.get("runtime.question")) is not None:
                raise DriverError("the machine waits for an answer and cannot be imaged", why=str(question.text))
            match str(values.get("runtime.powerState")):
                case "poweredOff":
                    return
                case "suspended":
                    raise DriverError("the machine is suspended and cannot be imaged", hint="do not suspend it")
            if time.monotonic() - self._asked >= AGAIN:
                self._how = self._ask(str(values.get("guest.toolsRunningStatus")))
                self._asked = time.monotonic()
        raise NotYet(f"the guest powers off ({self._how})")

    def _ask(self, tools: str) -> str:
        """Ask the guest, and return by what."""
        if tools in TOOLS_RUN:
            try:
                self._center.call("shut the guest down", self._machine.ShutdownGuest, repeat=False)
            except VSphereError as error:
                match fault_of(error):
                    case "InvalidPowerState":  # off meanwhile, which the next look shows
                        return "VMware Tools"
                    case "ToolsUnavailable":
                        return self._press()
                    case _:
                        raise
            return "VMware Tools"
        return self._press()

    def _press(self) -> str:
        vim = types.vim()
        key = vim.vm.UsbScanCodeSpec.KeyEvent(usbHidCode=POWER_KEY)
        spec = vim.vm.UsbScanCodeSpec(keyEvents=[key])
        try:
            self._center.call("press the power button", lambda: self._machine.PutUsbScanCodes(spec), repeat=False)
        except VSphereError as error:
            if fault_of(error) != "InvalidPowerState":
                raise DriverError(
                    "the guest cannot be asked to power off",
                    why=f"VMware Tools do not run in it, and its power button cannot be pressed: {error.why}",
                    hint="install open-vm-tools in the base, or in a task",
                ) from error
        return "power button"
