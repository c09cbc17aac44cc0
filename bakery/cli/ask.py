"""`--on-failure=ask`: the questions at a failed task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from bakery.context import Choice

if TYPE_CHECKING:
    from rich.console import Console

    from bakery.reporters.terminal import Terminal

ANSWERS: Final = {
    "r": ("retry", "read the imagefile again and run this task once more"),
    "h": ("shell", "open a shell on the machine, then ask again"),
    "s": ("skip", "go on with the next task"),
    "k": ("keep", "stop, and leave the machine as it is"),
    "d": ("destroy", "stop, and destroy it"),
}


class Ask:
    """Asks on the terminal, while the live lines make room.

    Args:
        terminal: the reporter that draws there.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    @staticmethod
    def _answer(console: Console) -> str:
        """One letter; nothing, or the end of the input, means destroy."""
        try:
            return console.input(f"What now? {'/'.join(ANSWERS)} [d] ", markup=False).strip().lower()[:1] or "d"
        except EOFError:
            return "d"

    def __call__(self, step: str, error: BaseException, shell: Callable[[], None]) -> Choice:
        """Return the user's choice; a shell is opened in between as often as wanted."""
        with self._terminal.paused() as console:
            console.print(f"\n{step}: {error}", style="red", markup=False)
            for key, (name, text) in ANSWERS.items():
                console.print(f"  {key}  {name:<8} {text}", markup=False)
            while True:
                key = self._answer(console)
                if key == "h":
                    shell()
                elif key in ANSWERS:
                    return cast("Choice", ANSWERS[key][0])
