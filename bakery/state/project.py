"""What is on this host: `.bakery/` beside the imagefile, and the shared cache."""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bakery.errors import PreflightError, UsageError
from bakery.model import Artifact, to_json
from bakery.state.image_names import meant
from bakery.state.journal import Replay, is_locked, replay
from bakery.state.ownership import hand_over, hand_over_alone
from bakery.state.versions import is_current, make_current
from bakery.util.files import write_whole
from bakery.util.reserve import spare

FILES: Final = ("catalogue.json", "catalogue.lock", "versions.json", "versions.lock", ".gitignore")
ENTRY: Final = 64 << 10
"""Bytes: more than the catalogue holds of one image."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return `$BAKERY_CACHE_DIR`, else `$XDG_CACHE_HOME/bakery`, else the platform's place for caches."""
    if named := environ.get("BAKERY_CACHE_DIR"):
        return Path(named).expanduser().resolve()
    from platformdirs import user_cache_path

    return user_cache_path("bakery")


def _sum(images: object) -> int:
    return zlib.crc32(json.dumps(images, sort_keys=True).encode())


def _artifacts(catalogue: Any) -> list[Artifact]:
    images = catalogue["images"]
    if catalogue.get("sum", _sum(images)) != _sum(images):  # bakery 0.1 wrote none at first
        raise ValueError("its checksum is another")
    return [Artifact.from_json(image) for image in images]


@dataclass(frozen=True)
class RunFolder:
    """One run's folder: `.bakery/runs/20261122-143005-9f3a`."""

    path: Path

    @property
    def id(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def readable(self) -> bool:
        """False where it belongs to another user, as after a run with sudo."""
        lock = self.path / "lock"
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            return False
        return not lock.exists() or os.access(lock, os.R_OK | os.W_OK)

    @property
    def alive(self) -> bool:
        """True while a process works on it; also where that cannot be known, since nothing of it may be touched."""
        return not self.readable or is_locked(self.path)

    def replay(self) -> Replay:
        """Read its journal."""
        return replay(self.path / "journal.jsonl")

    def about(self) -> dict[str, Any]:
        """Return what the run wrote of itself: builds, start, options; empty for one that never got that far."""
        try:
            description: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or damaged
            return {}
        return description

    def write_about(self, data: Mapping[str, Any]) -> None:
        """Write what the run says of itself, for `about`."""
        write_whole(self.path / "run.json", json.dumps(data, indent=2, sort_keys=True), durable=True)


class State:
    """`.bakery/`: runs, journals, images and the catalogue of what was built here.

    Args:
        folder: the project's `.bakery`.
        cache: the shared cache.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self.runs_folder = folder / "runs"
        self.images_folder = folder / "images"

    @classmethod
    def beside(cls, imagefile: Path, environ: Mapping[str, str]) -> State:
        """Return the state of the project that an imagefile belongs to."""
        return cls(imagefile.parent / ".bakery", cache_folder(environ))

    def prepare(self) -> None:
        """Make the folders; `.bakery` ignores itself in git."""
        for folder in (self.runs_folder, self.images_folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.cache.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            write_whole(ignore, "*\n")
        self.hand_over()

    def hand_over(self, *made: Path) -> None:
        """Give the user behind sudo what root made of this project's state, and other files beside it.

        Args:
            made: runs' folders, images, and what the user asked for besides.
        """
        own = [self.folder / name for name in ("", "runs", "images", *FILES)]
        hand_over_alone(own, self.folder.parent)
        hand_over_alone([self.cache / name for name in ("", "steps", "bases", "downloads")], self.cache.parent)
        if made:
            hand_over(made, self.folder.parent)
            hand_over([self.cache / "records"], self.cache.parent)

    def new_run(self) -> RunFolder:
        """Make a folder for a run; its name sorts by time and is unique on this host and in an account.

        Where the clock was set back, the name goes on from the newest run's: the last run is the last of the list.
        """
        self.prepare()
        while True:
            name = f"{max(datetime.now(UTC), self._newest()):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            path = self.runs_folder / name
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return RunFolder(path)

    def _newest(self) -> datetime:
        """Return a second after the newest run's name."""
        for run in reversed(self.runs()):
            with suppress(ValueError):
                return datetime.fromisoformat(f"{run.id[:8]}T{run.id[9:15]}+00:00") + timedelta(seconds=1)
        return datetime.fromtimestamp(0, UTC)

    def runs(self) -> list[RunFolder]:
        """Return all runs, oldest first."""
        if not self.runs_folder.is_dir():
            return []
        return [RunFolder(path) for path in sorted(self.runs_folder.iterdir()) if path.is_dir()]

    def run(self, name: str) -> RunFolder:
        """Return a run by its id, or by a part of it that only one has.

        Raises:
            UsageError: none, or several.
        """
        matching = [run for run in self.runs() if name in run.id]
        exact = [run for run in matching if run.id == name]
        if len(exact or matching) == 1:
            run = (exact or matching)[0]
            if not run.readable:
                raise PreflightError(
                    f"the run {run.id} cannot be read: it belongs to another user",
                    hint="it was made with sudo, perhaps: say the same with sudo",
                )
            return run
        known = ", ".join(run.id for run in (matching or self.runs()[-5:])) or "none"
        raise UsageError(f"{'several runs match' if matching else 'no run matches'} {name!r}", hint=f"runs: {known}")

    # ---- the catalogue ------------------------------------------------------------------------------------------

    @property
    def _catalogue(self) -> Path:
        return self.folder / "catalogue.json"

    def images(self) -> list[Artifact]:
        """Return what was built here and is not removed, oldest first.

        Raises:
            PreflightError: the catalogue is damaged. Nothing is guessed from it.
        """
        try:
            return _artifacts(json.loads(self._catalogue.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PreflightError(
                f"the catalogue of images is damaged: {self._catalogue}",
                why=f"{type(error).__name__}: {error}",
                hint="bring it back from a backup, or delete it: images stay where they are; runs/*/artifact-*.json "
                "beside it say what it said of each",
            ) from error

    @contextmanager
    def room(self, path: Path) -> Generator[None]:
        """Hold as much room while the block runs as the catalogue will need for one more image.

        Args:
            path: a file to hold it by, on the same disk.

        Raises:
            OSError: the disk is full.
        """
        known = self._catalogue.stat().st_size if self._catalogue.exists() else 0
        with spare(path, 2 * known + ENTRY):
            yield

    def add_image(self, artifact: Artifact) -> None:
        """Write down a kept image; it takes the place of an older one with the same id, or as the current version."""

        def added(images: list[Artifact]) -> list[Artifact]:
            images = [*(image for image in images if image.id != artifact.id), artifact]
            return make_current(images, artifact) if is_current(artifact) else images

        self.change_images(added)

    def mark_image(self, artifact: Artifact) -> None:
        """Write anew what is known of a kept image, at its place; nothing where it is not in the catalogue."""
        self.change_images(lambda images: [artifact if image.id == artifact.id else image for image in images])

    def forget_image(self, artifact: Artifact) -> None:
        """Take an image out of the catalogue."""
        self.change_images(lambda images: [image for image in images if image.id != artifact.id])

    def change_images(self, change: Callable[[list[Artifact]], list[Artifact]]) -> None:
        """Write the catalogue anew: what a function makes of its images, which nobody changes meanwhile."""
        from filelock import FileLock

        self.prepare()
        with FileLock(str(self.folder / "catalogue.lock")):
            images = change(self.images())
            known = [to_json(image) for image in images]
            lines = ",\n".join(map(json.dumps, known))  # an image a line: `indent` is many times slower
            text = f'{{"version": 1, "sum": {_sum(known)}, "images": [\n{lines}\n]}}\n'
            write_whole(self._catalogue, text, durable=True)

    def image(self, name: str) -> Artifact:
        """Return a kept image by its id, its build's name, or its name (the newest, or the current version).

        Raises:
            UsageError: there is none, or images of several builds have that name.
        """
        return meant(self.images(), name)
