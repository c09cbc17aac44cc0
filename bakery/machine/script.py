"""A script of this host, made ready to be run on a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bakery.machine.build_names import FIXED, BuildNames
from bakery.machine.files import SCRIPT, interpreter_of
from bakery.util.observer import note_environment, note_path


@dataclass(frozen=True, kw_only=True)
class ReadyScript:
    """What is sent to the machine.

    Args:
        title: what messages call it.
        words: the command that takes the script from its standard input.
        data: the script.
        env: what it is told of the build.
    """

    title: str
    words: tuple[str, ...]
    data: bytes
    env: Mapping[str, str]


def prepare(
    script: str | os.PathLike[str], args: Sequence[str], folder: Path, names: BuildNames, interpreter: str
) -> ReadyScript:
    """Read a script, or take its text, and find what runs it.

    Args:
        script: a path, relative to `folder`; or a text of more than one line.
        args: the script's arguments.
        folder: the imagefile's.
        names: of the build; the script gets those that it names.
        interpreter: words; those of the `#!` line when empty.

    Raises:
        FileNotFoundError: no such file.
    """
    if isinstance(script, str) and "\n" in script:
        data, title = script.encode(), _first_command(script)
    else:
        path = folder / script
        note_path(path)
        data, title = path.read_bytes(), os.fspath(script)
    words = interpreter.split() or interpreter_of(data)
    return ReadyScript(
        title=" ".join(["script", title, *args]),
        words=("sh", "-c", SCRIPT, "bakery-script", str(len(words)), *words, *args),
        data=data,
        env=_named(data, names),
    )


def _named(data: bytes, names: BuildNames) -> dict[str, str]:
    """Return the names that a script asks for; a step with one that does not is shared by all images that have it."""
    env = {name: value for name, value in names.environ().items() if name.encode() in data}
    for name in env.keys() & FIXED:
        note_environment(name)
    return env


def _first_command(text: str) -> str:
    """Return the first line that does something, to call a text by."""
    lines = (line.strip() for line in text.splitlines())
    return next((f"`{line}` ..." for line in lines if line and not line.startswith("#")), "of comments alone")
