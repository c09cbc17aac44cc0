"""How a command's words, its output and its untimely ends are passed about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from bakery.model import Result, Stream

Words: TypeAlias = str | Sequence[str]
OnOutput: TypeAlias = Callable[[Stream, bytes], None]


class Lost(Exception):  # noqa: N818  what happened to the connection
    """The connection ended under a command. The caller asks the driver whether the machine died."""


class TimedOut(Exception):  # noqa: N818
    """The command ran longer than its timeout and was ended.

    Args:
        result: what it had written until then; `exited` is -1.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(result.command)
        self.result = result
