"""What a command says, on its way to the user: whole lines, as they come; and what the user has not seen of it."""

from __future__ import annotations

import codecs
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from bakery.errors import Location
from bakery.model import Stream

Say: TypeAlias = Callable[[Stream, str], None]
PACKAGE: Final = str(Path(__file__).parents[1]) + "/"
UNSEEN_LINES: Final = 60
"""Lines of hidden output that an error shows."""


class Lines:
    """Cuts chunks of bytes into whole lines.

    Args:
        say: is given one or more whole lines, without the last newline.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def take(self, data: bytes) -> None:
        """Take a chunk and say the lines that are complete."""
        self._rest += self._decoder.decode(data)
        whole, newline, self._rest = self._rest.rpartition("\n")
        if newline:
            self._say(whole)

    def end(self) -> None:
        """Say the last line, which has no newline."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            self._say(rest)


class CommandOutput:
    """Both streams of one command.

    Args:
        say: is given the stream and whole lines; for streams that are not hidden.
        hidden: the streams that are not shown.
    """

    def __init__(self, say: Say, hidden: frozenset[Stream]) -> None:
        self._hidden = hidden
        self._lines: dict[Stream, Lines] = {
            "stdout": Lines(lambda text: say("stdout", text)),
            "stderr": Lines(lambda text: say("stderr", text)),
        }

    def take(self, stream: Stream, data: bytes) -> None:
        """Take a chunk."""
        if stream not in self._hidden:
            self._lines[stream].take(data)

    def end(self) -> None:
        """Say what is left."""
        for lines in self._lines.values():
            lines.end()

    def unseen(self, stdout: str, stderr: str) -> str:
        """Return the end of what was hidden, for an error."""
        texts = [text for name, text in (("stdout", stdout), ("stderr", stderr)) if name in self._hidden]
        lines = "\n".join(text.rstrip("\n") for text in texts if text.strip()).splitlines()
        left_out = len(lines) - UNSEEN_LINES
        head = [f"... {left_out} lines left out ..."] if left_out > 0 else []
        return "\n".join([*head, *lines[-UNSEEN_LINES:]])


def hidden_streams(hide: bool | str | None) -> frozenset[Stream]:
    """Read Fabric's `hide=`.

    Raises:
        ValueError: it is none of Fabric's values.
    """
    match hide:
        case None | False:
            return frozenset()
        case True | "both":
            return frozenset({"stdout", "stderr"})
        case "out" | "stdout":
            return frozenset({"stdout"})
        case "err" | "stderr":
            return frozenset({"stderr"})
        case _:
            raise ValueError(f"hide={hide!r}: use True, 'both', 'out', 'stdout', 'err', 'stderr' or None")


def caller() -> Location | None:
    """Return the line of the user's code that led here: the innermost one outside this package."""
    outer = inspect.currentframe()  # inspect.stack() reads source files for every frame: milliseconds a call
    while outer is not None:
        name = outer.f_code.co_filename
        if not name.startswith((PACKAGE, "<", sys.base_prefix + "/lib")):
            return Location(Path(name), outer.f_lineno)
        outer = outer.f_back
    return None
