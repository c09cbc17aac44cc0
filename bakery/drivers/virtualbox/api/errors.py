"""VirtualBox's refusals in our words: the message, VirtualBox's own code, and what to do about it."""

from __future__ import annotations

import re

from bakery.errors import DriverError, RetryableError

LOCKED = re.compile(
    r"is already locked (?:for|by) a session|while it is locked|is locked for \w+ by another task"
    r"|The object is not ready|The session is not locked"
)
"""How VirtualBox says that somebody has a machine, or is just letting go of it."""
UNREACHABLE = "Failed to create the VirtualBox object"
NOT_FOUND = "VBOX_E_OBJECT_NOT_FOUND"
LIMITED = "E_ACCESSDENIED"
"""What every question about a machine is answered with whose settings file cannot be read."""
_MESSAGE = re.compile(r"^VBoxManage: error: (?!Details:|Context:|Code )(.+)$", re.MULTILINE)
_CODE = re.compile(r"^VBoxManage: error: (?:Details: code|Code) (\w+) \((0x[0-9a-f]+)\)", re.MULTILINE)
GONE = frozenset(
    {
        "NS_ERROR_CALL_FAILED",
        "NS_ERROR_ABORT",
        "NS_ERROR_SOCKET_FAIL",
        "NS_ERROR_FACTORY_NOT_REGISTERED",
        "NS_BASE_STREAM_WOULD_BLOCK",
    }
)
"""Codes of XPCOM that mean: VBoxSVC, which does all the work, ended or does not answer."""
HINTS = {
    "Failed to load R0 module": "the kernel module does not fit this VirtualBox: `sudo /sbin/vboxconfig`",
    "VERR_VM_DRIVER_NOT_INSTALLED": "the kernel module is not loaded: `sudo modprobe vboxdrv`",
    "VERR_DISK_FULL": "free some space: VirtualBox writes into the project's .bakery folder",
    "VERR_SVM_IN_USE": "another hypervisor, perhaps KVM, uses the processor's virtualisation: end it first",
    "VERR_VMX_IN_VMX_ROOT_MODE": "another hypervisor, perhaps KVM, uses the processor's virtualisation: end it first",
    "terminated unexpectedly during startup": "`bake doctor virtualbox` looks for the kernel module",
    "Could not launch the VM process": "gui=True needs a display, and virtualbox-qt on Debian",
    "already exists": "another machine or file has that name: `VBoxManage list vms`",
    "Unknown option": "words of modifyvm= are options of this VirtualBox: `VBoxManage modifyvm --help` lists them",
    "Digest mismatch": "the appliance was damaged or changed since it was exported",
}
"""What to do about VirtualBox's own words."""


class VirtualBoxError(DriverError):
    """VirtualBox refused.

    Args:
        what: one sentence.
        code: VirtualBox's name for the refusal, as in `VBOX_E_OBJECT_NOT_FOUND`; empty where it gave none.
        why: VirtualBox's own words.
        hint: what the user can do.
    """

    def __init__(self, what: str, *, code: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what, why=why, hint=hint)
        self.code = code


class VirtualBoxRetryableError(VirtualBoxError, RetryableError):
    """VirtualBox refused for now: its service has ended, or a machine is locked."""


class ServiceUnreachableError(VirtualBoxRetryableError):
    """VBoxSVC could not be reached at all, so nothing of what was asked for has been begun."""


class MachineLockedError(VirtualBoxRetryableError):
    """Somebody else has the machine or its disk: it runs, is being exported, or VirtualBox has not yet let go of it."""


def refusal(what: str, stderr: str, exit_code: int) -> VirtualBoxError:
    """Make an error of what VBoxManage wrote on standard error.

    Args:
        what: what was asked for, as in "export the machine".
        stderr: all of it.
        exit_code: VBoxManage's.
    """
    messages = list(dict.fromkeys(match.strip() for match in _MESSAGE.findall(stderr)))
    named = _CODE.search(stderr)
    code = named[1] if named else ""
    why = "\n".join(messages) or stderr.strip() or f"VBoxManage ended with exit code {exit_code} and no word"
    if code:
        why = f"{why} ({code})"
    hint = next((hint for part, hint in HINTS.items() if part in stderr), "")
    kind: type[VirtualBoxError]
    if UNREACHABLE in stderr:
        kind, hint = ServiceUnreachableError, "VBoxSVC, VirtualBox's service, does not start: VBoxSVC.log says why"
    elif code in GONE:
        kind = VirtualBoxRetryableError
        hint = hint or "VBoxSVC, VirtualBox's service, ended in the middle of the call; the next call starts it anew"
    else:
        kind = MachineLockedError if LOCKED.search(why) else VirtualBoxError
    return kind(f"VirtualBox did not {what}", code=code, why=why, hint=hint)
