"""Which blocks changed: the algebra of block ranges, and what is told from a sparse file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakery.disk.block_changes import BLOCK, both, changes, copy_data, differing, stored, union, without
from bakery.disk.ext4_metadata import free_blocks_now, parse_free_blocks
from bakery.errors import DriverError
from bakery.util.context import WorkContext

BLOCKS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: range(pair[0], sum(pair)))).map(
    lambda parts: union(parts, [])
)
DUMPE2FS = """\
Free blocks:              1799515
Group 0: (Blocks 0-32767) csum 0xa080 [ITABLE_ZEROED]
  0 free blocks, 0 free inodes, 1124 directories
  Free blocks: 
  Free inodes: 
Group 1: (Blocks 32768-65535) csum 0x8ec0 [ITABLE_ZEROED]
  Free blocks: 40000, 40004-65535
Group 2: (Blocks 65536-98303) csum 0x2add [ITABLE_ZEROED]
  Free blocks: 65536-70000
"""  # noqa: W291  as it comes


def numbers(blocks: list[range]) -> set[int]:
    return {block for part in blocks for block in part}


def file_of(path: Path, content: dict[int, bytes], size: int = 64) -> Path:
    with path.open("wb") as file:
        file.truncate(size * BLOCK)
        for block, data in content.items():
            file.seek(block * BLOCK)
            file.write(data * (BLOCK // len(data)))
    return path


@given(some=BLOCKS, others=BLOCKS)
def test_ranges_of_blocks_behave_as_the_sets_that_they_stand_for(some: list[range], others: list[range]) -> None:
    for found, wanted in (
        (union(some, others), numbers(some) | numbers(others)),
        (without(some, others), numbers(some) - numbers(others)),
        (both(some, others), numbers(some) & numbers(others)),
    ):
        assert numbers(found) == wanted
        assert all(one.stop <= other.start for one, other in pairwise(found))


def test_holes_of_a_sparse_file_are_not_stored_blocks(tmp_path: Path) -> None:
    assert stored(file_of(tmp_path / "empty", {})) == []
    assert stored(file_of(tmp_path / "some", {3: b"a", 4: b"b", 60: b"c"})) == [range(3, 5), range(60, 61)]


def test_only_blocks_that_differ_are_found_to_differ(tmp_path: Path) -> None:
    one = file_of(tmp_path / "one", {1: b"a", 2: b"b", 3: b"c", 9: b"d"})
    other = file_of(tmp_path / "other", {1: b"a", 2: b"x", 3: b"y", 8: b"z"})
    assert differing(one, other, [range(12)], WorkContext(cache=tmp_path)) == [range(2, 4), range(8, 10)]


def test_copied_data_leaves_the_same_holes(tmp_path: Path) -> None:
    source, target = file_of(tmp_path / "source", {2: b"a", 50: b"b"}), file_of(tmp_path / "target", {})
    with target.open("r+b") as file:
        copy_data(source, file.fileno())
    assert target.read_bytes() == source.read_bytes()
    assert stored(target) == stored(source)


def test_what_was_freed_is_zero_and_what_was_taken_is_as_it_is_now(tmp_path: Path) -> None:
    """Block 1 is metadata; 2 and 3 belong to a file that was removed; 10 and 11 to one that is new."""
    before = file_of(tmp_path / "before", {1: b"o"})
    after = file_of(tmp_path / "after", {1: b"n", 10: b"d"})
    found = changes(
        before,
        after,
        free_before=[range(10, 64)],
        free_after=[range(2, 4), range(12, 64)],
        work=WorkContext(cache=tmp_path),
    )
    assert found.data == [range(1, 2), range(10, 11)]
    assert found.zeros == [range(2, 4), range(11, 12)]  # 11 was never written: whatever the base has there, it is zero


def test_what_was_written_into_blocks_that_are_free_again_does_not_count(tmp_path: Path) -> None:
    before, after = file_of(tmp_path / "before", {}), file_of(tmp_path / "after", {20: b"gone"})
    free = [range(10, 64)]
    found = changes(before, after, free_before=free, free_after=free, work=WorkContext(cache=tmp_path))
    assert (found.data, found.zeros) == ([], [])


def test_the_free_blocks_that_dumpe2fs_lists_are_read_with_neighbours_joined() -> None:
    assert parse_free_blocks(DUMPE2FS) == [range(40000, 40001), range(40004, 70001)]


def test_a_file_that_is_no_file_system_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="not as we make them"):
        free_blocks_now(file_of(tmp_path / "zeros", {}), [])
