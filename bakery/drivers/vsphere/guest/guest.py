"""What a way over guest operations asks of a guest, whoever answers: VMware Tools, or a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class GuestAway(Exception):  # noqa: N818  what happened to the guest
    """VMware Tools do not answer at the moment: they, or the guest, start anew."""


class GuestFolderGone(Exception):  # noqa: N818  the same
    """The folder is not there: the guest is in another boot, or somebody removed it."""


class GuestAccess(Protocol):
    """A machine's files and programs, as one user of it. Paths are absolute.

    All methods raise `GuestAway` while nobody answers, `Lost` when the machine is off or the server cannot be reached,
    and `VSphereError` for what is refused for good.
    """

    def make_folder(self) -> str:
        """Make a folder that this user alone can look into, which does not outlive the boot, and return its path."""
        ...

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it, without asking twice."""
        ...

    def sizes(self, folder: str, number: int) -> Mapping[str, int]:
        """Return the names and bytes of files in a folder that begin with a number and a dot.

        Raises:
            GuestFolderGone: there is no such folder.
        """
        ...

    def upload(self, path: str, data: bytes) -> None:
        """Write a file for this user alone; it may be seen before it is whole."""
        ...

    def download(self, path: str) -> bytes:
        """Return a file's content as it is now."""
        ...

    def rename(self, path: str, name: str) -> None:
        """Give a file another path, at once."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file; one that is not there is deleted."""
        ...

    def start(self, program: str, arguments: str) -> int:
        """Start a program, twice perhaps where an answer is lost, and return its process id."""
        ...

    def runs(self, words: str) -> bool:
        """Say whether a program runs that has these words in its command line."""
        ...

    def terminate(self, pid: int) -> None:
        """End a program; one that has ended is ended."""
        ...

    def round_trip(self) -> float:
        """Measure the seconds of one question."""
        ...

    def close(self) -> None:
        """End the connection to the server; safe to call twice."""
