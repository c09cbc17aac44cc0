"""What a step took from outside its code: files, listings, environment, variables. Each can be looked at again."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

from bakery.cache.checkpoints import inventory
from bakery.cache.inputs import digest
from bakery.cache.inputs.digest import Keyed
from bakery.cache.inputs.values import Values, shown
from bakery.model import Json
from bakery.redaction.secret import Secret

OnDisk: TypeAlias = Literal["file", "tree", "listing"]
Kind: TypeAlias = Literal[OnDisk, "env", "environ", "variable"]
Look: TypeAlias = list[int]
MISSING, FOLDER = "missing", "folder"
RACY = 1_000_000_000


class LocalInput(NamedTuple):
    """A path of this host that something depends on: a file, a folder with all that is in it, the names in a folder."""

    kind: OnDisk
    path: Path


@dataclass(frozen=True, order=True)
class Input:
    """One thing that was read.

    Args:
        kind: `file`, `tree` (a folder with all that is in it), `listing` (the names in a folder), `env` (an
            environment variable), `environ` (all of them) or `variable`.
        name: the path, relative to the imagefile's folder where it is inside; or the variable's name.
        digest: of its content; keyed for secrets and environment variables.
        shown: the value, where it may be shown.
        look: size and dates that go with the digest, so that the same file need not be read again.
    """

    kind: Kind
    name: str
    digest: str
    shown: str = ""
    look: tuple[int, ...] = ()

    def to_json(self) -> Json:
        """Return a short list."""
        return [self.kind, self.name, self.digest, self.shown, list(self.look)]

    @classmethod
    def from_json(cls, data: list[Json]) -> Input:
        """Read what `to_json` wrote."""
        kind, name, content, text, look = data
        return cls(cast("Kind", kind), str(name), str(content), str(text), tuple(cast("list[int]", look)))


@dataclass(frozen=True)
class World:
    """Where inputs are looked up.

    Args:
        root: the imagefile's folder.
        keyed: digests what is confidential.
        variables: the variables' object of this build; None where the imagefile has none.
        environ: the environment.
    """

    root: Path
    keyed: Keyed
    variables: object
    environ: Mapping[str, str]

    def now(self, kind: Kind, name: str, known: Input | None = None) -> Input:
        """Look at an input as it is now.

        Args:
            kind: the kind.
            name: the name, as `name_of` gives it.
            known: an earlier look; where size and dates are the same, its digest is taken over.
        """
        match kind:
            case "env":
                value = self.environ.get(name)
                return Input(kind, name, MISSING if value is None else self.keyed(value))
            case "environ":
                return Input(kind, name, digest.of_json({key: self.keyed(self.environ[key]) for key in self.environ}))
            case "variable":
                return self._variable(name)
            case "file" | "tree" | "listing":
                return self._on_disk(kind, name, known)

    def _on_disk(self, kind: OnDisk, name: str, known: Input | None) -> Input:
        path = self.root / name
        if kind == "listing":
            return Input(kind, name, _listing(path))
        if kind == "tree":
            return _tree(path, name, known)
        return _file(path, name, known)

    def name_of(self, path: Path) -> str:
        """Return a path's name in records: the same in every checkout."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def _variable(self, name: str) -> Input:
        if not hasattr(self.variables, name):
            return Input("variable", name, MISSING)
        value = getattr(self.variables, name)
        if isinstance(value, Secret):
            return Input("variable", name, self.keyed(value.reveal()))
        form = Values(self.keyed, self.root, _no_reference).form(value)
        return Input("variable", name, digest.of_json(form), shown(name, value))


def _no_reference(thing: object) -> Json:
    return ["named", getattr(thing, "__module__", ""), getattr(thing, "__qualname__", repr(thing))]


def look(path: Path) -> tuple[int, ...]:
    """Size, dates and identity of a file; empty when it changed so lately that it may change again unseen."""
    info = path.stat()
    if time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) < RACY:
        return ()
    return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def _file(path: Path, name: str, known: Input | None) -> Input:
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            return Input("file", name, FOLDER)
        if not stat.S_ISREG(info.st_mode):
            return Input("file", name, f"special {stat.S_IFMT(info.st_mode):o}")
        seen = look(path)
        if known and seen and known.look == seen:
            return known
        return Input("file", name, digest.of_file(path), look=seen)
    except OSError as error:
        return Input("file", name, MISSING if isinstance(error, FileNotFoundError) else f"unreadable {error.errno}")


def _listing(path: Path) -> str:
    try:
        with os.scandir(path) as entries:
            return digest.of_json({entry.name: entry.is_dir() for entry in entries})
    except OSError:
        return MISSING


def _tree(path: Path, name: str, known: Input | None) -> Input:
    """Everything that reaches a machine when a file or folder is copied: names, modes, links, contents."""
    try:
        entries = [("", path.lstat()), *(inventory.entries(path) if path.is_dir() else ())]
        seen = _look_at_all(entries)
        if known and seen and known.look == seen:
            return known
        content: dict[str, Json] = {inner: _entry(Path(path, inner)) for inner, _ in entries}
        return Input("tree", name, digest.of_json(content), look=seen)
    except OSError as error:
        return Input("tree", name, MISSING if isinstance(error, FileNotFoundError) else f"unreadable {error.errno}")


def _look_at_all(entries: list[tuple[str, os.stat_result]]) -> tuple[int, ...]:
    """Return what `look` sees, of a whole tree in one number."""
    if time.time_ns() - max(max(info.st_mtime_ns, info.st_ctime_ns) for _, info in entries) < RACY:
        return ()
    if any(stat.S_ISLNK(info.st_mode) for _, info in entries):
        return ()  # what a link points to has its own dates
    seen = [(name, i.st_mode, i.st_size, i.st_mtime_ns, i.st_ctime_ns, i.st_ino) for name, i in sorted(entries)]
    return (int(hashlib.sha256(repr(seen).encode(errors="surrogateescape")).hexdigest()[:15], 16),)


def _entry(path: Path) -> Json:
    info = path.lstat()
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        target: list[Json] = ["link", str(path.readlink())]
        return [*target, digest.of_file(path)] if path.is_file() else target
    if stat.S_ISREG(info.st_mode):
        return ["file", mode, digest.of_file(path)]
    return ["folder" if path.is_dir() else "special", mode]
