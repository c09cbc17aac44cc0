"""VirtualBox through pyvbox, where its SDK is there: what only looks is read in this process, all else is VBoxManage's.

pyvbox 2.1.1 was made for VirtualBox 6.1. On 7.x many of its verbs fail, one lies, and one sequence of them ends VBoxSVC
for everybody (docs/virtualbox.md has the table), so nothing is changed through it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bakery.drivers.virtualbox.api import answers
from bakery.drivers.virtualbox.api.answers import MachineName
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from bakery.util.extras import install_hint

T = TypeVar("T")


def _connect() -> Any:
    import virtualbox

    return virtualbox.VirtualBox()


@dataclass(frozen=True, kw_only=True)
class Sdk(VBoxManage):
    """VirtualBox of this user on this host, looked at through pyvbox.

    Args:
        connect: returns pyvbox's `VirtualBox` object.
        patience: seconds for an answer.
    """

    connect: Callable[[], Any] = _connect
    patience: float = 15.0

    def version(self) -> tuple[int, int, int]:
        """Return the version."""
        return self._either(lambda box: answers.version(str(box.version)), super().version)

    def machines(self) -> list[MachineName]:
        """Return all registered machines; those whose settings cannot be read are called so, as VBoxManage does."""
        return self._either(
            lambda box: [MachineName(_name(machine), str(machine.id_p)) for machine in box.machines], super().machines
        )

    def extra_data(self, machine: str) -> dict[str, str]:
        """Return a machine's own entries, by key."""

        def read(box: Any) -> dict[str, str]:
            known = box.find_machine(machine)
            return {str(key): str(known.get_extra_data(key)) for key in known.get_extra_data_keys()}

        return self._either(read, lambda: super(Sdk, self).extra_data(machine))

    def _either(self, read: Callable[[Any], T], otherwise: Callable[[], T]) -> T:
        """Read through pyvbox; where that fails or takes too long, VBoxManage answers, and says what is wrong.

        XPCOM's calls have no deadline, so they are made in a thread of their own, which is left to itself at ours.
        """
        answers: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put((read(self.connect()),))
            except Exception:  # pyvbox's own errors, XPCOM's, and Python's where 7.x has moved something
                answers.put(None)

        threading.Thread(target=work, name="bakery-pyvbox", daemon=True).start()
        try:
            answer = answers.get(timeout=self.patience)
        except queue.Empty:
            answer = None
        return otherwise() if answer is None else answer[0]


def _name(machine: Any) -> str:
    return str(machine.name) if machine.accessible else "<inaccessible>"


def missing() -> str:
    """Return why pyvbox cannot be used in this process; empty where it can."""
    for module, origin in (("vboxapi", "VirtualBox's SDK"), ("virtualbox", install_hint("virtualbox"))):
        try:
            __import__(module)
        except Exception as error:  # XPCOM's glue raises what it likes where it finds no library
            return f"{module} ({origin}): {error}"
    return ""


def way_in() -> VBoxManage:
    """Return the way to VirtualBox that this process has: pyvbox for what only looks, where the SDK is there."""
    return VBoxManage() if missing() else Sdk()
