"""Breaking lines for a screen between words, and never between a number and its unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_WORD: Final = re.compile(r"\S+(?:(?<=[\d.]) (?:s|B|[KMGT]iB|%)(?![^\s,;:.)])\S*)?\s*")
"""A word and the blanks behind it; `1.2 s,` and `20.0 GiB` are one."""


class Wrapped:
    """A text that is broken into lines as wide as its place.

    Args:
        text: the text, with its styles.
    """

    def __init__(self, text: Text) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        for line in self.text.split(allow_blank=True):
            for part in line.divide(breaks(line.plain, options.max_width)):
                part.rstrip()
                part.no_wrap, part.overflow, part.end = True, "ignore", "\n"
                yield part

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Say how narrow and how wide it can be."""
        return Measurement.get(console, options, self.text)


def breaks(line: str, width: int) -> list[int]:
    """Return where to break a line, as places in it.

    Args:
        line: without line ends.
        width: cells; what is longer than that without a blank is broken where the width ends.
    """
    return list(_breaks(line, max(1, width)))


def _breaks(line: str, width: int) -> Iterator[int]:
    used = cell_len(line[: len(line) - len(line.lstrip())])
    for word in _WORD.finditer(line):
        length = cell_len(word[0].rstrip())
        if used and used + length > width:
            yield word.start()
            used = 0
        if length > width:
            at = word.start()
            for piece in chop_cells(word[0].rstrip(), width)[:-1]:
                at += len(piece)
                yield at
            used = cell_len(line[at : word.end()])
        else:
            used += cell_len(word[0])
