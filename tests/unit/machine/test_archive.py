"""A folder as a tar stream."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import cast

import pytest

from bakery.errors import TaskError
from bakery.machine.tar_sparse import knows
from bakery.machine.tar_stream import archive, keeps_holes, sparse_files, survey
from bakery.util.context import WorkContext


def members(
    folder: Path, *, exclude: tuple[str, ...] = (), present: tuple[str, ...] = (), compress: bool = False
) -> dict[str, tarfile.TarInfo]:
    stream = archive(folder, exclude=exclude, owner=(4711, 33), present=present, compress=compress)
    with tarfile.open(fileobj=stream, mode="r|gz" if compress else "r|") as tar:
        return {member.name: member for member in tar}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir(mode=0o750)
    (tmp_path / "sub" / "data").write_bytes(b"x" * 1500)
    (tmp_path / "sub" / ("long" * 40)).write_text("name of more than 100 characters")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("sub/data")
    os.link(tmp_path / "run", tmp_path / "zwin")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("compress", [False, True])
def test_all_that_is_in_a_folder_is_in_the_stream(tree: Path, compress: bool) -> None:
    found = members(tree, compress=compress)
    assert sorted(found) == ["link", "run", "sub", "sub/data", "sub/" + "long" * 40, "zwin"]
    assert (found["run"].mode, found["sub/data"].size) == (0o755, 1500)
    assert found["link"].linkname == "sub/data"
    assert found["zwin"].islnk()
    assert {(member.uid, member.gid, member.uname) for member in found.values()} == {(4711, 33, "")}
    assert survey(tree)[0] == ["sub"]


def test_a_folder_that_the_machine_has_is_left_as_it_is_there(tree: Path) -> None:
    assert sorted(members(tree, present=("sub", "run"))) == ["link", "run", "sub/data", "sub/" + "long" * 40, "zwin"]


def test_what_is_excluded_is_not(tree: Path) -> None:
    assert sorted(members(tree, exclude=("sub/long*", "z*", "link"))) == ["run", "sub", "sub/data"]


def test_content_comes_through_whole(tmp_path: Path) -> None:
    data = os.urandom(700_001)
    (tmp_path / "big").write_bytes(data)
    with tarfile.open(fileobj=archive(tmp_path), mode="r|") as tar:
        file = tar.extractfile(next(iter(tar)))
        assert file is not None
        assert file.read() == data


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2_000_000)
    stream = archive(tmp_path)
    stream.read(1)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(TaskError, match="became shorter"):
        stream.read()


def test_a_file_that_vanishes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"y")
    stream = archive(tmp_path)
    stream.read(1)
    (tmp_path / "b").unlink()
    with pytest.raises(TaskError, match=r"cannot read .*/b"):
        stream.read()


def sparse(path: Path, size: int, *parts: tuple[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in parts:
            os.pwrite(file.fileno(), data, at)
    if path.stat().st_blocks * 512 >= size:
        pytest.skip("this file system knows no holes")
    return path


MANY = tuple((number << 20, b"%d" % number * 3000) for number in range(60))


@pytest.mark.parametrize("parts", [(), ((0, b"start"),), ((10 << 20, b"x" * 5000), ((64 << 20) - 3, b"end")), MANY])
def test_a_file_with_holes_comes_through_with_its_holes(tmp_path: Path, parts: tuple[tuple[int, bytes], ...]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    source = sparse(folder / "disk", 64 << 20, *parts)
    (folder / "last").write_text("what comes behind it")
    assert sparse_files(folder) == ["disk"]
    packed = archive(folder, holes=True).read()
    assert len(packed) < 1 << 20
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert (tmp_path / "out/disk").read_bytes() == source.read_bytes()
    assert (tmp_path / "out/last").read_text() == "what comes behind it"
    assert len(archive(folder).read()) > 64 << 20


def test_a_file_with_holes_may_be_larger_than_octal_digits_can_say(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    sparse(folder / "disk", (9 << 30) + 5, ((9 << 30), b"hello"))
    with tarfile.open(fileobj=io.BytesIO(archive(folder, holes=True).read())) as tar:
        (found,) = tar.getmembers()
        assert found.size == (9 << 30) + 5
        file = tar.extractfile(found)
        assert file is not None
        file.seek(9 << 30)
        assert file.read() == b"hello"


def test_a_full_file_is_sent_as_it_is_and_needs_no_tar_that_knows_holes(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(2 << 20))
    assert sparse_files(tmp_path) == []


@pytest.mark.parametrize(
    ("version", "does"),
    [("tar (GNU tar) 1.34", True), ("bsdtar 3.6.2 - libarchive", True), ("tar (busybox) 1.35.0", False), ("", False)],
)
def test_who_knows_the_format(version: str, does: bool) -> None:
    assert knows(version) is does


class Told:
    """Takes notices."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, message: str, **_: object) -> None:
        self.said.append(message)


def test_a_machine_whose_tar_knows_no_holes_gets_zeros_and_that_is_said(tmp_path: Path) -> None:
    sparse(tmp_path / "disk", 64 << 20)
    told = Told()
    assert not keeps_holes(tmp_path, (), lambda _: "tar (busybox) 1.35.0", cast("WorkContext", told))
    assert told.said == ["the holes of disk are filled: the machine's tar knows no files with holes"]
    assert keeps_holes(tmp_path, (), lambda _: "tar (GNU tar) 1.34", cast("WorkContext", told))


def test_a_folder_without_holes_asks_the_machine_nothing(tmp_path: Path) -> None:
    assert not keeps_holes(tmp_path, (), lambda words: pytest.fail(f"asked: {words}"), cast("WorkContext", Told()))
