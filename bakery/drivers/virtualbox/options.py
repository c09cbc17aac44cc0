"""What a VirtualBox machine may start from besides a disk and an appliance: a machine that is registered."""

from __future__ import annotations

from dataclasses import dataclass

from bakery.drivers.shared.kinds import refuse_wrong_kinds
from bakery.errors import ImagefileError


@dataclass(frozen=True)
class RegisteredMachine:
    """A machine that VirtualBox of this user knows already. It is never changed: what is built on is a clone.

    Args:
        name: its name or UUID.
        snapshot: the snapshot to start from, which makes the clone a linked one, in a second; without one the machine
            must be off, and its whole disk is copied.
    """

    name: str
    snapshot: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no name.

        Raises:
            ImagefileError: it is empty, or no text.
        """
        refuse_wrong_kinds(self)
        if not self.name:
            raise ImagefileError("RegisteredMachine(name=''): which machine?", hint="`VBoxManage list vms` shows them")
