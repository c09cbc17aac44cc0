"""`bake logs`: what a run said, and what it says while it is under way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from .conftest import Place

WAITS = """
import time
from pathlib import Path

import bakery
from bakery.testing.folder.driver import Folder


@bakery.source
def here() -> Folder:
    return Folder(cloud={cloud!r})


@bakery.task
def first(m) -> None:
    m.run("echo begun")


@bakery.task
def second(m) -> None:
    while not Path({go!r}).exists():
        time.sleep(0.05)
    m.run("echo went on")


@bakery.image(builtin_tests=False)
def web() -> None: ...
"""


def test_a_run_that_has_ended_is_shown_with_what_its_commands_wrote(place: Place, secret: str) -> None:
    assert place.bake("web-trixie", "--no-test").code == 0
    done = place.bake("logs")
    assert (done.code, done.err) == (0, "")
    assert "task 2/2 noisy: ok" in done.out
    assert "fine" not in place.bake("logs", "--quiet").out
    assert secret not in done.out


def test_events_come_one_a_line_as_json(place: Place, secret: str) -> None:
    assert place.bake("web-trixie", "--no-test").code == 0
    lines = place.bake("logs", "--format", "json").out.splitlines()
    kinds = [json.loads(line)["type"] for line in lines]
    assert (kinds[0], kinds[-1]) == ("run-started", "run-ended")


def test_a_damaged_line_is_left_out_as_in_a_report(place: Place, secret: str) -> None:
    assert place.bake("web-trixie", "--no-test").code == 0
    (events,) = place.folder.glob(".bakery/runs/*/events.jsonl")
    first, rest = events.read_bytes().split(b"\n", 1)
    events.write_bytes(first + b"\n\xff\xfe\n" + rest)
    done = place.bake("logs")
    assert (done.code, done.err) == (0, "")
    assert "task 2/2 noisy: ok" in done.out


def test_no_run_and_a_run_that_is_not_there_are_said(place: Place) -> None:
    assert place.bake("logs").code == 2
    done = place.bake("logs", "nope")
    assert done.code == 2
    assert "no run matches 'nope'" in done.err


def test_a_run_under_way_elsewhere_is_followed_until_it_ends(empty: Place, tmp_path: Path) -> None:
    go = tmp_path / "go"
    empty.write(WAITS.format(cloud=str(tmp_path / "cloud"), go=str(go)))
    bake = [sys.executable, "-m", "bakery"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*bake, "build", "--no-test"], cwd=empty.folder, **quiet) as run:  # type: ignore[call-overload]
        end = time.monotonic() + 60
        while not any(b"begun" in path.read_bytes() for path in empty.folder.glob(".bakery/runs/*/events.jsonl")):
            assert time.monotonic() < end
            time.sleep(0.05)
        with subprocess.Popen([*bake, "logs", "-f"], cwd=empty.folder, stdout=subprocess.PIPE, text=True) as logs:
            assert logs.stdout
            heard = ""
            while "begun" not in heard:  # it is shown while the run waits
                heard += logs.stdout.readline()
            assert "went on" not in heard
            go.touch()
            heard += logs.stdout.read()
        assert "went on" in heard
        assert "web is kept" in heard
    assert (run.returncode, logs.returncode) == (0, 0)
