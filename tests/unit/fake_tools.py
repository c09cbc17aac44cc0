"""Other people's programs in memory: what they were asked, what they answer, what they write."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest

from bakery.errors import DriverError

Told: TypeAlias = "bytes | str | Exception | Callable[[list[str]], bytes | None]"


@dataclass
class FakeTools:
    """In place of `bakery.util.tools.run`. qemu-img makes files with a header and knows their sizes."""

    ran: list[list[str]] = field(default_factory=list[list[str]])
    options: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _answers: list[tuple[str, Told]] = field(default_factory=list[tuple[str, Told]])

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> FakeTools:
        """Stand in for the real ones, also in modules that have `run` under their own name."""
        fake = cls()
        monkeypatch.setattr("bakery.util.tools.run", fake.run)
        for module in modules:
            monkeypatch.setattr(module, "run", fake.run)
        fake.answer("qemu-img info *", _info).answer("qemu-img create *", _create).answer(
            "qemu-img convert *", _convert
        )
        return fake

    def answer(self, pattern: str, told: Told = b"") -> FakeTools:
        """Foresee a command line; the last added is asked first."""
        self._answers.insert(0, (pattern, told))
        return self

    @property
    def lines(self) -> list[str]:
        """What was run, words joined by spaces."""
        return [" ".join(words) for words in self.ran]

    def run(self, words: Any, work: Any, **options: Any) -> bytes:
        """Answer."""
        del work
        own = [str(word) for word in words]
        self.ran.append(own)
        self.options.append(options)
        line = " ".join(own)
        for pattern, told in self._answers:
            if line == pattern or fnmatch.fnmatchcase(line, pattern):
                if isinstance(told, Exception):
                    raise told
                given = told(own) if callable(told) else told
                return given.encode() if isinstance(given, str) else given or b""
        raise AssertionError(f"nobody foresaw {line!r}")


def qcow2(size: int) -> bytes:
    """Return the header of a qcow2 disk of so many bytes."""
    return b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(16) + size.to_bytes(8, "big") + bytes(72)


def _info(words: list[str]) -> bytes:
    path = Path(words[-1])
    if not path.exists():
        raise DriverError(f"looking at {path.name} failed", why="No such file or directory")
    head = path.read_bytes()[:32]
    is_qcow2 = head.startswith(b"QFI\xfb")
    size = int.from_bytes(head[24:32], "big") if is_qcow2 else path.stat().st_size
    return json.dumps({"format": "qcow2" if is_qcow2 else "raw", "virtual-size": size}).encode()


def _create(words: list[str]) -> None:
    Path(words[-2]).write_bytes(qcow2(int(words[-1].replace("M", "000000"))))


def _convert(words: list[str]) -> None:
    Path(words[-1]).write_bytes(qcow2(1 << 20))
