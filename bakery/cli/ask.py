"""`--on-failure=ask`, `--stop-at`, `--step`: the questions at a failed task, and at a stop that was asked for."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, cast

from bakery.build.context import Choice, PauseChoice
from bakery.errors import BakeryError

if TYPE_CHECKING:
    from rich.console import Console

    from bakery.reporting.terminal import Terminal

ANSWERS: Final = {
    "r": ("retry", "read the imagefile again and run this task once more"),
    "h": ("shell", "open a shell on the machine, then ask again"),
    "s": ("skip", "go on with the next task"),
    "k": ("keep", "stop, and leave the machine as it is"),
    "d": ("destroy", "stop, and destroy it"),
}

PAUSES: Final = {
    "c": ("go", "go on"),
    "h": ("shell", "open a shell on the machine, then ask again"),
    "k": ("keep", "stop, and leave the machine as it is"),
    "d": ("destroy", "stop, and destroy it"),
}

LOOK: Final = 0.2
"""Seconds between two looks whether the run was cancelled meanwhile."""


class Ask:
    """Asks on the terminal, while the live lines make room.

    Args:
        terminal: the reporter that draws there.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    @staticmethod
    def _answer(console: Console, check: Callable[[], None], answers: Iterable[str], default: str) -> str:
        """One letter; nothing means the default, the end of the input destroy. A Ctrl-C is not left waiting."""
        console.print(f"What now? {'/'.join(answers)} [{default}] ", markup=False, end="")
        source = sys.stdin.fileno()
        while not select.select([source], [], [], LOOK)[0]:
            check()
        line = os.read(source, 1024).decode(errors="replace")  # a terminal gives a line at a time
        return line.strip().lower()[:1] or (default if line else "d")

    def __call__(self, step: str, error: BaseException, shell: Callable[[], None], check: Callable[[], None]) -> Choice:
        """Return the user's choice; a shell is opened in between as often as wanted."""
        with self._terminal.paused() as console:
            console.print(f"\n{step}: {error}", style="red", markup=False)
            return cast("Choice", self._choose(console, ANSWERS, "d", shell, check))

    def pause(self, where: str, shell: Callable[[], None], check: Callable[[], None]) -> PauseChoice:
        """Return what to do at a stop that was asked for."""
        with self._terminal.paused() as console:
            console.print(f"\n{where}: stopped", style="yellow", markup=False)
            return cast("PauseChoice", self._choose(console, PAUSES, "c", shell, check))

    def _choose(
        self,
        console: Console,
        answers: Mapping[str, tuple[str, str]],
        default: str,
        shell: Callable[[], None],
        check: Callable[[], None],
    ) -> str:
        for key, (name, text) in answers.items():
            console.print(f"  {key}  {name:<8} {text}", markup=False)
        while True:
            key = self._answer(console, check, answers, default)
            if key == "h":
                self._shell(console, shell)
            elif key in answers:
                return answers[key][0]

    @staticmethod
    def _shell(console: Console, shell: Callable[[], None]) -> None:
        """Open a shell; where the machine lets nobody in, say so, and ask again."""
        try:
            shell()
        except BakeryError as error:
            console.print(str(error), style="red", markup=False)
