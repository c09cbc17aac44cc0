"""The command `bake`: words on a command line turned into calls; no logic of its own."""

from __future__ import annotations

from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run `bake` and return its exit code.

    Args:
        args: the words after `bake`; the process's own when not given.
    """
    from bakery.cli.app import run
    from bakery.util.process_attributes import begin

    begin()
    return run(args)
