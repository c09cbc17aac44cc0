"""Searching a whole disk for many byte patterns at once, holes skipped."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bakery.util.extents import stored_parts

CHUNK: Final = 1 << 20
"""Bytes searched at once. Small, because nothing else in this process runs during one search."""
FEW: Final = 6
"""Texts that are looked for one after the other in less time than grep takes to read the disk from us."""
_PREFIX: Final = 6


@dataclass(frozen=True)
class Pattern:
    """Bytes to look for, and the name to report them by.

    Args:
        name: the same for several patterns that mean the same.
        needle: the bytes.
        part: what is in all patterns that mean the same, and in few other places; the whole when empty.
    """

    name: str
    needle: bytes
    part: bytes = b""


@dataclass(frozen=True, order=True)
class Match:
    """Where a pattern was found: the first byte's offset in the disk."""

    offset: int
    name: str
    length: int


class Needles:
    """Finds several patterns in one pass: a gate finds places where one may begin, then each that may is compared.

    Args:
        patterns: what to look for.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._by_start: dict[bytes, list[Pattern]] = {}
        for pattern in patterns:
            if pattern.needle:
                self._by_start.setdefault(pattern.needle[:_PREFIX], []).append(pattern)
        self.longest = max((len(pattern.needle) for pattern in patterns), default=0)
        self._gate = _gate(list(self._by_start))

    def find(self, data: bytes, limit: int) -> Iterator[tuple[int, Pattern]]:
        """Yield each place before `limit` where a pattern begins that is wholly in `data`."""
        if self._gate is None:
            return
        for match in self._gate.finditer(data):
            if (at := match.start()) >= limit:
                return
            for length in range(1, min(_PREFIX, len(data) - at) + 1):
                for pattern in self._by_start.get(data[at : at + length], ()):
                    if data.startswith(pattern.needle, at):
                        yield at, pattern


def _gate(starts: Sequence[bytes]) -> re.Pattern[bytes] | None:
    """Compile the beginnings, by their first byte: twice as fast as a flat list.

    Only that byte is consumed, so that overlapping places are found as well.
    """
    if not starts:
        return None
    groups: dict[bytes, set[bytes]] = {}
    for start in starts:
        groups.setdefault(start[:1], set()).add(re.escape(start[1:]))
    choices = (re.escape(first) + b"(?=" + b"|".join(sorted(rest)) + b")" for first, rest in sorted(groups.items()))
    return re.compile(b"|".join(choices))


def stored_chunks(
    disk: Path, overlap: int, step: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[tuple[int, bytes]]:
    """Yield what of a raw disk is not a hole: the offset of each chunk, and its bytes.

    Args:
        disk: the raw image.
        overlap: how many of the next chunk's bytes come behind.
        step: called with the bytes done and the disk's size, before each chunk and at the end; may raise to stop.
    """
    with disk.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for start, end in stored_parts(file.fileno(), size):
            for at in range(start, end, CHUNK):
                step(at, size)
                yield at, os.pread(file.fileno(), min(CHUNK + overlap, end - at), at)
        step(size, size)


def scan(disk: Path, patterns: Sequence[Pattern], step: Callable[[int, int], None]) -> list[Match]:
    """Search all of a raw disk that is not a hole.

    Args:
        disk: the raw image.
        patterns: what to look for.
        step: called with the bytes done and the disk's size, after each chunk; may raise to stop.
    """
    needles = Needles(patterns)
    hits: list[Match] = []
    for at, data in stored_chunks(disk, max(0, needles.longest - 1), step):
        matches = needles.find(data, CHUNK)
        hits += [Match(at + offset, pattern.name, len(pattern.needle)) for offset, pattern in matches]
    return distinct(hits)


def places_of_few(disk: Path, patterns: Sequence[Pattern], step: Callable[[int, int], None]) -> list[int] | None:
    """List where in the disk something of a pattern is; None where there is more to look for than a few texts.

    Args:
        disk: the raw image.
        patterns: what to look for.
        step: called with the bytes done and the disk's size, after each chunk; may raise to stop.
    """
    parts = {pattern.part or pattern.needle for pattern in patterns if pattern.needle}
    if not parts or len(parts) > FEW:
        return None
    found: set[int] = set()
    for at, data in stored_chunks(disk, max(map(len, parts)) - 1, step):
        found.update(at + offset for part in parts for offset in _all_of(part, data))
    return sorted(found)


def _all_of(part: bytes, data: bytes) -> Iterator[int]:
    at = data.find(part)
    while at >= 0:
        yield at
        at = data.find(part, at + 1)


def scan_windows(disk: Path, patterns: Sequence[Pattern], places: Sequence[int]) -> list[Match]:
    """Search only around places where something is known to be.

    Args:
        disk: the raw image.
        patterns: what to look for.
        places: offsets, sorted; what is found overlaps a pattern that begins or ends there.
    """
    needles = Needles(patterns)
    reach = 2 * needles.longest
    hits: set[Match] = set()
    with disk.open("rb", buffering=0) as file:
        for place in places:
            start = max(0, place - reach)
            data = os.pread(file.fileno(), place + reach - start, start)
            hits |= {
                Match(start + at, pattern.name, len(pattern.needle)) for at, pattern in needles.find(data, len(data))
            }
    return distinct(list(hits))


def distinct(hits: Sequence[Match]) -> list[Match]:
    """Leave out hits that overlap an earlier one of the same name: one text often matches in several forms."""
    kept: list[Match] = []
    ends: dict[str, int] = {}
    for hit in sorted(hits, key=lambda hit: (hit.offset, -hit.length)):
        if hit.offset >= ends.get(hit.name, 0):
            kept.append(hit)
        ends[hit.name] = max(ends.get(hit.name, 0), hit.offset + hit.length)
    return kept


def around(disk: Path, hit: Match, size: int) -> bytes:
    """Return the bytes from a hit on."""
    with disk.open("rb") as file:
        file.seek(hit.offset)
        return file.read(size)
