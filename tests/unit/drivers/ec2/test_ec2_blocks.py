"""A disk as blocks: only what is used, only what has changed, and digests of both."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bakery.drivers.ec2.publish.blocks import SIZE, ZERO, aggregate, current, used


def disk(path: Path, blocks: dict[int, bytes], count: int) -> Path:
    with path.open("wb") as file:
        file.truncate(count * SIZE)
        for index, data in blocks.items():
            file.seek(index * SIZE)
            file.write(data)
    return path


def test_holes_and_zeros_are_not_uploaded(tmp_path: Path) -> None:
    path = disk(tmp_path / "disk.raw", {0: b"boot", 5: ZERO, 7: b"end"}, 9)
    assert [(block.index, block.data.rstrip(b"\0")) for block in used(path)] == [(0, b"boot"), (7, b"end")]
    assert all(len(block.data) == SIZE for block in used(path))


def test_the_last_block_of_a_disk_that_is_no_multiple_is_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x" * (SIZE + 3))
    assert [len(block.data) for block in used(path)] == [SIZE, SIZE]


def test_the_disk_as_it_is_ends_with_what_became_empty(tmp_path: Path) -> None:
    old = {block.index: block.digest.hex() for block in used(disk(tmp_path / "a", {0: b"a", 1: b"b", 2: b"c"}, 4))}
    new = disk(tmp_path / "b", {0: b"a", 1: b"B", 3: b"d"}, 4)
    assert [(block.index, block.data.rstrip(b"\0")) for block in current(new, old)] == [
        (0, b"a"),
        (1, b"B"),
        (3, b"d"),
        (2, b""),
    ]


def test_the_digest_of_digests_is_in_the_order_of_blocks() -> None:
    digests = {3: b"c" * 32, 1: b"a" * 32}
    assert aggregate(digests) == hashlib.sha256(b"a" * 32 + b"c" * 32).digest()


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.integers(0, 20), st.binary(min_size=1, max_size=9)),
    st.dictionaries(st.integers(0, 20), st.binary(min_size=1, max_size=9)),
)
def test_a_parent_with_what_is_current_is_the_new_disk(old: dict[int, bytes], new: dict[int, bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        first, second = disk(Path(folder, "a"), old, 21), disk(Path(folder, "b"), new, 21)
        found = {block.index: block.data for block in used(first)}
        known = {block.index: block.digest.hex() for block in used(first)}
        found |= {block.index: block.data for block in current(second, known)}
        whole = b"".join(found.get(index, ZERO) for index in range(21))
        assert whole == second.read_bytes()
