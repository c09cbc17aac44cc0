"""Checkpoints in a place that hosts share: put there once they are made, fetched by key where one is missing.

`checkpoints/KEY.json` says what a checkpoint is and which parts hold its files, `bases/ID.json` the same of a base that
checkpoints stand on, `builds/ID/KEY` holds the note by which another host finds the key. All of them are written last.
A base comes along with its checkpoints, since one that is made anew elsewhere need not be the same to the byte: where
it was fetched, it is a checkpoint `base-ID` of its own.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bakery.cache.checkpoints import manifest as manifests
from bakery.cache.checkpoints.lease import CheckpointPlace, Lease
from bakery.cache.checkpoints.store import Store, identity_of, paths_in
from bakery.cache.inputs.digest import of_json
from bakery.cache.shared import parts
from bakery.cache.shared.parts import StoredPart
from bakery.cache.shared.place import SharedPlace
from bakery.errors import DriverError
from bakery.model import Checkpoint
from bakery.util.context import WorkContext
from bakery.util.files import write_whole

VERSION: Final = 1
HERE: Final = "@cache/"
"""What stands for the cache's folder in paths that travel."""
BASE: Final = "base-"
AGAIN: Final = 0.5
"""Seconds between two looks whether another build has fetched a checkpoint."""
NEEDED: Final[Mapping[str, type]] = {"driver": str, "warm": bool, "settings": dict, "bases": dict, "parts": list}


@dataclass(frozen=True)
class SharedCheckpoints:
    """The shared checkpoints of one build.

    Args:
        place: where they are.
        store: the host's own.
        build: the build's name.
        lock: held while one is sent.
    """

    place: SharedPlace
    store: Store
    build: str
    lock: threading.Lock

    @property
    def _work(self) -> WorkContext:
        return self.store.work

    def _index(self, first: str) -> str:
        return f"builds/{hashlib.sha256(f'{first} {self.build}'.encode()).hexdigest()[:32]}"

    # ---- finding them ------------------------------------------------------------------------------------------

    def notes(self, first: str) -> tuple[str, ...]:
        """Return what other hosts noted beside checkpoints of this build.

        Args:
            first: the key that the first step stands on.

        Raises:
            DriverError: the place does not answer.
        """
        folder = self._index(first)
        found = [self.place.read(f"{folder}/{name}") for name in self.place.names(folder)]
        return tuple(note.decode(errors="replace") for note in found if note)

    # ---- sending one -------------------------------------------------------------------------------------------

    def send(self, key: str, first: str, note: str) -> None:
        """Send a checkpoint, and what it stands on; what is there already is not sent again.

        Args:
            key: its key; the caller holds it.
            first: the key that the first step stands on.
            note: what other hosts need to find the key.

        Raises:
            DriverError: it cannot be sent.
        """
        with self.lock:
            self._send(key)
            self.place.write(f"{self._index(first)}/{key}", note.encode())

    def _send(self, key: str) -> None:
        name = f"checkpoints/{key}.json"
        known = self.store.manifest(key)
        if known is None or self.place.size(name) >= 0 or self._is_bound_here(known["checkpoint"]["settings"]):
            return
        for other in known["stands_on"]:
            if not other.startswith(BASE):  # whoever has it fetched it from here
                self._send(other)
        bases = {path: self._send_base(Path(path)) for path in known["needs"] if self._is_base(Path(path))}
        sent = parts.send(self.store.folder / key, ["."], self.place, self._work.cancel, without=f"./{manifests.FILE}")
        checkpoint = known["checkpoint"]
        about = {
            "driver": checkpoint["driver"],
            "warm": checkpoint["warm"],
            "settings": _renamed(checkpoint["settings"], f"{self._work.cache}/", HERE),
            "stands_on": [other for other in known["stands_on"] if not other.startswith(BASE)],
            "bases": {_renamed(path, f"{self._work.cache}/", HERE): content for path, content in bases.items()},
            "made_for": known.get("made_for", {}),
        }
        self._write(name, about, sent)

    def _is_bound_here(self, settings: Any) -> bool:
        """Say whether a checkpoint stands on a file of this host's that does not travel: an image of a project's."""
        return any(
            path.exists() and not path.is_relative_to(self._work.cache) and not path.is_relative_to("/usr")
            for path in paths_in(settings)
        )

    def _is_base(self, path: Path) -> bool:
        return not path.is_relative_to(self.store.folder) or path.relative_to(self.store.folder).parts[0].startswith(
            BASE
        )

    def _send_base(self, path: Path) -> str:
        """Send what a checkpoint stands on besides other checkpoints, and return its name there."""
        if path.is_relative_to(self.store.folder):
            return path.relative_to(self.store.folder).parts[0].removeprefix(BASE)
        memo = self._work.cache / "shared" / f"{of_json([self.place.url, str(path)])[:40]}.json"
        known, identity = _object(memo.read_bytes() if memo.exists() else b""), identity_of(path)
        if known.get("identity") == identity and self.place.size(f"bases/{known['content']}.json") >= 0:
            content: str = known["content"]
            return content
        sent = parts.send(path.parent, [path.name], self.place, self._work.cancel)
        content = of_json([asdict(part) for part in sent])[:40]
        self._write(f"bases/{content}.json", {"name": path.name}, sent)
        memo.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(memo, json.dumps({"identity": identity, "content": content}))
        return content

    def _write(self, name: str, about: Mapping[str, Any], sent: Sequence[StoredPart]) -> None:
        whole: dict[str, Any] = {"version": VERSION, **about, "parts": [asdict(part) for part in sent]}
        self.place.write(name, json.dumps({**whole, "sum": of_json(whole)}).encode())

    # ---- fetching one ------------------------------------------------------------------------------------------

    def fetch(self, key: str, lease: Lease) -> Checkpoint | None:
        """Fetch a checkpoint, and what it stands on, into this host's cache; None where there is none.

        Args:
            key: its key.
            lease: holds it from now on.

        Raises:
            DriverError: it cannot be fetched; it is given up there where it turns out not to be whole.
        """
        name = f"checkpoints/{key}.json"
        about = self._read(name)
        if about is None:
            return None
        if not all(isinstance(about.get(field), kind) for field, kind in NEEDED.items()):
            raise DriverError(f"{name} in {self.place.url} is of another version")
        settings: dict[str, Any] = about["settings"]
        try:
            for other in about["stands_on"]:
                if lease.get(other) is None and self.fetch(other, lease) is None:
                    return None
            for path, content in about["bases"].items():
                folder = self._fetch_base(content, lease)
                settings = _renamed(settings, path, str(folder / Path(path).name))
            settings = _renamed(settings, HERE, f"{self._work.cache}/")
            checkpoint = Checkpoint(driver=about["driver"], key=key, warm=about["warm"], settings=settings)
            self._fetch(key, lease, about, checkpoint)
        except DriverError:
            self.place.delete(name)  # whoever has it sends it again
            raise
        return lease.get(key)

    def _fetch_base(self, content: str, lease: Lease) -> Path:
        """Fetch a base, and return the folder that it is in."""
        about = self._read(f"bases/{content}.json")
        if about is None:
            raise DriverError(f"a base is missing in {self.place.url}", why=content)
        key = f"{BASE}{content}"
        if lease.get(key) is None:
            try:
                self._fetch(key, lease, about, Checkpoint(driver="", key=key))
            except DriverError:
                self.place.delete(f"bases/{content}.json")  # whoever has it sends it again
                raise
        return self.store.folder / key

    def _fetch(self, key: str, lease: Lease, about: Mapping[str, Any], checkpoint: Checkpoint) -> None:
        place = self._place_of(key, lease, about.get("made_for", {}))
        if place is None:
            return
        wanted = [StoredPart(str(part["sha256"]), int(part["size"])) for part in about["parts"]]
        meanwhile = self.store.folder / f".parts-{key}"
        self._work.waiting(f"fetching the checkpoint {key[:16]} ({sum(part.size for part in wanted) >> 20} MiB)")
        try:
            parts.fetch(wanted, place.folder, self.place, self._work.cancel, meanwhile=meanwhile)
        except BaseException:
            lease.discard(place)
            raise
        place.keep(checkpoint)

    def _place_of(self, key: str, lease: Lease, made_for: Mapping[str, str]) -> CheckpointPlace | None:
        """Return a folder to fetch into; None once another build of this host has fetched it."""
        while True:
            self._work.cancel.check()
            place = lease.make(key, made_for)
            if place is not None or lease.get(key) is not None:
                return place
            self._work.cancel.sleep(AGAIN)

    def _read(self, name: str) -> dict[str, Any] | None:
        data = self.place.read(name)
        if data is None:
            return None
        about = _object(data)
        if about.pop("sum", None) != of_json(about) or about.get("version") != VERSION:
            return None
        return about


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _renamed(data: Any, prefix: str, to: str) -> Any:
    """Return JSON data in whose texts one beginning is another; a path's beginning ends with the path or a slash."""
    match data:
        case str() if data == prefix or data.startswith(prefix if prefix.endswith("/") else f"{prefix}/"):
            return f"{to}{data.removeprefix(prefix)}"
        case list():
            return [_renamed(item, prefix, to) for item in data]
        case dict():
            return {key: _renamed(item, prefix, to) for key, item in data.items()}
        case _:
            return data
