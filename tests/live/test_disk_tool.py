"""Programs that a build runs: their last words, their end when it is cancelled."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bakery.errors import DriverError, Interrupted
from bakery.util.context import WorkContext
from bakery.util.tools import missing, run

pytestmark = pytest.mark.live


def test_what_it_writes_is_returned_and_its_lines_are_heard(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("words")
    heard: list[str] = []
    words = ("sh", "-c", "cat; echo one >&2; echo two >&2")
    out = run(words, WorkContext(cache=tmp_path), what="a test", stdin=tmp_path / "given", on_line=heard.append)
    assert (out, heard) == (b"words", ["one", "two"])


def test_a_failure_repeats_the_last_words(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"baking failed\n.*exit code 7\nno flour\nhint: buy some"):
        run(("sh", "-c", "echo no flour >&2; exit 7"), WorkContext(cache=tmp_path), what="baking", hint="buy some")


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
