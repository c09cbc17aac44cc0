"""What a run may leave behind, told at its end: no exit code 10 without the command that cleans up."""

from __future__ import annotations

from collections.abc import Iterable

from bakery.build.context import RunContext
from bakery.errors import BakeryError, CleanupError
from bakery.events import Notice


def tell_of_leftovers(run: RunContext, code: int, errors: Iterable[BakeryError]) -> None:
    """Say how to look for what the journal does not say to be gone, where no error has said it.

    Args:
        run: the run.
        code: its exit code.
        errors: what was told.
    """
    if code == CleanupError.exit_code and not any(isinstance(error, CleanupError) for error in errors):
        run.emit(
            Notice(
                level="warning",
                message="something may be left behind: the journal does not say that it is gone",
                hint=f"`bake gc {run.folder.id}` looks, and destroys it",
            )
        )
