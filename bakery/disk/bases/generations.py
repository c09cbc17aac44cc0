"""A place in the cache for one recipe: made once, renamed when complete, made anew when old, checked when used."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from bakery.disk.bases import owners
from bakery.disk.bases.why_made import note, why_none
from bakery.disk.build import make_disk, remove
from bakery.disk.fingerprint import fingerprint
from bakery.errors import DriverError, PreflightError
from bakery.util.context import WorkContext
from bakery.util.durations import is_young
from bakery.util.files import write_whole
from bakery.util.lock import hold
from bakery.util.tools import root, run

Make = Callable[[Path, WorkContext], None]
META = "meta.json"
CURRENT = "current"
NEW = ".new"
DAY = 86400
STATUS = "var/lib/dpkg/status"


class BaseGenerations:
    """One recipe's folder: `current` names a generation, `GENERATION/{tree,disk.raw,meta.json}` is one.

    A generation is named after its content and never changes: machines may run on an old one while the next is made.

    Args:
        folder: the recipe's folder; its name carries the digest of the recipe.
        work: cancels, tells, and says whether we are offline.
        what: what it is, for messages: "Debian bookworm".
        max_age: seconds until it is made anew; None for never.
        recipe: what decides the content, to say why it is made although the cache holds another.
    """

    def __init__(
        self,
        folder: Path,
        *,
        work: WorkContext,
        what: str,
        max_age: float | None,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.work = work
        self.what = what
        self.max_age = max_age
        self.recipe = recipe or {}

    def key(self) -> str | None:
        """Return the generation's name if it is there and young enough. Makes nothing, waits for nobody."""
        generation = self._current()
        return generation.name if generation is not None and self._young(generation) else None

    def tree(self, make: Make) -> Path:
        """Return the current generation's folder, with a tree in it; `make` fills a new folder with `tree`."""
        with self._lock():
            return self._tree(make)

    def disk(self, make: Make) -> Path:
        """Return the current generation's folder, with a disk in it."""
        with self._lock():
            folder = self._tree(make)
            if not self._same(folder):
                self._make_disk(folder)
            return folder

    def intact(self) -> bool:
        """Read the whole disk and compare its digest."""
        generation = self._current()
        if generation is None or not (generation / "disk.raw").exists():
            return False
        disk: dict[str, Any] = _read(generation).get("disk", {})
        return bool(disk) and fingerprint(generation / "disk.raw", self.work) == disk.get("digest")

    @contextmanager
    def _lock(self) -> Generator[None]:
        with hold(self.folder / "lock", what=f"another bake is making {self.what}", work=self.work):
            yield

    def _current(self) -> Path | None:
        try:
            generation = self.folder / (self.folder / CURRENT).read_text().strip()
            _read(generation)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # a damaged disk, or somebody's editor
            self.work.notice(
                f"what is noted about {self.what} in the cache cannot be read; it is made anew",
                hint=str(error),
                warning=True,
            )
            return None
        return generation

    def _fault(self, generation: Path) -> str:
        """Say what is wrong with a tree: root's paths are not root's, or somebody changed its owners; empty if fine."""
        tree = generation / "tree"
        noted = _known(generation).get("owners")  # bakery 0.1 wrote none at first
        if why := owners.wrong(tree):
            return why
        changed = noted not in (None, owners.witness(tree))
        return f"names, owners or modes in {tree} are not those that were made" if changed else ""

    def _young(self, generation: Path) -> bool:
        return self.max_age is None or is_young(float(_read(generation)["made"]), self.max_age)

    def _tree(self, make: Make) -> Path:
        generation = self._current()
        if generation is not None and (why := self._fault(generation)):
            self.work.notice(
                f"the files of {self.what} in the cache are wrong; they are made anew", hint=why, warning=True
            )
            generation = None
        if generation is not None and self._young(generation):
            return generation
        if self.work.offline:
            if generation is None:
                raise PreflightError(
                    f"{self.what} is not in the cache, and we are offline", hint="run `bake` once with a network"
                )
            self.work.notice(f"{self.what} in the cache is older than it should be, and we are offline", warning=True)
            return generation
        self.work.notice(f"{self.what} is made{self._why(generation)}")
        try:
            return self._make_tree(make)
        except DriverError as error:
            if generation is None:
                raise
            self.work.notice(
                f"{self.what} could not be made anew, so an older one is used", hint=str(error), warning=True
            )
            return generation

    def _why(self, generation: Path | None) -> str:
        if generation is not None:
            return f" anew: the one in the cache was made more than {(self.max_age or 0) / DAY:g} days ago"
        if (self.folder / CURRENT).exists():
            return " anew"  # why has been said
        return f": {why_none(self.folder, self.recipe)}"

    def _make_tree(self, make: Make) -> Path:
        new = self.folder / NEW
        remove(new, self.work)  # of a process that was killed: nobody else is here while we hold the lock
        new.mkdir(parents=True)
        try:
            make(new, self.work)
            status = run((*root(), "cat", new / "tree" / STATUS), self.work, what="reading the list of packages")
            name = hashlib.sha256(self.folder.name.encode() + status).hexdigest()
            target = self.folder / name
            if target.exists() and not self._fault(target):
                _write(target, {**_known(target), "made": time.time()})
            else:
                remove(target, self.work)
                _write(new, {"made": time.time(), "owners": owners.witness(new / "tree")})
                new.rename(target)
        finally:
            remove(new, self.work)
        note(self.folder, self.recipe)
        write_whole(self.folder / CURRENT, name)
        return target

    def _same(self, folder: Path) -> bool:
        """Say whether the disk is the one we made: by size and time, and by content where these differ."""
        path, disk = folder / "disk.raw", _read(folder).get("disk")
        if disk is None or not path.exists():
            return False
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (disk["size"], disk["mtime_ns"]):
            return True
        if stat.st_size == disk["size"] and fingerprint(path, self.work) == disk["digest"]:
            self._record(folder, path, disk["digest"])
            return True
        self.work.notice(f"the disk of {self.what} in the cache was changed; it is made anew", warning=True)
        return False

    def _make_disk(self, folder: Path) -> None:
        self.work.waiting(f"{self.what}: making the disk")
        part = folder / "disk.part"
        make_disk(folder / "tree", part, self.work, identity=UUID(folder.name[:32]))
        part.chmod(0o444)
        self._record(folder, part, fingerprint(part, self.work))
        part.replace(folder / "disk.raw")

    def _record(self, folder: Path, path: Path, content: str) -> None:
        stat = path.stat()
        disk = {"digest": content, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        _write(folder, {**_read(folder), "disk": disk})


def _read(folder: Path) -> dict[str, Any]:
    """Read what is noted about a generation.

    Raises:
        ValueError: the note is damaged.
    """
    meta: dict[str, Any] = json.loads((folder / META).read_text())
    total = meta.pop("sum", None)  # bakery 0.1 wrote none at first
    if not isinstance(meta.get("made"), int | float) or total not in (None, _sum(meta)):
        raise ValueError(f"{folder / META} is damaged")
    return meta


def _known(folder: Path) -> dict[str, Any]:
    """Read what is noted; nothing where the note is damaged: then the disk is made again."""
    try:
        return _read(folder)
    except (OSError, ValueError):
        return {}


def _write(folder: Path, meta: dict[str, Any]) -> None:
    write_whole(folder / META, json.dumps({**meta, "sum": _sum(meta)}))


def _sum(meta: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())
