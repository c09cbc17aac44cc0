"""What tasks written for `fabric.Connection` use of it besides running commands on a machine and moving files."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, Self

from bakery.machine.command import Command, join_path
from bakery.machine.execute import raise_if_failed
from bakery.machine.fabric_options import options_of
from bakery.machine.output import CommandOutput
from bakery.model import Result, Stream
from bakery.util.results import TimedOut, Words

if TYPE_CHECKING:
    from bakery.machine.transport.link import Link
    from bakery.util.context import WorkContext

REFUSED: Final = {
    "forward_local": "a build's machine is reached by `m.run(...)` alone; run curl on the machine",
    "forward_remote": "nothing of this host is opened to the machine; send files by m.put or m.copy",
    "sftp": "files are moved by m.put, m.get, m.write and m.copy, which need no SFTP server",
    "shell": "nobody sits at a build; `bake ssh IMAGE` opens a shell",
    "create_session": "there is no SSH in some drivers; m.run(...) does it",
    "open_gateway": "a bastion belongs to the driver's source, gateway=",
    "gateway": "a bastion belongs to the driver's source, gateway=",
    "config": "no configuration of Fabric is read; give keywords to m.run(...)",
    "connect_kwargs": "how to connect is the driver's business; see the page about machines",
    "client": "there is no SSH in some drivers; m.run(...) does it",
    "transport": "there is no SSH in some drivers; m.run(...) does it",
}
"""Attributes of `fabric.Connection` that mean nothing for a build, and what to use in their place."""


class FabricSurface:
    """The part of `fabric.Connection` that runs nothing on the machine."""

    _link: Link
    _folder: Path
    _work: WorkContext
    _step: str
    _user: str
    _folders: tuple[str, ...]
    _prefixes: tuple[str, ...]

    def __enter__(self) -> Self:
        """`with m:` as in Fabric."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the connection as it is: it belongs to the build, and the next task uses it."""

    @contextmanager
    def cd(self, path: str | os.PathLike[str]) -> Generator[None]:
        """Run what is inside `with` in a folder of the machine; nests, and `~` is the user's home."""
        before = self._folders
        self._folders = (*before, os.fspath(path))
        try:
            yield
        finally:
            self._folders = before

    @contextmanager
    def prefix(self, command: str) -> Generator[None]:
        """Run a shell command before each command inside `with`, in the same shell: `source venv/bin/activate`."""
        before = self._prefixes
        self._prefixes = (*before, command)
        try:
            yield
        finally:
            self._prefixes = before

    def local(self, command: Words, *, warn: bool = False, hide: bool | str | None = None, **options: Any) -> Result:
        """Run a command on this host, in the imagefile's folder.

        Args:
            command: a string for `sh`, or a list of words.
            warn: True returns a failed result in place of raising.
            hide: streams not to show, as in `run`.
            options: `env` (added to this process's own), `input`, `timeout` in seconds, `cwd`.

        Raises:
            CommandFailed: it failed.
        """
        from bakery.machine.local import run_here
        from bakery.util.observer import note_untraceable  # not needed to read an imagefile

        note_untraceable("it runs a command on the building host")
        voice = CommandOutput(lambda stream, text: self._say(text, stream, {}), options_of({}).hidden(hide))
        call = Command(command=command if isinstance(command, str) else tuple(command))
        try:
            result = run_here(call, self._folder, self._work.cancel, voice.take, **options)
        except TimedOut as error:
            result = error.result
        finally:
            voice.end()
        return raise_if_failed(call, result, voice, timeout=options.get("timeout"), warn=warn)

    @property
    def host(self) -> str:
        """The machine's address, as this host sees it."""
        return self._link.endpoint().host

    @property
    def port(self) -> int:
        """The machine's SSH port, as this host sees it; means nothing for a container."""
        return self._link.endpoint().port

    @property
    def user(self) -> str:
        """Who runs commands where a call does not say."""
        return self._user

    @property
    def cwd(self) -> str:
        """The folder that `cd` has led to; empty for the user's home."""
        return join_path(self._folders)

    @property
    def is_connected(self) -> bool:
        """True while there is a connection that is not known to be gone."""
        return self._link.is_open

    def open(self) -> None:
        """Connect now; every command does by itself.

        Raises:
            ConnectError: the machine cannot be reached.
        """
        self._link.open()

    def close(self) -> None:
        """Close the connection; the next command opens another one, with the groups and limits of that time."""
        self._link.close()

    def _say(self, text: str, stream: Stream, files: Mapping[Stream, IO[str]]) -> None:
        """Say what a command wrote: to a file of the caller's, else to the user."""
        if (file := files.get(stream)) is not None:
            file.write(text + "\n")
        else:
            from bakery.events import Output  # not needed to read an imagefile

            self._work.emit(Output(build=self._work.build, text=text, stream=stream, step=self._step))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Say what to use in place of what only Fabric has."""
            if name in REFUSED:
                raise AttributeError(f"a Machine has no {name}: {REFUSED[name]}", name=name, obj=self)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
