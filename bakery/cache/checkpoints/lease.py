"""Using and making checkpoints while others do, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bakery.cache.checkpoints import inventory
from bakery.cache.checkpoints.shared_lock import Flock
from bakery.cache.checkpoints.store import Store
from bakery.model import EMPTY, Checkpoint


@dataclass
class CheckpointPlace:
    """Where a checkpoint is being made. `keep` makes it count; without it, it is removed when the lease ends."""

    key: str
    folder: Path
    _lease: Lease
    made_for: Mapping[str, str] = field(default_factory=dict[str, str])
    kept: bool = False

    def keep(self, checkpoint: Checkpoint) -> None:
        """Take note that the checkpoint is whole."""
        self._lease.kept(self, checkpoint)


@dataclass
class Lease:
    """The checkpoints that one build uses; nobody removes them meanwhile. Ends with its `with`, or its process.

    Used by one thread at a time.
    """

    store: Store
    _locks: dict[str, Flock] = field(default_factory=dict[str, Flock])
    _good: set[str] = field(default_factory=set[str])
    _made: list[CheckpointPlace] = field(default_factory=list[CheckpointPlace])

    def get(self, key: str) -> Checkpoint | None:
        """Return a checkpoint, and hold it and all that it stands on; None where there is none that is good."""
        if not (self.store.folder / key).is_dir() or not self._hold(key):
            return None
        if key in self._good:
            return self._checkpoint(key)
        if reason := self.store.fault(key):
            self._give_up(key, reason)
            return None
        data = self.store.manifest(key)
        if data is None or not all(self.get(other) for other in data["stands_on"]):
            self._give_up(key, "something that it stands on is gone")
            return None
        self._locks[key].touch()
        self._good.add(key)
        return self._checkpoint(key)

    def _checkpoint(self, key: str) -> Checkpoint | None:
        data = self.store.manifest(key)
        if data is None:
            return None
        known = data["checkpoint"]
        folder = self.store.folder / key
        return Checkpoint(
            driver=known["driver"], key=key, folder=folder, warm=known["warm"], settings=known["settings"]
        )

    def make(self, key: str, made_for: Mapping[str, str] = EMPTY) -> CheckpointPlace | None:
        """Return a new, empty folder to make a checkpoint in; None where there is one, or somebody else makes it.

        Args:
            key: of the step.
            made_for: `project`, `build` and `task`, for whoever looks into the cache.
        """
        lock = self.store.lock(key)
        if key in self._locks or not lock.try_alone():
            return None
        self._locks[key] = lock
        folder = self.store.folder / key
        if self.store.manifest(key) is not None and not self.store.fault(key):
            lock.try_shared()
            return None
        inventory.remove(folder)
        folder.mkdir(mode=0o700)
        place = CheckpointPlace(key, folder, self, made_for)
        self._made.append(place)
        return place

    def kept(self, place: CheckpointPlace, checkpoint: Checkpoint) -> None:
        """Write the manifest, and let others use it."""
        if not self.store.boot:
            inventory.flush(place.folder)
        self.store.write(place.key, checkpoint, flushed=not self.store.boot, made_for=place.made_for)
        place.kept = True
        self._locks[place.key].touch()
        self._locks[place.key].try_shared()

    def discard(self, place: CheckpointPlace) -> None:
        """Give up what is being made: another build may begin with it now."""
        self._made.remove(place)
        inventory.remove(place.folder)
        self._locks.pop(place.key).remove()

    def _hold(self, key: str) -> bool:
        if key in self._locks:
            return True
        lock = self.store.lock(key)
        if lock.try_shared():
            self._locks[key] = lock
            return True
        return False

    def reject(self, key: str, reason: str) -> None:
        """Give up a checkpoint that turned out not to work, so that nobody tries it again."""
        self._good.discard(key)
        self._give_up(key, reason)

    def _give_up(self, key: str, reason: str) -> None:
        if key in self._locks:
            self._locks.pop(key).release()
        if self.store.drop(key):
            self.store.work.notice(f"the checkpoint {key} is dropped: {reason}", hint="its step runs again")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Bring what was made to the disk, remove what was not finished, let go, and keep within the limit."""
        try:
            for place in self._made:
                self._settle(place)
        finally:
            for lock in self._locks.values():
                lock.release()
            self._locks.clear()
            self._good.clear()
        if any(place.kept for place in self._made):
            self.store.prune()
        self._made.clear()

    def _settle(self, place: CheckpointPlace) -> None:
        """Only now: until here a machine may stand on the files, even on those of a checkpoint that failed."""
        data = self.store.manifest(place.key)
        if data is None:
            inventory.remove(place.folder)
            if (lock := self._locks.pop(place.key, None)) is not None:  # else it was given up after it was made
                lock.remove()
        elif not data["flushed"]:
            inventory.flush(place.folder)
            self.store.write_flushed(place.key)
