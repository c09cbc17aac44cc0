"""Parsing Python source, from any thread."""

from __future__ import annotations

import ast
import threading
from typing import Final

_LOCK: Final = threading.Lock()
_TRIES: Final = 5


def parse(text: str, name: str = "<unknown>") -> ast.Module:
    """Parse a file's text.

    CPython 3.11 counts how deep the parser is for all threads together, and one that is interrupted by another one
    ends with a SystemError (python/cpython#106905). So ours take turns. Others parse as well, `traceback` among them:
    then it is tried again, from the start.

    Raises:
        SyntaxError, ValueError: it is no Python.
    """
    with _LOCK:
        for _ in range(_TRIES - 1):
            try:
                return ast.parse(text, name)
            except SystemError:
                continue
        return ast.parse(text, name)
