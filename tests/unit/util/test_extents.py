"""Holes, data and reserved blocks of real files, as far as the file system of the temporary folder knows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakery.util import extents

BLOCK = 4096


def make(path: Path, size: int, *parts: tuple[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in parts:
            os.pwrite(file.fileno(), data, at)
    return path


@pytest.fixture(autouse=True)
def holes(tmp_path: Path) -> None:
    if make(tmp_path / "probe", 1 << 20).stat().st_blocks:
        pytest.skip("this file system knows no holes")


def test_a_copy_of_a_sparse_file_is_sparse_and_the_same(tmp_path: Path) -> None:
    source = make(tmp_path / "source", (6 << 30) + 3, (1 << 20, b"one"), (5 << 30, b"two" * BLOCK))
    extents.copy(source, tmp_path / "copy")
    status = (tmp_path / "copy").stat()
    assert status.st_size == (6 << 30) + 3
    assert status.st_blocks * 512 < 1 << 20
    with (tmp_path / "copy").open("rb") as copy:
        for at, data in ((1 << 20, b"one"), (5 << 30, b"two" * BLOCK), ((6 << 30) - 1, bytes(4))):
            assert os.pread(copy.fileno(), len(data), at) == data


def test_zeros_that_were_written_are_written_in_the_copy(tmp_path: Path) -> None:
    source = make(tmp_path / "source", 1 << 20, (0, bytes(1 << 20)))
    extents.copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_blocks == source.stat().st_blocks
    assert extents.is_full((tmp_path / "copy").stat())


def test_what_is_reserved_is_reserved_in_the_copy(tmp_path: Path) -> None:
    source = make(tmp_path / "source", 3 << 20, (0, b"x"))
    with source.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 1 << 20, 1 << 20)
        if not list(extents.reserved(file.fileno())):
            pytest.skip("this file system does not tell what is reserved")
    extents.copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_blocks == source.stat().st_blocks
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("size", [0, 1, BLOCK, 3 * BLOCK + 1])
def test_small_files_are_copied_whole(tmp_path: Path, size: int) -> None:
    source = make(tmp_path / "source", size, (0, os.urandom(size)))
    extents.copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
