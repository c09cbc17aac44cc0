"""The frame around a command on a machine: proof that it was ours that ran, and where its own words begin and end.

What an SSH server starts is never our command, but the user's login shell, which reads start files, or a forced command
in its place. Any of them may talk, end, become another program, or not understand the line. So the line is one that
every shell either hands to `/bin/sh` unharmed or refuses as a whole, and `/bin/sh` answers with a mark that it has to
put together from two halves: whoever merely repeats the line does not give the mark.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, Literal

from bakery.model import Stream

LONGEST: Final = 131_000
"""Bytes of a line. Linux takes 128 KiB in one argument. Source: execve(2), MAX_ARG_STRLEN."""
CHATTER: Final = 1 << 20
"""Bytes that may come before the mark; whoever says more is no shell of ours."""

# Whoever gave up waiting has closed the streams: then nothing is run any more.
# Options of a bash that became our shell come along in SHELLOPTS: tracing, globbing, the end at the first failure.
_OPTIONS: Final = "{ set +efuvx; } 2>/dev/null; "
_BEGIN: Final = _OPTIONS + 'printf "%s%s:%s;" "$1" "$2" "$$" >&2 && printf "%s%s;" "$1" "$2" || exit 1; '
# The command runs in a child of the shell: only so is a signal reported as 128+N, and the shell's remark about it
# ("Killed ...", with the whole line) goes nowhere. SHLVL keeps bash from reading ~/.bashrc once more, see bash(1),
# INVOCATION: it takes itself for the first shell of an SSH login.
_RUN: Final = (
    _BEGIN + 'SHLVL=1; export SHLVL; c=$(printf %b "$3"); exec 3>&2 2>/dev/null; (eval "$c") 2>&3 3>&-; '
    'c=$?; printf "%s%s:%s;" "$1" "$2" "$c" >&3; exit "$c"'
)
_SHELL: Final = _BEGIN + "exec /bin/sh"

_PLAIN: Final = re.compile(rb"[^ -~]|['\\!]")
"""What is not the same inside single quotes of every shell: fish has escapes there, csh a history and no newlines."""


class Frame:
    """One command's frame: makes the line, and reads what comes back.

    Args:
        kind: `run` for a command that ends, `look` for one that looks after others, `shell` for a shell that reads.
    """

    def __init__(self, kind: Literal["run", "look", "shell"] = "run") -> None:
        self.pid: int | None = None
        """The process id of our shell on the machine."""
        self.exited: int | None = None
        """The command's exit code, once our shell has told it."""
        self._kind = kind
        self._halves = (secrets.token_hex(8), secrets.token_hex(8))
        self._mark = "".join(self._halves).encode()
        self._heads: dict[Stream, bytearray | None] = {"stdout": bytearray(), "stderr": bytearray()}
        self._chatter: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self._held = b""

    # ---- what is sent -------------------------------------------------------------------------------------------

    def words(self, command: str = "") -> list[str]:
        """Return the words that run a command of ours: `/bin/sh` and its arguments, plain characters all of them.

        Args:
            command: lines for a POSIX shell; none for a shell.

        Raises:
            ValueError: the command is longer than a kernel takes.
        """
        script = _SHELL if self._kind == "shell" else _RUN
        words = ["/bin/sh", "-c", script, f"bakery-{self._kind}", *self._halves]
        if command:
            words.append(_PLAIN.sub(_octal, command.encode(errors="surrogateescape")).decode())
        if sum(len(word) + 3 for word in words) > LONGEST:
            raise ValueError(
                f"the command is longer than {LONGEST} bytes: put it into a file and use script(), or send what makes "
                "it long as input="
            )
        return words

    def line(self, command: str = "", *, before: tuple[str, ...] = ()) -> str:
        """Return the words as a line for an unknown login shell.

        Args:
            command: as for `words`.
            before: words in front of ours, such as those of sudo.
        """
        return " ".join(["exec", *before, *(f"'{word}'" for word in self.words(command))])

    # ---- what comes back ----------------------------------------------------------------------------------------

    @property
    def proven(self) -> bool:
        """True when our shell has answered on both streams."""
        return not any(head is not None for head in self._heads.values())

    def came(self, stream: Stream) -> bool:
        """Say whether our shell's answer came on a stream."""
        return self._heads[stream] is None

    @property
    def chatter(self) -> str:
        """What others said before our shell did."""
        heads = (self._chatter[name] + bytes(self._heads[name] or b"") for name in ("stdout", "stderr"))
        return b"\n".join(head.strip() for head in heads if head.strip()).decode(errors="replace")

    @property
    def flooded(self) -> bool:
        """True when others have said more than any start file does."""
        return any(head is not None and len(head) > CHATTER for head in self._heads.values())

    def take(self, stream: Stream, data: bytes) -> bytes:
        """Take a chunk as it comes, and return what of it is the command's own."""
        head = self._heads[stream]
        if head is not None:
            head += data
            data = self._begin(stream, head)
        return self._end(data) if data and stream == "stderr" and self._kind != "shell" else data

    def rest(self) -> bytes:
        """Return what was held back of standard error, at its end."""
        held, self._held = self._held, b""
        return held

    def _begin(self, stream: Stream, head: bytearray) -> bytes:
        """Look for the mark after what others said."""
        mark = re.escape(self._mark) + (rb":([0-9]+);" if stream == "stderr" else b";")  # neither is the other's
        found = re.search(mark, head)
        if found is None:
            return b""
        if stream == "stderr":
            self.pid = int(found[1])
        self._chatter[stream] = bytes(head[: found.start()])
        self._heads[stream] = None
        return bytes(head[found.end() :])

    def _end(self, data: bytes) -> bytes:
        """Take the exit code out of standard error; what may be the beginning of it is held back."""
        if self.exited is not None:
            return data
        data = self._held + data
        at = data.find(self._mark)
        end = data.find(b";", at) if at >= 0 else -1
        if end >= 0:
            self._held = b""
            self.exited = int(data[at + len(self._mark) + 1 : end])
            return data[:at] + data[end + 1 :]
        keep = len(data) - at if at >= 0 else _overlap(data, self._mark)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]


def _overlap(data: bytes, mark: bytes) -> int:
    """Return how many bytes at the end of some data may be the beginning of a mark."""
    longest = min(len(data), len(mark) - 1)
    return next((size for size in range(longest, 0, -1) if data.endswith(mark[:size])), 0)


def _octal(match: re.Match[bytes]) -> bytes:
    return b"\\0%03o" % match[0][0]
