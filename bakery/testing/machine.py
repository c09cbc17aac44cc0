"""A machine for tests of tasks: nothing is run anywhere, and every call is remembered."""

from __future__ import annotations

import fnmatch
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self, TypeAlias

from bakery.errors import DriverError
from bakery.events import Event, Output
from bakery.machine.command import Command
from bakery.machine.facts import Facts
from bakery.machine.files import Upload
from bakery.machine.machine import Machine
from bakery.machine.transport.link import Link
from bakery.model import Endpoint, Result
from bakery.state.ssh_keys import Keys
from bakery.util.context import WorkContext
from bakery.util.results import OnOutput, Words
from bakery.util.streams import chunks

Answer: TypeAlias = "str | int | Result | Exception | Callable[[Ran], str | int | Result]"


class UnforeseenCall(AssertionError):  # noqa: N818  what happened, in the words of a test's report
    """A task ran a command that the test did not foresee."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that a task ran.

    Args:
        command: as the task wrote it; words are quoted and joined.
        user: who would have run it.
        cwd: the folder; empty for the user's home.
        env: its extra environment, secrets in plain text.
        input: what it would have read.
        prefixes: from `prefix()`.
    """

    command: str
    user: str = "root"
    cwd: str = ""
    env: Mapping[str, str]
    input: bytes = b""
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FakeFile:
    """A file on a fake machine."""

    data: bytes
    mode: int = 0o644
    owner: str = ""

    @property
    def text(self) -> str:
        """The content as text."""
        return self.data.decode()


class FakeMachine(Machine):
    r"""A `Machine` without a machine: the same methods, answers by pattern, files in memory.

    An unforeseen command raises `UnforeseenCall`; one that is answered by an exit code other than 0 raises as it would
    on a machine.

    Args:
        answers: shell pattern (`"apt-get install *"`) or compiled regular expression, and what to answer: standard
            output, an exit code, a `Result`, an exception, or a function of `Ran` that returns one of them. The first
            match counts, the last added is asked first.
        folder: the imagefile's folder, for relative local paths.
        facts: what `facts` says.
        files: what is on the machine already, by absolute path.

    Example:
        >>> m = FakeMachine({"apt-get install --yes nginx": ""})
        >>> nginx(m)
        >>> assert m.files["/etc/nginx/conf.d/workers.conf"].text == "worker_processes 4;\n"
    """

    def __init__(
        self,
        answers: Mapping[str | re.Pattern[str], Answer] | None = None,
        *,
        folder: Path | None = None,
        facts: Facts | None = None,
        files: Mapping[str, str | bytes] | None = None,
    ) -> None:
        self.ran: list[Ran] = []
        self.events: list[Event] = []
        self.reboots: list[float] = []
        self.files = {path: FakeFile(data=_bytes(data)) for path, data in (files or {}).items()}
        self._answers = list((answers or {}).items())
        keys = Keys(user_private="", user_public="ssh-ed25519 AAAA bakery-fake", host_private="", host_public="")
        work = WorkContext(cache=Path("/nonexistent"), emit=self.events.append)
        super().__init__(Link(_nowhere, keys, work), folder or Path.cwd(), work)
        self._facts.append(
            facts or Facts(os_id="debian", version="12", codename="bookworm", arch="x86_64", init="systemd")
        )

    def answer(self, pattern: str | re.Pattern[str], answer: Answer = "") -> Self:
        """Foresee a command; returns the machine, so that calls can be chained."""
        self._answers.insert(0, (pattern, answer))
        return self

    @property
    def host(self) -> str:
        """A name that leads nowhere."""
        return "fake"

    @property
    def port(self) -> int:
        """SSH's."""
        return 22

    @property
    def commands(self) -> list[str]:
        """The commands that were run, in order."""
        return [ran.command for ran in self.ran]

    @property
    def output(self) -> str:
        """What a user would have seen."""
        return "\n".join(event.text for event in self.events if isinstance(event, Output))

    # ---- in place of the machine ------------------------------------------------------------------------------

    def _execute(
        self,
        call: Command,
        source: bytes | IO[bytes] | None,
        timeout: float | None,
        on_output: OnOutput,
        *,
        collect: bool = True,
    ) -> Result:
        del timeout, collect
        ran = Ran(
            command=call.shown,
            user=call.user,
            cwd=call.cwd,
            env=dict(call.env),
            input=b"".join(chunks(source or b"")),
            prefixes=call.prefixes,
        )
        self.ran.append(ran)
        result = self._result(ran)
        for stream, text in (("stdout", result.stdout), ("stderr", result.stderr)):
            on_output(stream, text.encode())  # type: ignore[arg-type]  # the two literals
        return result

    def _execute_across_restart(
        self, call: Command, source: bytes | IO[bytes] | None, timeout: float | None, on_output: OnOutput
    ) -> Result:
        return self._execute(call, source, timeout, on_output)

    def _result(self, ran: Ran) -> Result:
        for pattern, answer in self._answers:
            found = pattern.search(ran.command) if isinstance(pattern, re.Pattern) else _matches(ran.command, pattern)
            if found:
                given = answer(ran) if callable(answer) else answer
                if isinstance(given, Exception):
                    raise given
                return _as_result(given, ran.command)
        raise UnforeseenCall(
            f"the task ran a command that the test did not foresee: {ran.command!r}\n"
            f'foresee it with machine.answer({ran.command!r}, "its output")'
        )

    def _upload(self, up: Upload, dest: str, mode: int, owner: str) -> str:
        path = self._absolute(dest if dest and not dest.endswith("/") else f"{dest}{up.name}")
        self.files[path] = FakeFile(data=b"".join(chunks(up.source)), mode=mode, owner=owner or self._user)
        return path

    def _download(self, remote: str, file: IO[Any]) -> None:
        path = self._absolute(remote)
        if path not in self.files:
            raise UnforeseenCall(f"the task fetched a file that is not on the fake machine: {path!r}")
        data = self.files[path].data
        file.write(data.decode() if isinstance(file, io.TextIOBase) else data)

    def _upload_folder(self, folder: Path, dest: str, exclude: Sequence[str], owner: str) -> None:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            parents = [name, *(parent.as_posix() for parent in Path(name).parents)]
            left_out = any(_left_out(parent, exclude) for parent in parents)
            if path.is_file() and not left_out:
                mode = path.stat().st_mode & 0o7777
                file = FakeFile(data=path.read_bytes(), mode=mode, owner=owner or self._user)
                self.files[self._absolute(f"{dest.rstrip('/')}/{name}")] = file

    def local(self, command: Words, **options: Any) -> Result:
        """Answer a command on this host as one on the machine."""
        known = {name: options[name] for name in ("env", "input", "timeout", "cwd", "warn", "hide") if name in options}
        return self.run(command, **known)

    def reboot(self, timeout: float = 600) -> None:
        """Remember it."""
        self.reboots.append(timeout)

    def _absolute(self, path: str) -> str:
        home = "/root" if self._user == "root" else f"/home/{self._user}"
        return str(Path(home, *self._folders, path.replace("~", home, 1) if path.startswith("~") else path))


def _nowhere() -> Endpoint:
    raise DriverError("a fake machine has no address")


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _matches(command: str, pattern: str) -> bool:
    return command == pattern or fnmatch.fnmatchcase(command, pattern)


def _left_out(name: str, exclude: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(text, pattern) for text in (name, Path(name).name) for pattern in exclude)


def _as_result(given: object, command: str) -> Result:
    match given:
        case Result():
            return replace(given, command=command)
        case str():
            return Result(command=command, exited=0, stdout=given)
        case int():
            return Result(command=command, exited=int(given))
    raise TypeError(f"an answer is output, an exit code or a Result, not {type(given).__name__}")
