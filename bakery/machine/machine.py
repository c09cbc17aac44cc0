"""`Machine`: what a task works on. Fabric's vocabulary, and what an image build needs besides."""

from __future__ import annotations

import copy as copying
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self, Unpack

from bakery.machine.build_names import NOWHERE, BuildNames
from bakery.machine.command import Command, join_path
from bakery.machine.execute import attempt, execute, raise_if_failed
from bakery.machine.fabric_options import FabricOptions, Input, options_of, plain_env, plain_input
from bakery.machine.fabric_surface import FabricSurface
from bakery.machine.facts import SCRIPT as FACTS
from bakery.machine.facts import Facts
from bakery.machine.files import Local, Transfer, Upload, download, upload
from bakery.machine.output import CommandOutput, hidden_streams
from bakery.machine.restart_commands import intent, mentions
from bakery.machine.script_surface import ScriptSurface
from bakery.model import Result
from bakery.redaction.secret import Secret
from bakery.util.results import OnOutput, TimedOut, Words

if TYPE_CHECKING:
    from bakery.machine.transport.link import Link
    from bakery.util.context import WorkContext

REBOOTS: Final = 600.0
"""Seconds that a machine has to restart, where nobody says."""
FAST: Final = 0.005
"""Seconds of a round trip up to which a link counts as fast: there gzip costs more time than it saves."""


class Machine(FabricSurface, ScriptSurface):
    """A machine that is being built. Commands run as root unless told otherwise, also where the login user must sudo.

    A task written for `fabric.Connection` runs unchanged. A command that fails raises, unless `warn=True`.

    Args:
        link: the way to it.
        folder: the imagefile's folder; relative local paths start there.
        work: how to be cancelled, and who hears what commands say.
        step: the step that works on it, for events.
        user: who runs commands where a call does not say.
        timeout: seconds for each command where a call does not say.
        alive: raises `DriverError` when the machine is dead; the link's own question to the driver when None.
        names: what it is built for.
    """

    def __init__(
        self,
        link: Link,
        folder: Path,
        work: WorkContext,
        *,
        step: str = "",
        user: str = "root",
        timeout: float | None = None,
        alive: Callable[[], object] | None = None,
        names: BuildNames = NOWHERE,
    ) -> None:
        self._link = link
        self._folder = folder
        self._work = work
        self._step = step
        self._user = user
        self._timeout = timeout
        self._ends: float | None = None
        self._alive = alive or link.endpoint
        self._folders: tuple[str, ...] = ()
        self._prefixes: tuple[str, ...] = ()
        self._title = ""
        self._names = names
        self._valid: Sequence[int] = (0,)
        self._may_disconnect = False
        self._facts: list[Facts] = []  # shared by all views: read once a machine

    # ---- views ----------------------------------------------------------------------------------------------

    def for_step(self, step: str, *, user: str = "root", timeout: float | None = None) -> Self:
        """Return a view of the same machine for one step: its name in events, its user, its time in seconds.

        The time is for all of the step's commands together, from now on.
        """
        return self._view(_step=step, _user=user, _ends=None if timeout is None else time.monotonic() + timeout)

    def _limit(self, timeout: float | None) -> float | None:
        """Seconds that a command may take: what the call says, and no longer than its step has left."""
        from bakery.machine.reboot import limit

        return limit(self._timeout if timeout is None else timeout, self._ends, self._step)

    def with_defaults(self, *, user: str | None = None, timeout: float | None = None) -> Self:
        """Return a view of the same machine with another user or timeout (seconds) for commands that do not say."""
        return self._view(
            _user=self._user if user is None else user, _timeout=self._timeout if timeout is None else timeout
        )

    def _view(self, **changes: Any) -> Self:
        view = copying.copy(self)
        vars(view).update(changes)
        return view

    # ---- commands -------------------------------------------------------------------------------------------

    def run(
        self,
        command: Words,
        *,
        user: str | None = None,
        env: Mapping[str, str | Secret] | None = None,
        input: Input = None,  # noqa: A002  subprocess's word
        timeout: float | None = None,
        cwd: str | os.PathLike[str] | None = None,
        warn: bool = False,
        hide: bool | str | None = None,
        **fabric: Unpack[FabricOptions],
    ) -> Result:
        """Run a command and wait for its end.

        Args:
            command: a string for the shell (bash where the machine has it, else sh), or a list of words that no
                shell interprets.
            user: who runs it; root, or the task's user, when None.
            env: extra environment. Values travel on a pipe, never in an argument list, and may be secrets.
            input: text, bytes, a secret or a file for its standard input, which is empty otherwise.
            timeout: seconds; then its whole process group is ended.
            cwd: the folder to run in; below that of `cd` when relative.
            warn: True returns a failed result in place of raising.
            hide: `True`, `"out"` or `"err"`: do not show these streams.
            fabric: other keywords of Fabric; see the page about machines.

        Raises:
            CommandFailed: it ended with another exit code than 0, or ran out of time.
            TaskError: the connection was lost under it, or its user cannot be become.
            ConnectError: a login shell, a start file or a forced command took its place.
            DriverError: the machine died.
            TypeError: an unknown keyword.
        """
        options = options_of(fabric)
        timeout = self._limit(timeout)
        restarts = intent(command)
        if restarts in ("restart", "off"):
            from bakery.machine.reboot import restart_in_its_place

            return restart_in_its_place(self, command, restarts, timeout or REBOOTS)
        call = Command(
            command=command if isinstance(command, str) else tuple(command),
            user=user or self._user,
            env=plain_env(env),
            cwd=join_path([*self._folders, *([os.fspath(cwd)] if cwd is not None else [])]),
            prefixes=self._prefixes,
            shell=options.shell,
            title=self._title,
        )
        voice = CommandOutput(lambda stream, text: self._say(text, stream, options.files), options.hidden(hide))
        if options.echo:
            self._say(f"$ {call.shown}", "stdout", {})
        source = plain_input(options.in_stream if input is None else input)
        may_restart = restarts or self._may_disconnect or (isinstance(source, bytes) and mentions(source))
        try:
            run = self._execute_across_restart if may_restart else self._execute
            result = run(call, source, timeout, voice.take)
        except TimedOut as error:
            result = error.result
        finally:
            voice.end()
        return raise_if_failed(call, result, voice, timeout=timeout, warn=warn, valid=self._valid)

    def sudo(self, command: Words, user: str | None = None, **options: Any) -> Result:
        """Run a command as root, or as `user`; otherwise as `run`."""
        return self.run(command, user=user or "root", **options)

    # ---- files ----------------------------------------------------------------------------------------------

    def put(
        self,
        local: Local,
        remote: str | os.PathLike[str] | None = None,
        preserve_mode: bool = True,
        *,
        mode: int | None = None,
        owner: str | None = None,
        exclude: Sequence[str] = (),
    ) -> Transfer:
        """Upload a file, all or nothing. A folder is uploaded as by `copy`.

        Args:
            local: a path, relative to the imagefile's folder, or a file-like object.
            remote: where to; an existing folder gets the file below it. The user's home folder when None.
            preserve_mode: False gives it the mode 0644 in place of that of the local file.
            mode: permission bits, whatever the local file has.
            owner: `USER` or `USER:GROUP`; who runs it when None.
            exclude: of a folder, as for `copy`.

        Raises:
            FileNotFoundError: no such local file.
            CommandFailed: it cannot be written.
        """
        dest = os.fspath(remote or "")
        if isinstance(local, str | os.PathLike):
            from bakery.util.observer import note_path  # not needed to read an imagefile

            note_path(self._folder / local)
            if (self._folder / local).is_dir():
                self.copy(local, dest, exclude, owner=owner)
                return Transfer(local=local, remote=dest)
        with upload(local, self._folder) as up:
            bits = mode if mode is not None else up.mode if preserve_mode else 0o644
            placed = self._upload(up, dest, bits, owner or "")
        return Transfer(local=local, remote=placed)

    def get(self, remote: str | os.PathLike[str], local: Local | None = None) -> Transfer:
        """Download a file, all or nothing.

        Args:
            remote: the file on the machine.
            local: a path, relative to the imagefile's folder, or a file-like object; the file's own name when None.

        Raises:
            CommandFailed: there is no such file.
        """
        source = os.fspath(remote)
        with download(local, source, self._folder) as (file, name):
            self._download(source, file)
        return Transfer(local=name, remote=source)

    def write(
        self, path: str | os.PathLike[str], text: str | bytes | Secret, mode: int = 0o644, owner: str | None = None
    ) -> None:
        """Write a file on the machine, all or nothing.

        Args:
            path: where to; its folder must exist.
            text: its content; text as UTF-8.
            mode: permission bits.
            owner: `USER` or `USER:GROUP`; who runs it, root in most tasks, when None.
        """
        data = plain_input(text)
        assert isinstance(data, bytes)  # noqa: S101  str, bytes and Secret all become bytes
        self._upload(Upload.of(data, mode), os.fspath(path), mode, "" if owner in (None, self._user) else owner)

    def copy(
        self, src_dir: str | os.PathLike[str], dest_dir: str, exclude: Sequence[str] = (), *, owner: str | None = None
    ) -> None:
        """Upload what is in a folder as one stream, gzipped where the link is slow.

        Args:
            src_dir: the folder; relative to the imagefile's folder.
            dest_dir: where its content goes; made where it is missing.
            exclude: shell patterns for names or relative paths to leave out.
            owner: `USER` or `USER:GROUP`; who runs it when None.

        Raises:
            NotADirectoryError: `src_dir` is none.
            CommandFailed: it cannot be written.
        """
        folder = self._folder / src_dir
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder")
        from bakery.util.observer import note_path  # not needed to read an imagefile

        note_path(folder)
        self._upload_folder(folder, dest_dir, exclude, owner or "")

    # ---- the machine as a whole -----------------------------------------------------------------------------

    @property
    def login_key(self) -> str:
        """The public key that we log in with, `ssh-ed25519 AAAA...`; `seal` removes it."""
        return self._link.keys.user_public

    @property
    def facts(self) -> Facts:
        """What the machine is; read once."""
        if not self._facts:
            self._facts.append(Facts.parse(self._helper("facts", ["sh", "-c", FACTS]).stdout))
        return self._facts[0]

    def reboot(self, timeout: float = REBOOTS) -> None:
        """Restart the machine and wait until it is up: another boot, and all units started where systemd runs.

        Args:
            timeout: seconds.

        Raises:
            ConnectError: it did not come back.
            DriverError: it died.
        """
        from bakery.machine.reboot import reboot

        reboot(self, self._link, self._work, timeout)
        self._facts.clear()

    def wait_for(self, what: Words | Callable[[], object], timeout: float = 60) -> None:
        """Wait until a command succeeds, or a function returns something true.

        Args:
            what: a command as for `run`, or a function without arguments.
            timeout: seconds.

        Raises:
            TaskError: the time is over; says what was seen last.
        """
        from bakery.machine.reboot import wait_for

        wait_for(self, self._work, what, timeout)

    # ---- inside: `FakeMachine` stands in for the first four -------------------------------------------------

    def _execute(
        self,
        call: Command,
        source: bytes | IO[bytes] | None,
        timeout: float | None,
        on_output: OnOutput,
        *,
        collect: bool = True,
    ) -> Result:
        return execute(self._link, self._alive, call, source, timeout=timeout, on_output=on_output, collect=collect)

    def _execute_across_restart(
        self, call: Command, source: bytes | IO[bytes] | None, timeout: float | None, on_output: OnOutput
    ) -> Result:
        """Run a command that may restart the machine; the next one finds it in its new boot."""
        from bakery.machine.reboot import execute_across_restart

        self._facts.clear()
        return execute_across_restart(
            self._link,
            self._alive,
            self._work,
            call,
            lambda: attempt(self._link, call, source, timeout=timeout, on_output=on_output),
            may_stay=self._may_disconnect,
        )

    def _upload(self, up: Upload, dest: str, mode: int, owner: str) -> str:
        from bakery.machine.transfer import send_file

        return send_file(self._helper, up, dest, mode, owner)

    def _download(self, remote: str, file: IO[Any]) -> None:
        from bakery.machine.transfer import fetch_file

        fetch_file(self._helper, remote, file)

    def _upload_folder(self, folder: Path, dest: str, exclude: Sequence[str], owner: str) -> None:
        from bakery.machine.transfer import send_folder

        slow = self._link.open().round_trip() > FAST
        send_folder(self._helper, folder, dest, self._work, exclude=exclude, owner=owner, compress=slow)

    def _helper(
        self,
        title: str,
        words: Sequence[str],
        source: bytes | IO[bytes] | None = None,
        on_output: OnOutput = lambda _stream, _data: None,
        *,
        collect: bool = True,
    ) -> Result:
        """Run one of our own commands: as the task's user, in the task's folder, without its prefixes."""
        call = Command(command=tuple(words), user=self._user, cwd=join_path(self._folders), title=title)
        timeout = self._limit(None)
        try:
            result = self._execute(call, source, timeout, on_output, collect=collect)
        except TimedOut as error:
            result = error.result
        return raise_if_failed(
            call, result, CommandOutput(lambda *_: None, hidden_streams(hide=True)), timeout=timeout, warn=False
        )
