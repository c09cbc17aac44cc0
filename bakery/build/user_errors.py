"""What a user's function raised, said in the user's terms: the task, the error, and the user's own line."""

from __future__ import annotations

from pathlib import Path

from bakery.errors import (
    BakeryError,
    ConnectError,
    DriverError,
    Location,
    TaskError,
)
from bakery.imagefile.builds import Step
from bakery.imagefile.user_code import describe, user_line


def as_error(kind: str, step: Step, error: Exception, family: type[BakeryError]) -> BakeryError:
    """Say what a user's function raised.

    Args:
        kind: what the function is: `task`, `post step`.
        step: the plan's data of it.
        error: what it raised.
        family: the errors of its kind; a dead machine or a lost connection keeps its own.
    """
    where = user_line(error) or _location(step)
    if not isinstance(error, BakeryError):
        verb, why, hint = describe(error)
        return family(f"{kind} {step.name} {verb}", why=why, hint=hint, where=where)
    known = (family, DriverError, ConnectError) if family is TaskError else (family,)
    if not isinstance(error, known):  # a dead machine or a lost connection keeps its own exit code
        error = family(error.what, why=error.why, hint=error.hint, where=error.where)
    error.where = error.where or where
    return error


def _location(step: Step) -> Location | None:
    file, _, line = step.where.rpartition(":")
    return Location(Path(file), int(line)) if line.isdigit() else None
