"""A folder as a tar stream."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from bakery.errors import TaskError
from bakery.machine.tar_stream import archive


def members(folder: Path, *, exclude: tuple[str, ...] = (), compress: bool = False) -> dict[str, tarfile.TarInfo]:
    stream = archive(folder, exclude=exclude, owner="app:www", compress=compress)
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
    assert {(member.uname, member.gname, member.uid) for member in found.values()} == {("app", "www", 0)}


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
