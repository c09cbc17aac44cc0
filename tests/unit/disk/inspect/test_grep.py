"""grep as a scout: what it is sent, and that its places are those of the disk; a grep of Python's stands in for it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakery.disk.inspect import grep
from bakery.disk.inspect.grep import places
from bakery.disk.inspect.scan import CHUNK, Pattern
from bakery.errors import DriverError
from bakery.model import Result
from bakery.util.waiting import Cancel


@dataclass
class Grep:
    """GNU grep, as far as it is used: `grep -a -b -o -F -f FILE`."""

    version: str = "grep (GNU grep) 3.8\n"
    result: Result | None = None
    sent: bytes = b""
    words: list[str] = field(default_factory=list[str])
    patterns: list[bytes] = field(default_factory=list[bytes])

    def run(self, words: list[str], **options: Any) -> Result:
        """Stand in for `run_process`."""
        self.words = words
        if self.result is not None:
            return self.result
        with open(words[-1], "rb") as file:  # noqa: PTH123  a descriptor of this process
            self.patterns = file.read().splitlines()
        self.sent = b"".join(options["input"])
        found, start = [], 0
        for line in self.sent.split(b"\n"):
            gate = b"|".join(re.escape(p) for p in sorted(self.patterns, key=len, reverse=True))
            found += [f"{start + match.start()}:x\n" for match in re.finditer(gate, line)]
            start += len(line) + 1
        return Result(command="grep", exited=0 if found else 1, stdout="".join(found))


@pytest.fixture
def scout(monkeypatch: pytest.MonkeyPatch) -> Grep:
    made = Grep()
    monkeypatch.setattr(grep, "find", lambda _: "/bin/grep")
    monkeypatch.setattr(grep, "run", lambda *_: made.version)
    monkeypatch.setattr(grep, "run_process", made.run)
    return made


@pytest.fixture
def disk(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sparse disk: offsets, and what is there."""

    def write(size: int, **parts: bytes) -> Path:
        with (tmp_path / "disk").open("wb") as file:
            file.truncate(size)
            for at, data in parts.items():
                os.pwrite(file.fileno(), data, int(at.removeprefix("at")))
        return tmp_path / "disk"

    return write


def patterns(*needles: bytes) -> list[Pattern]:
    return [Pattern(str(number), needle) for number, needle in enumerate(needles)]


def test_places_are_told_as_offsets_on_the_disk(scout: Grep, disk: Callable[..., Path]) -> None:
    path = disk(8 * CHUNK, at100=b"hunter22", **{f"at{5 * CHUNK + 7}": b"a key, hunter22"})
    assert places(path, patterns(b"hunter22", b"a key"), Cancel()) == [100, 5 * CHUNK + 7, 5 * CHUNK + 14]


def test_what_lies_across_two_chunks_is_found_once(scout: Grep, disk: Callable[..., Path]) -> None:
    path = disk(3 * CHUNK, **{f"at{CHUNK - 3}": b"hunter22", f"at{2 * CHUNK}": b"hunter22"})
    assert places(path, patterns(b"hunter22"), Cancel()) == [CHUNK - 3, 2 * CHUNK]


def test_empty_chunks_are_not_sent_and_no_line_is_longer_than_a_chunk(scout: Grep, disk: Callable[..., Path]) -> None:
    places(disk(64 * CHUNK, at0=b"x", **{f"at{32 * CHUNK}": bytes(CHUNK)}), patterns(b"hunter22"), Cancel())
    assert len(scout.sent) < 2 * CHUNK + 20
    assert max(map(len, scout.sent.split(b"\n"))) <= CHUNK + len(b"hunter22")


def test_of_a_pattern_with_several_lines_the_longest_stands_for_all(scout: Grep, disk: Callable[..., Path]) -> None:
    key = b"-----BEGIN\nAAAAAAAAAAAAAAAAAAAAAAAA\nBB"
    path = disk(CHUNK, at10=key)
    assert places(path, patterns(key), Cancel()) == [10 + key.index(b"A")]
    assert scout.patterns == [b"AAAAAAAAAAAAAAAAAAAAAAAA"]


def test_secrets_are_in_no_argument_and_the_program_knows_nothing_of_this_host_s_settings(
    scout: Grep, disk: Callable[..., Path]
) -> None:
    places(disk(CHUNK, at0=b"x"), patterns(b"hunter22"), Cancel())
    assert scout.words[:-1] == ["/bin/grep", "-a", "-b", "-o", "-F", "-f"]
    assert scout.words[-1].startswith("/dev/fd/")


@pytest.mark.parametrize("needles", [(), (b"",), (b"abc",), (b"hunter22", b"a\nb\nc")])
def test_patterns_that_are_too_short_for_it_are_left_to_the_plain_search(
    scout: Grep, disk: Callable[..., Path], needles: tuple[bytes, ...]
) -> None:
    assert places(disk(CHUNK), patterns(*needles), Cancel()) is None
    assert scout.words == []


def test_another_grep_than_gnu_s_or_none_is_not_trusted(
    scout: Grep, disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scout.version = "grep (BSD grep) 2.6.0\n"
    assert places(disk(CHUNK), patterns(b"hunter22"), Cancel()) is None
    monkeypatch.setattr(grep, "find", lambda _: None)
    assert places(disk(CHUNK), patterns(b"hunter22"), Cancel()) is None


def test_a_grep_that_fails_is_no_clean_image_and_nobody_is_left_writing_to_it(
    scout: Grep, disk: Callable[..., Path]
) -> None:
    scout.result = Result(command="grep", exited=2, stderr="grep: memory exhausted\n")
    needles = [f"{number:08}".encode() * 10 for number in range(3000)]  # more than a pipe holds
    before = set(threading.enumerate())
    with pytest.raises(DriverError, match="grep cannot search the image") as raised:
        places(disk(CHUNK), patterns(*needles), Cancel())
    assert raised.value.why == "grep: memory exhausted"
    assert set(threading.enumerate()) <= before


def test_a_cancelled_search_sends_no_more(scout: Grep, disk: Callable[..., Path]) -> None:
    cancel = Cancel()
    cancel.set("Ctrl-C")
    assert places(disk(CHUNK, at0=b"hunter22"), patterns(b"hunter22"), cancel) == []
    assert scout.sent == b""
