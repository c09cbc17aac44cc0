"""From a task's words to one line for the machine's shell: user, folder, environment, prefixes.

Values of the environment travel on standard input, in front of the command's own input: an argument list is readable by
every user of the machine (`ps`), a pipe is not.
"""

from __future__ import annotations

import io
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final, cast

from bakery.machine.transport.sudo import NO_SUDO
from bakery.util.results import Words

NO_INPUT: Final = "bakery: no input came"
INPUT_LOST: Final = 125
"""The exit code with it."""
LONGEST: Final = 120_000
"""Bytes of a command. Linux takes 128 KiB in one argument; the rest is for our frame. Source: execve(2)."""

BEGIN: Final = (
    "umask 022; "  # else what is made depends on who logs in, and where `bake` runs
    "unset BASH_ENV ENV CDPATH; "  # files that shells read before a command, and folders in which `cd` looks first
    'case "${SHELLOPTS-}" in *posix*) ;; *) unset SHELLOPTS BASHOPTS;; esac'  # bash as sh lets nobody unset its own
)
"""What a command begins with on every machine, whatever a start file, PAM or sshd has set; `env=` comes later."""
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOME: Final = re.compile(r"(~[A-Za-z0-9._-]*)(/|$)")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command, as a task asked for it.

    Args:
        command: a shell string, or words that no shell interprets.
        user: who runs it.
        env: its extra environment.
        cwd: where it runs; the user's home folder when empty.
        prefixes: shell commands to run before it, in the same shell.
        shell: the shell for strings; bash where the machine has it, else sh, when empty.
        title: what messages call it; the command itself when empty.
    """

    command: Words
    user: str = "root"
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str = ""
    prefixes: tuple[str, ...] = ()
    shell: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            ValueError: a name that no user or variable has, or a NUL byte.
            TypeError: words that are not strings.
        """
        if not _USER.fullmatch(self.user):
            raise ValueError(f"not a user name: {self.user!r}")
        if not self.command or not (isinstance(self.command, str) or all(isinstance(w, str) for w in self.command)):
            raise TypeError(f"a command is a string or a list of strings, not {self.command!r}")
        for name, value in self.env.items():
            if not _NAME.fullmatch(name) or "\0" in value:
                raise ValueError(f"not an environment variable: {name!r}")

    @property
    def shown(self) -> str:
        """The command as the user wrote it, for messages."""
        return self.title or self._text

    @property
    def _text(self) -> str:
        return self.command if isinstance(self.command, str) else shlex.join(self.command)

    def line(self, login: str, *, reads: bool = False) -> tuple[str, bytes]:
        """Return the line for the login user's shell, and what its standard input must begin with.

        Args:
            login: who logs in.
            reads: True where the command has input of its own.

        Raises:
            ValueError: the command is too long for the machine's kernel.
        """
        end = f"bakery-{secrets.token_hex(8)}"
        parts = (BEGIN, self._prologue_reader(end) if self.env or reads else "", self._folder(), self._command())
        inner = "\n".join(part for part in parts if part)
        if len(inner.encode(errors="surrogateescape")) > LONGEST:
            raise ValueError(
                f"the command is longer than {LONGEST} bytes: put it into a file and use script(), or send what makes "
                "it long as input="
            )
        return _as_user(inner, login, self.user), self._prologue(end) if self.env or reads else b""

    def _prologue_reader(self, end: str) -> str:
        # `read` takes a byte at a time from a pipe, so that what follows is left to the command. Whoever does not come
        # to the end has another input: a start file may have led it elsewhere.
        lines = f's=; while IFS= read -r l && [ "$l" != {end} ]; do s="$s$l\n"; done'
        check = f'[ "$l" = {end} ] || {{ echo "{NO_INPUT}" >&2; exit {INPUT_LOST}; }}'
        return f'{lines}\n{check}\neval "$s"; unset s l'

    def _prologue(self, end: str) -> bytes:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        return "\n".join([*lines, end, ""]).encode(errors="surrogateescape")

    def _folder(self) -> str:
        if self.cwd:
            return f"cd -- {quote_path(self.cwd)} || exit"
        return 'cd -- "$HOME" 2>/dev/null || cd /'  # a start file, or a container's entry, may have been elsewhere

    def _command(self) -> str:
        if not isinstance(self.command, str) and not self.prefixes:
            return f"exec {shlex.join(self.command)}"
        text = shlex.quote(" && ".join([*self.prefixes, self._text]))
        if self.shell:
            return f"exec {shlex.quote(self.shell)} -c {text}"
        return f'c={text}\ncommand -v bash >/dev/null 2>&1 && exec bash -c "$c"\nexec sh -c "$c"'


def quote_path(path: str) -> str:
    """Quote a path for the shell, but let `~` and `~user` at its beginning mean what they mean."""
    home = _HOME.match(path)
    if not home:
        return shlex.quote(path)
    rest = path[home.end() :]
    return home[1] + home[2] + (shlex.quote(rest) if rest else "")


def join_path(parts: Sequence[str]) -> str:
    """Nest folders as Fabric's `cd` does: an absolute path or one below `~` starts anew."""
    whole = ""
    for part in parts:
        whole = part if not whole or part.startswith(("/", "~")) else f"{whole.rstrip('/')}/{part}"
    return whole


def _as_user(inner: str, login: str, user: str) -> str:
    """Let another user run the line; by what the machine has, decided there and then, without a round trip."""
    if user == login:
        return inner
    # SHLVL as in our frame, which sudo does not pass on: no start file of bash is read.
    home = f"HOME=~{user} USER={user} LOGNAME={user} SHLVL=1; export HOME USER LOGNAME SHLVL\n"
    text = shlex.quote(home + inner)
    sudo = f'exec sudo -n -H -u {user} -- sh -c "$u"'
    missing = f"command -v sudo >/dev/null 2>&1 || {{ echo '{NO_SUDO}' >&2; exit 127; }}"
    if login != "root":
        return f"u={text}\n{missing}\n{sudo}"
    return (
        f'u={text}\ncommand -v runuser >/dev/null 2>&1 && exec runuser -u {user} -- sh -c "$u"\n'
        f'command -v su >/dev/null 2>&1 && exec su -s /bin/sh {user} -c "$u"\n{missing}\n{sudo}'
    )


class Joined(io.RawIOBase):
    """Bytes, and then a file: the prologue and the command's own input."""

    def __init__(self, head: bytes, tail: IO[bytes]) -> None:
        self._head = head
        self._tail = tail

    def read(self, size: int = -1) -> bytes:
        """Read on; the head comes alone."""
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._tail.read(size)


def joined(head: bytes, source: bytes | IO[bytes] | None) -> bytes | IO[bytes] | None:
    """Put the prologue in front of the input."""
    if not head:
        return source
    if source is None or isinstance(source, bytes):
        return head + (source or b"")
    return cast("IO[bytes]", Joined(head, source))
