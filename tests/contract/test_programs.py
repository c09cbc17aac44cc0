"""Programs that a build runs: their output, last words, limits, and their end when it is cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest

from bakery.disk.bases.disk_file import unpack
from bakery.errors import DriverError, Interrupted, PreflightError
from bakery.util import process as programs
from bakery.util.context import WorkContext
from bakery.util.process import PIPE, end_group, exit_text, run_process, start_process, wait
from bakery.util.tools import LINE, missing, reading, run
from bakery.util.waiting import Cancel


def test_what_it_writes_is_returned_and_its_lines_are_heard(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("words")
    heard: list[str] = []
    words = ("sh", "-c", "cat; echo one >&2; echo two >&2")
    out = run(words, WorkContext(cache=tmp_path), what="a test", stdin=tmp_path / "given", on_line=heard.append)
    assert (out, heard) == (b"words", ["one", "two"])


def test_what_it_writes_last_after_a_long_silence_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy host may let the program end between a look at its streams and the question whether it has ended."""
    look = programs.ready

    def ready(streams: list[int], timeout: float | None) -> list[int]:
        came = look(streams, timeout)
        if not came and time.monotonic() - started > programs.GRACE:
            time.sleep(programs.GRACE * 1.2)
        return came

    monkeypatch.setattr(programs, "ready", ready)
    started = time.monotonic()
    words = ["sh", "-c", f"sleep {programs.GRACE * 1.5}; echo last; echo words >&2; exit 3"]
    done = run_process(words, cancel=Cancel())
    assert (done.exited, done.stdout, done.stderr) == (3, "last\n", "words\n")


def test_a_failure_repeats_the_last_words(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"baking failed\n.*exit code 7\nno flour\nhint: buy some"):
        run(("sh", "-c", "echo no flour >&2; exit 7"), WorkContext(cache=tmp_path), what="baking", hint="buy some")


def test_a_program_that_a_signal_ends_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"sh -c 'kill -9 \$\$' was ended by SIGKILL"):
        run(("sh", "-c", "kill -9 $$"), WorkContext(cache=tmp_path), what="baking")
    assert exit_text(-40) == "was ended by signal 40"


def test_what_it_wrote_stands_for_what_it_did_not_say(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"exit code 1\nno flour"):
        run(("sh", "-c", "echo no flour; exit 1"), WorkContext(cache=tmp_path), what="baking")


def test_other_exit_codes_can_be_right(tmp_path: Path) -> None:
    assert run(("sh", "-c", "echo x; exit 3"), WorkContext(cache=tmp_path), what="a test", accept=(0, 3)) == b"x\n"


def test_secrets_are_taken_out_of_what_is_told_of_a_failure(tmp_path: Path) -> None:
    work = WorkContext(cache=tmp_path, redact=lambda text: text.replace("hunter2", "***"))
    with pytest.raises(DriverError) as raised:
        run(("sh", "-c", "echo hunter2 is wrong >&2; exit 1"), work, what="baking")
    assert raised.value.why == "sh -c 'echo *** is wrong >&2; exit 1' ended with exit code 1\n*** is wrong"


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    name = "471147.13"
    words = ("sh", "-c", f"echo no flour >&2; sleep {name} & sleep {name}")
    with pytest.raises(DriverError, match=r"baking: timed out\n(?s:.*)was ended after 0.5 s\nno flour"):
        run(words, WorkContext(cache=tmp_path), what="baking", timeout=0.5)
    assert not running(name)


def test_a_program_that_writes_too_much_is_ended(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"yes wrote more than 1\.0 MiB, and was ended"):
        run(("yes",), WorkContext(cache=tmp_path), what="baking", most=1 << 20)


def test_of_what_it_says_without_an_end_only_the_last_is_kept(tmp_path: Path) -> None:
    """A progress bar of a program that is not told that nobody looks."""
    heard: list[str] = []
    words = ("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x >&2; printf end >&2")
    run(words, WorkContext(cache=tmp_path), what="a test", on_line=heard.append)
    (line,) = heard
    assert line.endswith("xend")
    assert len(line) <= LINE


def test_input_is_fed_while_output_is_read(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    assert run(("cat",), WorkContext(cache=tmp_path), what="a test", stdin=data) == data


def test_an_error_of_whoever_hears_its_lines_ends_it(tmp_path: Path) -> None:
    name = "471147.14"

    def hear(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="one"):
        run(("sh", "-c", f"echo one >&2; sleep {name}"), WorkContext(cache=tmp_path), what="a test", on_line=hear)
    assert not running(name)


def test_the_output_of_a_program_is_read_as_a_file() -> None:
    with reading(("sh", "-c", "echo some; echo words"), what="a test") as file:
        assert file.readlines() == [b"some\n", b"words\n"]


def test_a_program_whose_output_is_read_as_a_file_may_fail_at_its_end() -> None:
    with (
        pytest.raises(DriverError, match=r"baking failed\nsh .*exit code 7\nno flour"),
        reading(("sh", "-c", "echo half; echo no flour >&2; exit 7"), what="baking") as file,
    ):
        assert file.read() == b"half\n"


def test_a_program_whose_output_is_not_wanted_any_more_is_ended() -> None:
    name = "471147.15"
    with (  # noqa: PT012  the block is what is tested
        pytest.raises(KeyError),
        reading(("sh", "-c", f"echo half; sleep {name}"), what="baking") as file,
    ):
        file.read(1)
        raise KeyError
    assert not running(name)


def test_pieces_made_on_the_way_are_fed_and_descriptors_passed() -> None:
    def pieces() -> Generator[bytes]:
        yield b"one "
        yield b"two"

    reader, writer = os.pipe()
    os.write(writer, b" three")
    os.close(writer)
    try:
        words = ["sh", "-c", f"cat; cat /dev/fd/{reader}"]
        done = run_process(words, cancel=Cancel(), input=pieces(), pass_fds=[reader])
    finally:
        os.close(reader)
    assert (done.exited, done.stdout) == (0, "one two three")


def test_a_process_that_goes_on_has_a_group_of_its_own_and_is_waited_for_as_long_as_asked() -> None:
    process = start_process(["sleep", "471147.16"])
    assert os.getpgid(process.pid) == process.pid
    assert wait(process, 0.05) is None
    end_group(process)
    assert process.returncode == -signal.SIGTERM


def test_what_does_not_heed_a_signal_is_killed() -> None:
    process = start_process(["sh", "-c", "trap '' TERM; echo; while :; do sleep 0.1; done"], stdout=PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        output.readline()  # by now it does not heed
        end_group(process, patience=0.2)
    assert process.returncode == -signal.SIGKILL


def test_a_damaged_archive_leaves_no_disk(tmp_path: Path) -> None:
    """Zstd says at its end that something is missing, when all that it could unpack is written."""
    packed, disk = tmp_path / "disk.raw.zst", tmp_path / "disk.raw"
    whole = run(("zstd", "--stdout", "-"), WorkContext(cache=tmp_path), what="packing", stdin=os.urandom(1 << 20))
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PreflightError, match=r"disk.raw.zst cannot be unpacked\nzstd .*exit code 1"):
        unpack(packed, disk, WorkContext(cache=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [packed.name]


def test_a_child_that_outlives_a_program_which_failed_is_ended(tmp_path: Path) -> None:
    name = "471147.12"
    with pytest.raises(DriverError, match="no flour"):
        run(("sh", "-c", f"sleep {name} & echo no flour >&2; exit 7"), WorkContext(cache=tmp_path), what="baking")
    until_true(lambda: not running(name), seconds=2)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="bake-nothing is not installed"):
        run(("bake-nothing",), WorkContext(cache=tmp_path), what="a test")
    (problem,) = missing({"sh": "dash", "bake-nothing": "bakery-nothing"})
    assert problem.hint == "apt install bakery-nothing"


def test_a_cancelled_program_ends_with_all_its_children(tmp_path: Path) -> None:
    work = WorkContext(cache=tmp_path)
    threading.Timer(0.5, work.cancel.set, args=["Ctrl-C"]).start()
    started = time.monotonic()
    with pytest.raises(Interrupted, match="Ctrl-C"):
        run(("sh", "-c", "sleep 4711 & sleep 4711"), work, what="a long sleep")
    assert time.monotonic() - started < 40
    left = [process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"])]
    assert not any("4711" in words for words in left)


ALONE = """
import sys
from pathlib import Path
from bakery.util import process as programs
from bakery.util.context import WorkContext
from bakery.util.tools import run
run(("sleep", sys.argv[1]), WorkContext(cache=Path("/nowhere")), what="a long sleep")
"""


def test_a_program_ends_with_a_bake_that_is_killed(tmp_path: Path) -> None:
    name = "471147.11"
    with subprocess.Popen([sys.executable, "-c", ALONE, name]) as bake:
        until_true(lambda: running(name))
        bake.kill()
    until_true(lambda: not running(name), seconds=2)


def running(word: str) -> bool:
    found = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
    return any(words[:1] == ["sleep"] and word in words for words in found)


def until_true(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
