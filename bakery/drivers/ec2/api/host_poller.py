"""One question for all processes of a host: on a cluster's worker each build is a process of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bakery.drivers.ec2.api.poller import BATCH, FORGET, BatchPoller
from bakery.errors import NotYet
from bakery.model import from_json
from bakery.util.files import write_whole

VARIABLE: Final = "BAKERY_POLLS"
"""In the environment of a build on a worker: the folder in which answers are shared."""
DATE: Final = "@date"
"""What stands for a date in JSON: boto3 returns some."""


@dataclass
class _Shared:
    """What the processes of a host know together, in seconds of the host's monotonic clock.

    Args:
        boot: the run of the kernel whose clock that is.
        looked: when the last look ended.
        asked: when a thing was last asked for.
        known: the things of the last look; None for one that does not exist.
    """

    boot: str = ""
    looked: float = float("-inf")
    asked: dict[str, float] = field(default_factory=dict[str, float])
    known: dict[str, Any] = field(default_factory=dict[str, Any])


class HostPoller(BatchPoller):
    """Answers from one look that all processes of this host share; whoever finds it too old looks for all.

    Args:
        fetch, every: as for `BatchPoller`.
        file: where the last look is.
    """

    def __init__(self, fetch: Callable[[list[str]], dict[str, dict[str, Any]]], every: float, file: Path) -> None:
        super().__init__(fetch, every)
        self._file = file

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the state of one thing as AWS describes it, or None where there is none. For probes.

        Raises:
            NotYet: it was not asked for in the last look, and the next is not due.
            DriverError: the look was refused.
        """
        with self._shared() as shared:
            shared.asked[name] = time.monotonic()
            if time.monotonic() - shared.looked >= self._every:
                self._look_for_all(shared)
            if name in shared.known:
                found: dict[str, Any] | None = shared.known[name]
                return found
        raise NotYet("AWS is asked again in a moment")

    def forget(self, name: str) -> None:
        """Drop what is known, after something was changed; the next answer is then from a new look."""
        with self._shared() as shared:
            shared.known.pop(name, None)

    def _look_for_all(self, shared: _Shared) -> None:
        started = time.monotonic()
        shared.asked = {name: asked for name, asked in shared.asked.items() if started - asked < FORGET}
        names = sorted(shared.asked)
        found: dict[str, dict[str, Any]] = {}
        for first in range(0, len(names), BATCH):
            found.update(self._fetch(names[first : first + BATCH]))
        shared.known = {name: found.get(name) for name in names}
        shared.looked = time.monotonic()

    @contextmanager
    def _shared(self) -> Generator[_Shared]:
        """Hold what is known while the block runs, and write it down afterwards; also where a look was refused."""
        from filelock import FileLock  # slow to import

        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self._file.with_suffix(".lock")):
            shared = self._read()
            try:
                yield shared
            finally:
                write_whole(self._file, json.dumps(vars(shared), default=_plain), mode=0o600)

    def _read(self) -> _Shared:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        try:
            known = from_json(_Shared, json.loads(self._file.read_text(encoding="utf-8"), object_hook=_dated))
        except (OSError, ValueError, TypeError, KeyError):  # none yet, or damaged: there is a new look
            return _Shared(boot=boot)
        return known if known.boot == boot else _Shared(boot=boot)


def poller(fetch: Callable[[list[str]], dict[str, dict[str, Any]]], every: float, name: str) -> BatchPoller:
    """Return a poller: of this process, or of all processes of this host where the environment names a folder for them.

    Args:
        fetch, every: as for `BatchPoller`.
        name: of what is asked for, whom, and as whom.
    """
    folder = os.environ.get(VARIABLE, "")
    return HostPoller(fetch, every, Path(folder) / f"{name}.json") if folder else BatchPoller(fetch, every)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {DATE: value.isoformat()}
    raise TypeError(f"{type(value).__name__} is no JSON")


def _dated(data: dict[str, Any]) -> Any:
    return datetime.fromisoformat(data[DATE]) if DATE in data else data
