"""A folder on the machine for what a tool reads there: sent, traced by what was really read, and removed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bakery.errors import BakeryError, Location
from bakery.util.observer import note_input, untraced

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess
    from bakery.machine.machine import Machine

# Sets the date of the last reading of every file back; a file that is read gets a new one, also with relatime. Tells
# whether that is so here: a file system may be mounted with noatime.
FORGET: Final = """
set -eu
cd "$1"
echo >.probe
find . -type f -exec touch -a -d @1 {} +
cat .probe >/dev/null
[ "$(stat -c %X .probe)" != 1 ] || exit 3
rm .probe
"""
READ: Final = r"""cd "$1" && find . -type f -exec stat -c '%X %n' {} + | sed -n '/^1 /!s/^[0-9]* //p'"""


class Uploads:
    """What was sent to one folder of the machine.

    Args:
        m: the machine, as root.
        inside: the same.
        folder: on the machine.
    """

    def __init__(self, m: Machine, inside: MachineAccess, folder: str) -> None:
        self._m, self._inside, self.folder = m, inside, folder
        self._sent: list[tuple[str, Path]] = []
        self._traced = False

    def send(self, local: str | os.PathLike[str], name: str) -> str:
        """Send a file, or a folder with all that is in it; return its path on the machine.

        Args:
            local: relative to the imagefile's folder.
            name: what it is called below our folder.
        """
        path = Path(os.path.abspath(self._inside.folder / local))  # noqa: PTH100  resolve() would follow links
        there = f"{self.folder}/{name}"
        with untraced():  # what is read of it counts, and not all of it
            if path.is_dir():
                self._m.copy(path, there)
            else:
                self._m.run(["mkdir", "-p", "--", os.path.dirname(there)], hide=True)  # noqa: PTH120  of the machine
                self._m.put(path, there)
        self._sent.append((there, path))
        return there

    def begin_trace(self) -> None:
        """From now on what is read counts."""
        done = self._m.run(["sh", "-c", FORGET, "bakery-trace", self.folder], warn=True, hide=True)
        self._traced = done.ok

    def note_inputs(self) -> None:
        """Tell who watches the step which of the files were read; all of them where that cannot be told."""
        read: set[str] = set()
        if self._traced:
            told = self._m.run(["sh", "-c", READ, "bakery-trace", self.folder], hide=True).stdout
            read = {f"{self.folder}/{line.removeprefix('./')}" for line in told.splitlines()}
        for there, path in self._sent:
            if not self._traced:
                note_input("tree" if path.is_dir() else "file", str(path))
                continue
            for folder in [path, *(one for one in path.rglob("*") if one.is_dir())] if path.is_dir() else []:
                note_input("listing", str(folder))  # a file that is added may be one that was looked for
            for name in read:
                if (local := self._of(there, path, name)) is not None:
                    note_input("file", str(local))

    def folders(self) -> list[tuple[str, Path]]:
        """List the folders that were sent: where each is on the machine, and on this host."""
        return [(there, path) for there, path in self._sent if path.is_dir()]

    def place(self, file: str, line: int) -> Location:
        """Return the place on this host of a file that a tool names by its path on the machine."""
        for there, path in self._sent:
            if (local := self._of(there, path, file)) is not None:
                return Location(local, line)
        return Location(Path(file), line)

    def localized(self, text: str) -> str:
        """Return a text with this host's paths in the place of the machine's."""
        for there, path in sorted(self._sent, key=lambda sent: -len(sent[0])):
            text = text.replace(there, str(path))
        return text

    @staticmethod
    def _of(there: str, path: Path, file: str) -> Path | None:
        if file == there:
            return path
        return path / file.removeprefix(f"{there}/") if file.startswith(f"{there}/") else None


@contextmanager
def uploads(m: Machine, inside: MachineAccess, tool: str) -> Generator[Uploads]:
    """Make a folder on the machine that is gone afterwards, however that comes.

    Args:
        m: the machine.
        inside: the same.
        tool: whose it is, for its name.
    """
    root = m.with_defaults(user="root")
    folder = root.run(["mktemp", "-d", f"/tmp/.bakery-{tool}-XXXXXX"], hide=True).stdout.strip()  # noqa: S108  the machine's, with a name of its own
    try:
        yield Uploads(root, inside, folder)
    except BaseException:
        with suppress(BakeryError):  # it may be dead, and what brought us here says more
            _remove(root, folder)
        raise
    _remove(root, folder)


def _remove(root: Machine, folder: str) -> None:
    root.run(f"rm -rf -- {shlex.quote(folder)}", hide=True)
