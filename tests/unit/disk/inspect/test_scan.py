from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from bakery.disk.inspect.scan import CHUNK, FEW, Match, Needles, Pattern, distinct, places_of_few, scan, scan_windows
from bakery.errors import Interrupted
from bakery.util.extents import stored_parts


def quiet(done: int, total: int) -> None:
    del done, total


def offsets(data: bytes, *needles: bytes) -> list[tuple[int, bytes]]:
    finder = Needles([Pattern(needle.hex(), needle) for needle in needles])
    return sorted((at, pattern.needle) for at, pattern in finder.find(data, len(data)))


def test_overlapping_and_nested_patterns_are_all_found() -> None:
    found = offsets(b"xabcdefghx", b"abcdefgh", b"abc", b"bcd", b"defghx", b"h")
    assert found == [(1, b"abc"), (1, b"abcdefgh"), (2, b"bcd"), (4, b"defghx"), (8, b"h")]


def test_special_characters_and_bytes_are_taken_literally() -> None:
    assert offsets(b"a.b*c\x00\n\xff", b".b*", b"\x00\n\xff", b"a+") == [(1, b".b*"), (5, b"\x00\n\xff")]


def test_nothing_to_look_for_finds_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"data")
    assert scan(disk, [], quiet) == []
    assert scan(disk, [Pattern("empty", b"")], quiet) == []


def test_a_search_agrees_with_the_plain_way_on_random_data(tmp_path: Path) -> None:
    rng = random.Random(7)
    data = bytes(rng.choice(b"ab") for _ in range(20_000))
    needles = [bytes(rng.choice(b"ab") for _ in range(rng.randint(1, 14))) for _ in range(20)]
    wanted = sorted({(at, needle) for needle in needles for at in range(len(data)) if data.startswith(needle, at)})
    assert sorted(set(offsets(data, *needles))) == wanted


@pytest.mark.parametrize("at", [0, CHUNK - 9, CHUNK - 1, CHUNK, 2 * CHUNK - 5])
def test_a_pattern_at_or_across_a_border_is_found_once(tmp_path: Path, at: int) -> None:
    disk = tmp_path / "disk"
    data = bytearray(os.urandom(1024)) * (3 * CHUNK // 1024)
    data[at : at + 10] = b"needle-123"
    disk.write_bytes(data)
    assert scan(disk, [Pattern("n", b"needle-123")], quiet) == [Match(at, "n", 10)]


@pytest.mark.parametrize("at", [0, CHUNK - 9, CHUNK - 1, CHUNK, 2 * CHUNK - 5])
def test_the_places_of_a_few_texts_lead_to_what_a_whole_search_finds(tmp_path: Path, at: int) -> None:
    """Two forms of one mark are sought by what both have, which also stands where there is none."""
    disk = tmp_path / "disk"
    data = bytearray(os.urandom(1024)) * (3 * CHUNK // 1024)
    data[at : at + 9] = b"BEGIN KEY"
    data[at + 20 : at + 31] = b"BEGIN A KEY"
    data[at + 40 : at + 44] = b" KEY"
    disk.write_bytes(data)
    wanted = [Pattern("k", b"BEGIN KEY", b" KEY"), Pattern("k", b"BEGIN A KEY", b" KEY"), Pattern("none", b"")]
    places = places_of_few(disk, wanted, quiet)
    assert places == [at + 5, at + 27, at + 40]
    assert scan_windows(disk, wanted, places) == scan(disk, wanted, quiet)
    assert len(scan(disk, wanted, quiet)) == 2


def test_many_texts_are_left_to_grep(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x" * 10)
    assert places_of_few(disk, [Pattern(str(n), b"needle%d" % n) for n in range(FEW + 1)], quiet) is None
    assert places_of_few(disk, [Pattern("empty", b"")], quiet) is None


def test_holes_are_skipped(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(1 << 34)
        file.seek(1 << 33)
        file.write(b"needle")
    seen: list[int] = []
    assert scan(disk, [Pattern("n", b"needle")], lambda done, _: seen.append(done)) == [Match(1 << 33, "n", 6)]
    assert len(seen) < 10
    with disk.open("rb") as file:
        assert sum(end - start for start, end in stored_parts(file.fileno(), 1 << 34)) <= 1 << 20


def test_a_search_can_be_stopped(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x" * 10)

    def stop(done: int, total: int) -> None:
        raise Interrupted(f"{done} of {total}")

    for search in (scan, places_of_few):
        with pytest.raises(Interrupted):
            search(disk, [Pattern("n", b"needle")], stop)


def test_several_forms_at_one_place_count_once() -> None:
    hits = [Match(10, "a", 5), Match(10, "a", 9), Match(12, "a", 4), Match(12, "b", 4), Match(19, "a", 5)]
    assert distinct(hits) == [Match(10, "a", 9), Match(12, "b", 4), Match(19, "a", 5)]
