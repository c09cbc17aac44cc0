"""What a user's function raised, said in the user's terms: the task, the error, and the user's own line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bakery.build.job import Job
from bakery.errors import (
    BakeryError,
    ConnectError,
    DriverError,
    Location,
    PreflightError,
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


@contextmanager
def about_source(job: Job) -> Generator[None]:
    """Name the source's line in what a driver or a base refuses: a checksum, a flavor, a region is written there."""
    try:
        yield
    except (PreflightError, DriverError) as error:
        error.where = error.where or job.source_location
        raise


def _location(step: Step) -> Location | None:
    file, _, line = step.where.rpartition(":")
    return Location(Path(file), int(line)) if line.isdigit() else None
