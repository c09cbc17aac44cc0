"""A copy of Ansible's own library for modules on the machine, made while a play runs.

Each module brings all of it along in a zip archive, and Python compiles it anew each time: half of what a small task
takes. Of a folder Python keeps what it compiled. The launcher has each module look there first; where the folder is
not, or not yet, or no longer (a machine that was restarted), the archive is as good as ever.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bakery.errors import BakeryError

if TYPE_CHECKING:
    from bakery.machine.machine import Machine
    from bakery.provision.ansible_events import Told

WORTHWHILE: Final = 3
"""Results of tasks after which a play is long enough for it."""
PATIENCE: Final = 60.0
"""Seconds that it may take after the play has ended."""
NOT_PYTHON: Final = ("__pycache__", "*.ps1", "*.psm1", "*.psd1", "*.cs", "csharp", "powershell")


class ModuleUtilsCopy:
    """Sends Ansible's `module_utils` once a play is long enough; whatever goes wrong with that, the play goes on.

    Args:
        m: the machine.
        place: the folder on it.
    """

    def __init__(self, m: Machine, place: str) -> None:
        self._m, self._place = m.with_defaults(user="root"), place
        self._thread: threading.Thread | None = None

    def heard(self, told: Told) -> None:
        """Take notice of a result."""
        if self._thread is None and told.module_utils and len(told.items) >= WORTHWHILE:
            self._thread = threading.Thread(
                target=self._send, args=(Path(told.module_utils),), name="bakery-module-utils", daemon=True
            )
            self._thread.start()

    def end(self) -> None:
        """Wait until nothing is on its way any more."""
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _send(self, folder: Path) -> None:
        with suppress(BakeryError, OSError):  # the play says best what is wrong with the machine
            part = f"{self._place}.part"
            self._m.run(["mkdir", "-m", "755", part], hide=True)  # is ours, or this fails
            self._m.copy(folder, part, exclude=NOT_PYTHON, owner="root")
            self._m.run(["sh", "-c", 'chmod -R a+rX "$1" && mv "$1" "$2"', "mv", part, self._place], hide=True)
