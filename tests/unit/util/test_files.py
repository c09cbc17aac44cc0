"""Files appear whole or not at all; what fails leaves the old file and nothing else."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Generator
from contextlib import contextmanager
from errno import EFBIG, ELOOP
from pathlib import Path

import pytest

from bakery.util.files import flush, replacing, write_whole


@contextmanager
def disk_that_takes(size: int) -> Generator[None]:
    """Refuse to let files of this process grow over a size, as a full disk does. Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_and_written_anew(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "file"
    write_whole(file, "old and longer", durable=durable)
    write_whole(file, b"n\xffw", durable=durable)
    assert file.read_bytes() == b"n\xffw"
    assert names(tmp_path) == {"file"}


def test_text_is_written_in_utf_8_whatever_the_bytes_of_names_in_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "ä \udcff")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa4 \xff"


@pytest.mark.parametrize("old", [b"old", None])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, old: bytes | None) -> None:
    file = tmp_path / "file"
    if old is not None:
        file.write_bytes(old)
    with disk_that_takes(4096), pytest.raises(OSError) as raised:  # noqa: PT011  any other number fails below
        write_whole(file, b"x" * 8192)
    assert raised.value.errno == EFBIG
    assert names(tmp_path) == (set() if old is None else {"file"})
    assert old is None or file.read_bytes() == old


def test_a_disk_that_is_found_full_on_flushing_leaves_the_old_file(tmp_path: Path) -> None:
    """The last bytes leave the buffer when the block is over already."""
    file = tmp_path / "file"
    file.write_text("old")
    with disk_that_takes(4), pytest.raises(OSError, match="File too large"):
        write_whole(file, b"12345")
    assert file.read_text() == "old"
    assert names(tmp_path) == {"file"}


def test_a_block_that_is_interrupted_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(file) as new:  # noqa: PT012  the block is what is tested
        new.write(b"half")
        raise KeyboardInterrupt
    assert file.read_text() == "old"
    assert names(tmp_path) == {"file"}


def test_a_reader_sees_the_old_file_until_the_block_ends(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with replacing(file) as new:
        new.write(b"new")
        new.flush()
        assert file.read_text() == "old"
    assert file.read_text() == "new"


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    write_whole(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "text"
    assert names(tmp_path / "there") == {"file"}


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "link").symlink_to(pipe)
    write_whole(tmp_path / "link", "text", durable=True)
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == {"pipe", "link"}


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, "text")
    assert names(tmp_path) == {name}


@pytest.mark.parametrize(("mode", "real"), [(0o666, 0o640), (0o600, 0o600)])
def test_permissions_are_there_from_the_first_byte(tmp_path: Path, mode: int, real: int) -> None:
    file = tmp_path / "file"
    before = os.umask(0o027)
    try:
        with replacing(file, mode=mode) as new:
            assert stat.S_IMODE(os.fstat(new.fileno()).st_mode) == real
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == real


def test_a_temporary_file_of_a_killed_process_is_written_over(tmp_path: Path) -> None:
    part = tmp_path / "disk.part"
    part.write_bytes(b"left by a process that was killed")
    with replacing(tmp_path / "disk", temporary=part) as new:
        new.write(b"disk")
    assert (tmp_path / "disk").read_bytes() == b"disk"
    assert names(tmp_path) == {"disk"}


def test_what_is_durable_is_on_the_disk_before_it_has_its_name_and_so_is_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, flushed, real = tmp_path / "file", list[tuple[int, bool]](), os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, file.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "other", "text")
    assert flushed == []
    write_whole(file, "text", durable=True)
    assert flushed == [(file.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_folder_whose_file_system_cannot_write_it_out_is_no_fault() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    flush(Path("/proc"))


def test_a_link_can_be_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    flush(tmp_path / "link")
    with pytest.raises(OSError) as raised:  # noqa: PT011  any other number fails below
        flush(tmp_path / "link", follow=False)
    assert raised.value.errno == ELOOP
