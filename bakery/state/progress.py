"""How far a machine has come, written beside it: what another process needs to go on where this one was killed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bakery.model import Handle, from_json, to_json
from bakery.util.files import write_whole

FILE: Final = "progress.json"
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class BuildProgress:
    """How far a machine has come.

    Args:
        done: how many of the build's steps are finished on it.
        key: the step key after these; None where its content has none.
        stands_on: keys of the checkpoints whose files it needs.
        began: the step that was begun after these; empty between two steps.
    """

    done: int
    key: str | None
    stands_on: tuple[str, ...] = ()
    began: str = ""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A machine and its progress.

    Args:
        name: the name of the claim under which it was made.
        build: the build whose machine it is.
        handle: how its driver knows it.
        things: kind and key of all that was made for it.
        progress: how far it has come.
    """

    name: str
    build: str
    handle: Handle
    things: tuple[tuple[str, str], ...]
    progress: BuildProgress


def write(folder: Path, note: Note) -> None:
    """Write a machine's note into its folder, which nobody else can read; it is on the disk when this returns."""
    write_whole(folder / FILE, json.dumps({"version": VERSION, **_json(note)}), durable=True)


def read(folder: Path) -> Note | None:
    """Read it; None where there is none, or one that cannot be understood: such a machine is not gone on with."""
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            return None
        return from_json(Note, data)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(folder: Path) -> None:
    """Delete it: nobody may go on with the machine from here."""
    (folder / FILE).unlink(missing_ok=True)


def _json(note: Note) -> dict[str, Any]:
    things: Sequence[Sequence[str]] = [[*thing] for thing in note.things]
    known = note.progress
    progress = {"done": known.done, "key": known.key, "stands_on": [*known.stands_on], "began": known.began}
    return {
        "name": note.name,
        "build": note.build,
        "handle": to_json(note.handle),
        "things": things,
        "progress": progress,
    }
