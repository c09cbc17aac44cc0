"""Scripts of this host, run on a machine, and what they and the rest of a task are told of their build."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from bakery.machine.build_names import BuildNames
    from bakery.model import Result


class ScriptSurface(ABC):
    """The part of a `Machine` that runs scripts."""

    _folder: Path
    _names: BuildNames

    @abstractmethod
    def _view(self, **changes: Any) -> Self:
        """Return a view of the same machine with other settings."""

    def script(
        self,
        file: str | os.PathLike[str],
        *args: str,
        interpreter: str = "",
        valid_exit_codes: Sequence[int] = (0,),
        expect_disconnect: bool = False,
        **options: Any,
    ) -> Result:
        """Run a script of this host on the machine, by the program in its `#!` line, else sh.

        What it names of `BAKERY_IMAGE`, `BAKERY_SOURCE` and `BAKERY_RUN` is in its environment.

        Args:
            file: the script, relative to the imagefile's folder; or its text, which has more than one line.
            args: its arguments.
            interpreter: the words of the program that runs it, in place of its `#!` line: `python3 -u`.
            valid_exit_codes: those that are a success.
            expect_disconnect: True where it may cut the connection, or restart the machine: that is no failure.
            options: as for `run`, without `input`.

        Raises:
            CommandFailed: it ended with another exit code.
        """
        from bakery.machine.script import prepare

        ready = prepare(file, args, self._folder, self._names, interpreter)
        view: Any = self._view(_title=ready.title, _valid=tuple(valid_exit_codes), _may_disconnect=expect_disconnect)
        env = {**ready.env, **(options.pop("env", None) or {})}
        result: Result = view.run(ready.words, input=ready.data, env=env, **options)
        return result

    @property
    def run_folder(self) -> Path:
        """A folder of this run's on this host, for what is fetched to be looked at: `m.get(log, m.run_folder)`."""
        return self._names.run_folder()
