"""What a run and its builds say of themselves when they begin: for reports that are read weeks later."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from bakery import __version__
from bakery.build.context import RunContext
from bakery.build.job import Job
from bakery.events import BuildStarted, RunStarted
from bakery.imagefile.builds import ImageRef
from bakery.imagefile.describe import value_text
from bakery.model import Artifact
from bakery.util.units import counted

LONGEST: Final = 200
"""Characters of a base's description."""


def run_started(run: RunContext, builds: Sequence[str]) -> RunStarted:
    """Return the event with which a run begins."""
    return RunStarted(
        builds=tuple(builds),
        folder=str(run.folder.path),
        command=command_line(sys.argv),
        version=__version__,
        host=host(),
    )


def build_started(run: RunContext, job: Job, driver: str = "") -> BuildStarted:
    """Return the event with which a build begins.

    Args:
        run: the run.
        job: the build.
        driver: whose machine it is, where it is not the build's own.
    """
    build = job.build
    return BuildStarted(
        build=build.name,
        image=build.image,
        driver=driver or build.driver,
        tests=len(build.tests),
        steps=() if driver else tuple(step.name for step in build.steps),
        base=described(build.boot.base),
        values=tuple(value_text(value) for value in build.variables),
        commit=run.commit,
    )


def command_line(words: Sequence[str]) -> str:
    """Return the command as it was typed, without the values of variables: one may be a secret, not known yet."""
    shown = ["bake"]
    rest = iter(words[1:])
    for word in rest:
        if word in ("-v", "--var"):
            shown += [word, _without_value(next(rest, ""))]
        elif word.startswith("--var="):
            shown.append(f"--var={_without_value(word.removeprefix('--var='))}")
        elif word.startswith("-v") and not word.startswith("--"):
            shown.append(f"-v{_without_value(word[2:])}")
        else:
            shown.append(word)
    return shlex.join(shown)


def _without_value(text: str) -> str:
    name, equals, _ = text.partition("=")
    return f"{name}{equals}..." if equals else name


def host() -> str:
    """`Linux 6.1.0-13-amd64 x86_64, 2 processors, Python 3.11.7`."""
    system = os.uname()
    processors = counted(os.cpu_count() or 1, "processor")
    return f"{system.sysname} {system.release} {system.machine}, {processors}, Python {platform.python_version()}"


def described(value: Any) -> str:
    """Return a base as its user would write it, without what nobody said."""
    match value:
        case ImageRef():
            return f"the image of {value.build}"
        case Artifact():
            return f"{value.name} ({value.id})"
        case str():
            return value
        case None:
            return ""
    if not is_dataclass(value) or isinstance(value, type):
        return type(value).__name__
    given = [
        f"{field.name}={getattr(value, field.name)!r}"
        for field in fields(value)
        if field.default is MISSING or getattr(value, field.name) != field.default
    ]
    text = f"{type(value).__name__}({', '.join(given)})"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
