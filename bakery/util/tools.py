"""Other people's programs: run so that a cancelled build ends them, and a failed one repeats their last words."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, cast

from bakery.errors import DriverError
from bakery.model import Problem, Stream
from bakery.util.context import WorkContext
from bakery.util.process import NOTHING, PIPE, Process, attend, end_group, exit_text, start_process, wait
from bakery.util.units import format_size

WORDS_KEPT = 15
LINE: Final = 1 << 16
"""Bytes of a line that are kept, and of output in which the last lines are looked for."""
MOST: Final = 1 << 30
"""Bytes of output that are more than any tool has to say: a list of a file system's files is a tenth of that."""
PASSED = frozenset({"HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "USER", "XDG_RUNTIME_DIR"})
"""What of our environment a program needs to find its files and this user's folders."""
PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
"""The same, in upper case as well: the way to the archive."""
GRACE = 30.0
"""Seconds that a cancelled program has to clean up, before it is killed."""


def root() -> tuple[str, ...]:
    """Return the words in front of a command that must see, and give away, files of many owners.

    None for root. For everybody else: a user namespace over the ids of /etc/subuid, where root is ourselves.
    """
    return () if os.geteuid() == 0 else ("unshare", "--map-root-user", "--map-auto", "--")


def alone() -> tuple[str, ...]:
    """Return the words in front of a command of root's that mounts things: all of it ends when we do, however we end.

    Its mounts and its children live in namespaces of their own, whose first process is killed with this one. Without
    that, a killed build would leave a tree with this host's devices and `/sys` in it. Others than root are in a user
    namespace anyhow.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return ()
    spaces = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
    return ("setpriv", "--pdeathsig", "KILL", *spaces)


def dies_with_us(path: str | None = None) -> tuple[str, ...]:
    """Return the words in front of a program that must not go on writing when this process was killed.

    The kernel looks at the thread that started it, which here waits for its end. Linux only: elsewhere none.
    """
    setpriv = shutil.which("setpriv", path=path)
    return () if setpriv is None else (setpriv, "--pdeathsig", "KILL", "--")


def search_path() -> str:
    """Return where programs are looked for: those for administrators count too."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def missing(packages: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each program that is not there.

    Args:
        packages: program to the Debian package that has it.
    """
    path = search_path()
    for program, package in packages.items():
        if shutil.which(program, path=path) is None:
            yield Problem(what=f"{program} is not installed", hint=f"apt install {package}")


def run(
    words: Sequence[str | Path],
    work: WorkContext,
    *,
    what: str,
    timeout: float = 600.0,
    stdin: Path | bytes | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    hint: str = "",
    accept: Container[int] = (0,),
    most: int = MOST,
) -> bytes:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        words: the program and its arguments; never meets a shell.
        work: can cancel it; takes secrets out of what is told of a failure.
        what: what it is for, for messages: "making the file system".
        timeout: seconds.
        stdin: its standard input, or the file that it is in.
        env: variables on top of `environment()`.
        on_line: called with each line of standard error as it comes.
        hint: what the user can do when it fails.
        accept: exit codes that are no failure.
        most: bytes that it may write to standard output.

    Raises:
        DriverError: it is not there, failed, wrote too much, or ran out of time; with its last lines.
        Interrupted: when cancelled; the program and its children are gone by then.
    """
    output = _ToolOutput(on_line, most)
    line = shlex.join(map(str, words))

    def failure(summary: str, how: str) -> DriverError:
        why = "\n".join((f"{line} {how}", *output.last_lines()))
        return DriverError(summary, why=work.redact(why), hint=hint)

    with ExitStack() as stack:
        given = stack.enter_context(stdin.open("rb")) if isinstance(stdin, Path) else stdin
        process = _start(words, what, stdin=NOTHING if given is None else PIPE, stderr=PIPE, env=env, hint=hint)
        try:
            code = attend(
                process, output, cancel=work.cancel, input=given, timeout=timeout, patience=GRACE, leave=False
            )
        except _TooMuch:
            raise failure(f"{what} failed", f"wrote more than {format_size(most)}, and was ended") from None
    if code is None:
        raise failure(f"{what}: timed out", f"was ended after {timeout:g} s")
    if code not in accept:
        raise failure(f"{what} failed", exit_text(code))
    return output.stdout()


@contextmanager
def reading(words: Sequence[str | Path], *, what: str) -> Generator[IO[bytes]]:
    """Yield what a program writes to standard output as a file, which must be read to its end.

    Args:
        words: the program and its arguments.
        what: what it is for, for messages.

    Raises:
        DriverError: it is not there, or failed; with its last lines. It may have written something before.
    """
    with tempfile.TemporaryFile() as errors:
        process = _start(words, what, stderr=errors)
        try:
            with cast("IO[bytes]", process.stdout) as output:
                yield output
        except BaseException:
            end_group(process)
            raise
        code = wait(process, GRACE)
        if code is None:
            end_group(process)
        if code != 0:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - LINE))
            said = errors.read().decode(errors="replace").splitlines()[-WORDS_KEPT:]
            how = "closed its output and went on" if code is None else exit_text(code)
            raise DriverError(f"{what} failed", why="\n".join((f"{shlex.join(map(str, words))} {how}", *said)))


def _start(
    words: Sequence[str | Path],
    what: str,
    *,
    stdin: int = NOTHING,
    stderr: int | IO[bytes],
    env: Mapping[str, str] | None = None,
    hint: str = "",
) -> Process:
    """Start a program, its output a pipe, so that it ends with this process.

    Raises:
        DriverError: it is not there.
    """
    path = search_path()
    if shutil.which(words[0], path=path) is None:
        raise DriverError(f"{what}: {words[0]} is not installed", why=shlex.join(map(str, words)), hint=hint)
    return start_process(
        [*dies_with_us(path), *words],
        stdin=stdin,
        stdout=PIPE,
        stderr=stderr,
        env={**environment(), "PATH": path, **(env or {})},
    )


def environment() -> dict[str, str]:
    """Return the environment of a program that writes what ends up in an image: this host's settings do not rule it.

    `TAR_OPTIONS`, `MKE2FS_CONFIG`, `SOURCE_DATE_EPOCH`, `APT_CONFIG` and their like would, and are in no base's key.
    """
    taken = {name: value for name, value in os.environ.items() if name in PASSED or name.lower() in PROXIES}
    return {**taken, "LC_ALL": "C.UTF-8"}


class _TooMuch(Exception):  # noqa: N818  what the tool did
    """A tool wrote more than it may."""


class _ToolOutput:
    """What a tool wrote: all of its standard output, and the last lines of its standard error.

    Args:
        on_line: gets each line of standard error.
        most: bytes of standard output.
    """

    begun = True

    def __init__(self, on_line: Callable[[str], None] | None, most: int) -> None:
        self._on_line = on_line
        self._most = most
        self._out: list[bytes] = []
        self._size = 0
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=WORDS_KEPT)

    def take(self, stream: Stream, data: bytes) -> None:
        """Keep a chunk.

        Raises:
            _TooMuch: there is more standard output than there may be.
        """
        if stream == "stderr":
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take_line(line)
            if len(self._rest) > LINE:  # a progress bar has no line breaks
                self._rest = self._rest[-LINE:]
            return
        self._size += len(data)
        if self._size > self._most:
            raise _TooMuch
        self._out.append(data)

    def _take_line(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self._lines.append(text)
        if self._on_line is not None:
            self._on_line(text)

    def stdout(self) -> bytes:
        """Return its standard output; the last line of standard error is heard, though it has no end."""
        self._end()
        return b"".join(self._out)

    def last_lines(self) -> list[str]:
        """Return what it said last: to standard error, or else to standard output."""
        self._end()
        told = [line for line in self._lines if line.strip()]
        return told or b"".join(self._out)[-LINE:].decode(errors="replace").splitlines()[-WORDS_KEPT:]

    def _end(self) -> None:
        if self._rest:
            self._take_line(self._rest)
            self._rest = b""
