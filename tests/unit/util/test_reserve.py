"""Room that is set aside, so that what must be written down can be when the disk is full."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from bakery.util.reserve import reserve_behind, spare


class Libc:
    """A C library whose fallocate ends as a test says."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, *_: object, **__: object) -> Libc:
        return self

    def fallocate(self, *given: ctypes._SimpleCData[int]) -> int:
        """Fail, or not."""
        self.asked.append(tuple(part.value for part in given))
        ctypes.set_errno(self.number)
        return -1 if self.number else 0


def test_room_is_reserved_behind_the_end_which_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libc = Libc(0)
    monkeypatch.setattr(ctypes, "CDLL", libc)
    with (tmp_path / "journal").open("wb") as file:
        file.write(b"a line\n")
        file.flush()
        reserve_behind(file.fileno(), 4096)
        assert libc.asked == [(file.fileno(), 1, 7, 4096)]
    assert (tmp_path / "journal").read_bytes() == b"a line\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_known_before_the_room_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Libc(number))
    with (tmp_path / "journal").open("wb") as file, pytest.raises(OSError) as raised:  # noqa: PT011  its number is looked at
        reserve_behind(file.fileno(), 4096)
    assert raised.value.errno == number


@pytest.mark.parametrize(("number", "platform"), [(errno.EOPNOTSUPP, "linux"), (errno.ENOSPC, "darwin")])
def test_where_the_system_cannot_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, platform: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Libc(number))
    monkeypatch.setattr("sys.platform", platform)
    with (tmp_path / "journal").open("wb") as file:
        reserve_behind(file.fileno(), 4096)


def test_a_spare_file_is_there_while_the_block_runs_and_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "spare"
    seen: list[tuple[int, int]] = []

    def fails() -> None:
        with spare(path, 8192):
            seen.append((path.stat().st_size, path.stat().st_mode & 0o777))
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fails()
    assert seen == [(8192, 0o600)]
    assert not path.exists()


def test_one_that_does_not_fit_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"), spare(tmp_path / "spare", 8192):
        pytest.fail("there is no room")
    assert list(tmp_path.iterdir()) == []
