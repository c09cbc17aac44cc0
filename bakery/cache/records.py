"""What earlier runs of a step took in: small files, written whole, read by any number of processes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bakery.cache.inputs.digest import of_json
from bakery.cache.inputs.external import Input
from bakery.model import Json
from bakery.util.files import write_whole

MOST = 16


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of a step.

    Args:
        key: the step's key.
        parent: the key that it stood on.
        options: the task's options.
        code: what its code reached, each with a digest.
        shown: short texts of some of these.
        inputs: what it read.
        made: seconds since the epoch.
        problems: why its result must not be reused; empty for most.
        prekey: what was known before it ran; empty in what older versions wrote.
        task: the name of the function that ran; empty in what older versions wrote.
    """

    key: str
    parent: str
    options: Mapping[str, Json] = field(default_factory=dict[str, Json])
    code: Mapping[str, str] = field(default_factory=dict[str, str])
    shown: Mapping[str, str] = field(default_factory=dict[str, str])
    inputs: tuple[Input, ...] = ()
    made: float = field(default_factory=time.time)
    problems: tuple[str, ...] = ()
    prekey: str = ""
    task: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return a JSON object."""
        plain: dict[str, Json] = {"key": self.key, "parent": self.parent, "made": self.made}
        tables: dict[str, Json] = {"options": dict(self.options), "code": dict(self.code), "shown": dict(self.shown)}
        plain |= {"problems": [*self.problems], "prekey": self.prekey, "task": self.task}
        return {**plain, **tables, "inputs": [item.to_json() for item in self.inputs]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Read what `to_json` wrote."""
        known = dict(data)
        inputs = tuple(Input.from_json(item) for item in known.pop("inputs"))
        problems = tuple(known.pop("problems"))
        return cls(**known, inputs=inputs, problems=problems)


class Records:
    """The records of a cache: by what is known before a step runs, and the last of each step of each build."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "records"

    def under(self, prekey: str) -> list[Record]:
        """Return all runs with this code, these options and this parent, the newest first."""
        return self._read(self._by_key(prekey))

    def add(self, prekey: str, record: Record) -> None:
        """Keep a run; the oldest of too many goes."""
        from filelock import FileLock  # slow to import, and not needed where nothing has changed

        path = self._by_key(prekey)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self._folder / "lock"):
            others = [old for old in self._read(path) if old.key != record.key]
            _write(path, [record, *others][:MOST])

    def last(self, slot: str) -> Record | None:
        """Return the last run of a step of a build, however much has changed since; to tell what did."""
        records = self._read(self._by_slot(slot))
        return records[0] if records else None

    def set_last(self, slot: str, record: Record) -> None:
        """Remember the last run of a step of a build."""
        path = self._by_slot(slot)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, [record])

    def _by_key(self, prekey: str) -> Path:
        return self._folder / prekey[:2] / f"{prekey}.json"

    def _by_slot(self, slot: str) -> Path:
        return self._folder / "last" / f"{hashlib.sha256(os.fsencode(slot)).hexdigest()[:32]}.json"

    def _read(self, path: Path) -> list[Record]:
        try:
            known = json.loads(path.read_text())
            if known["sum"] != of_json(known["records"]):
                return []
            return [Record.from_json(item) for item in known["records"]]
        except (OSError, ValueError, KeyError, TypeError):  # none, damaged, or of another version: the step runs again
            return []


def _write(path: Path, records: list[Record]) -> None:
    known = cast("Json", [record.to_json() for record in records])
    write_whole(path, json.dumps({"sum": of_json(known), "records": known}))
