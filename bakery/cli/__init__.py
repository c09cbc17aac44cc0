"""The command `bake`: words on a command line turned into calls; no logic of its own."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Final

GARBAGE: Final = 50_000
"""Objects that are made before Python looks for those that only hold each other. Loading modules makes none of them,
and at Python's own 700 a tenth of the time to load goes into the search.
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run `bake` and return its exit code.

    Args:
        args: the words after `bake`; the process's own when not given.
    """
    alone = args is None  # nobody else's objects are in this process
    if alone:
        gc.set_threshold(GARBAGE)
    from bakery.cli.app import run
    from bakery.util.process_attributes import begin

    begin()
    code = run(args)
    if alone:
        gc.freeze()  # else Python looks through all that is left for garbage, before the kernel takes it back at once
    return code
