"""Every error that a user can meet, each with its exit code.

BakeryError              1   a defect of ours, unless a subclass says otherwise
├── UsageError           2   the command line
├── ImagefileError       3   the imagefile, its variables and their values
├── PreflightError       4   found by looking, before anything was made
├── DriverError          5   a provider refused, or a machine died
│   └── RetryableError   5   the same, but asking again may help (throttling, 5xx, capacity)
├── ConnectError         6   the machine runs, but cannot be reached
├── TaskError            7   a task failed
│   └── CommandFailed    7   because a command on the machine did
├── SmokeError           8   the finished image does not pass its tests
├── PostError            9   a post step failed; the image is kept
├── CleanupError        10   something is left behind, and `bake gc` knows what
└── Interrupted        130   Ctrl-C, a signal or a deadline
NotYet is not an error: a probe raises it to be asked again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from bakery.model import Artifact, Result


@dataclass(frozen=True, order=True)
class Location:
    """A place in a user's file: `file` absolute, `line` counted from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        """`imagefile.py:12`, relative to the current folder where that is shorter."""
        return f"{near(str(self.file))}:{self.line}"


def near(path: str) -> str:
    """Return a path relative to the current folder where it is below it."""
    with suppress(OSError):  # the current folder may be gone
        return path.removeprefix(f"{os.getcwd().rstrip('/')}/")  # noqa: PTH109  a plan of many builds asks often
    return path


class BakeryError(Exception):
    """What happened, why, what to do next, and where in the user's files.

    Args:
        what: one sentence without a final full stop.
        why: the cause in more detail, or the other side's own words; may have several lines.
        hint: what the user can do next.
        where: the file and line to look at.
    """

    exit_code: ClassVar[int] = 1
    artifact: Artifact | None = None
    """The image that is kept all the same."""

    def __init__(self, what: str, *, why: str = "", hint: str = "", where: Location | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        """All parts, a line each."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [head, self.why, f"hint: {self.hint}" if self.hint else ""]
        return "\n".join(part for part in parts if part)


class UsageError(BakeryError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class ImagefileError(BakeryError):
    """The imagefile, a variable or a value is wrong."""

    exit_code = 3


class PreflightError(BakeryError):
    """A look at the host or the provider says that the build cannot work."""

    exit_code = 4


class DriverError(BakeryError):
    """A provider refused, or a machine died."""

    exit_code = 5


class RetryableError(DriverError):
    """A provider refused for now: throttling, a server error, no capacity."""


class ConnectError(BakeryError):
    """The machine runs, but cannot be reached or does not let us in."""

    exit_code = 6


class TaskError(BakeryError):
    """A task raised, or ran out of time."""

    exit_code = 7


class CommandFailed(TaskError):  # noqa: N818  reads as what happened, like subprocess.CalledProcessError
    """A command on the machine ended with an exit code other than 0, or ran out of time."""

    def __init__(self, what: str, *, result: Result, why: str = "", hint: str = "") -> None:
        super().__init__(what, why=why, hint=hint)
        self.result = result


class SmokeError(BakeryError):
    """The finished image does not pass its tests."""

    exit_code = 8


class PostError(BakeryError):
    """A post step failed. The image is kept."""

    exit_code = 9


class CleanupError(BakeryError):
    """Something could not be destroyed. The journal knows it. The image may be kept all the same."""

    exit_code = 10


class Interrupted(BakeryError):  # noqa: N818  it is what happened, not a fault
    """A signal or a deadline ended the run."""

    exit_code = 130


class NotYet(Exception):  # noqa: N818  not an error at all
    """Raised by a probe: not there yet, ask again.

    Args:
        reason: what is being waited for, as the user should read it ("no address yet").
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
