"""QEMU as a process: what it leaves to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.drivers.qemu import process
from bakery.util.unix_sockets import LONGEST, reachable


def test_last_words_say_how_it_ended_what_it_said_and_where_the_guest_was(tmp_path: Path) -> None:
    (tmp_path / process.EXIT).write_text("1\n")
    (tmp_path / process.LOG).write_text("qemu-system-x86_64: cannot set up guest memory\n")
    (tmp_path / process.SERIAL).write_bytes(b"one\r\n\r\nKernel panic \xff\r\n")
    assert process.last_words(tmp_path) == (
        "QEMU ended with exit code 1\n"
        "it said:\n  qemu-system-x86_64: cannot set up guest memory\n"
        "its console ended with:\n  one\n  Kernel panic \N{REPLACEMENT CHARACTER}"
    )


def test_a_folder_without_logs_is_said_to_hold_none(tmp_path: Path) -> None:
    assert process.last_words(tmp_path) == "it left no words"


def test_the_tail_of_a_long_log_is_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert process.tail(log, 2) == ["line 9998", "line 9999"]


def test_a_socket_too_deep_for_its_address_is_reached_wherever_tmpdir_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * LONGEST)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with reachable(deep / "qmp.sock") as path:
        assert len(path) <= LONGEST
        assert Path(path).parent.resolve() == deep.resolve()


def test_a_process_that_never_was_is_not_alive() -> None:
    assert not process.alive("bakery-never", 2**22 + 1)
