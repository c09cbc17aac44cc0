"""A file's digest is that of what is in it in the end, however it came there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bakery.disk.bases.following_digest import CHUNK, FollowingDigest
from bakery.errors import Interrupted
from bakery.util.context import WorkContext
from bakery.util.waiting import Cancel

DATA = bytes(range(256)) * (CHUNK // 100)


@pytest.fixture
def work(tmp_path: Path) -> WorkContext:
    return WorkContext(cache=tmp_path)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_it_is_taken_while_the_file_grows(work: WorkContext, tmp_path: Path) -> None:
    file = tmp_path / "disk"
    with FollowingDigest(file, "sha256") as follower, file.open("wb") as out:
        for start in range(0, len(DATA), 100_000):
            out.write(DATA[start : start + 100_000])
            out.flush()
            follower.wrote(out.tell())
        assert follower.result(work) == sha256(DATA)


def test_what_was_there_already_counts(work: WorkContext, tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(DATA)
    with FollowingDigest(file, "sha512") as follower:
        follower.wrote(CHUNK + 5)
        assert follower.result(work) == hashlib.sha512(DATA).hexdigest()


def test_a_file_that_is_begun_anew_is_hashed_anew(work: WorkContext, tmp_path: Path) -> None:
    file = tmp_path / "disk"
    for _ in range(50):  # at whatever moment of the thread that happens
        with FollowingDigest(file, "sha256") as follower:
            file.write_bytes(b"wrong" * CHUNK)
            follower.wrote(5 * CHUNK)
            follower.wrote(0)
            file.write_bytes(DATA)
            assert follower.result(work) == sha256(DATA)


def test_an_empty_file_has_a_digest_too(work: WorkContext, tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    with FollowingDigest(tmp_path / "disk", "sha256") as follower:
        assert follower.result(work) == sha256(b"")


def test_what_cannot_be_read_is_said(work: WorkContext, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    with FollowingDigest(tmp_path / "disk", "sha256") as follower, pytest.raises(IsADirectoryError):
        follower.result(work)


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set("enough")
    (tmp_path / "disk").write_bytes(DATA)
    with FollowingDigest(tmp_path / "disk", "sha256") as follower, pytest.raises(Interrupted):
        follower.result(WorkContext(cache=tmp_path, cancel=cancel))
