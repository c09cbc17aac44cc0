"""Commands that stop in namespaces, as all do that systemd is about to end: nsenter stops with them, and is woken."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from bakery.machine.transport.frame import Frame
from bakery.machine.transport.namespace import ENVIRONMENT, ShellProcess, start_time
from bakery.util.process import end_group, run_on_terminal, run_process, start_process
from bakery.util.waiting import Cancel

STOPS = "kill -STOP $$; echo on"
GROUP = "(kill -STOP 0; echo on) | cat"
"""Stops all of its process group, to which nsenter and the shells in between belong."""


@pytest.fixture
def inside() -> Generator[list[str]]:
    """The words that enter a PID namespace of its own, whose first process sleeps."""
    holder = start_process(["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "sleep", "600"])
    try:
        deadline = time.monotonic() + 10
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        while not (first := children.read_text().split()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield ["nsenter", "--target", first[0], "--user", "--pid", "--preserve-credentials", "--", "/bin/sh"]
    finally:
        end_group(holder)


@pytest.mark.parametrize("stops", [STOPS, GROUP])
def test_a_command_that_stops_goes_on(inside: list[str], stops: str) -> None:
    frame = Frame()
    done = run_process([*inside, *frame.words(stops)[1:]], cancel=Cancel(), frame=frame, timeout=20)
    assert (done.exited, done.stdout) == (0, "on\n")


@pytest.mark.parametrize("stops", [STOPS, GROUP])
def test_a_shell_of_tests_that_stops_goes_on(inside: list[str], stops: str) -> None:
    frame = Frame("shell")
    shell = ShellProcess([*inside, *frame.words()[1:]], frame, dict(ENVIRONMENT))
    try:
        shell.begin(20, Cancel())
        shell.send(f"{stops}\n".encode())
        assert shell.receive(20) == [("stdout", b"on\n")]
        assert shell.receive(0) == []
    finally:
        shell.close()


def test_a_persons_command_that_stops_goes_on(inside: list[str]) -> None:
    assert run_on_terminal([*inside, "-c", f"{STOPS} >/dev/null; exit 3"]) == 3


def test_a_persons_command_ends_nobody_on_this_host(inside: list[str]) -> None:
    """`kill 0` reaches all of a process group, whatever namespace they are in."""
    words = [*inside, "-c", "kill -TERM 0"]
    program = f"from bakery.util.process import run_on_terminal\nprint(run_on_terminal({words!r}, apart=True))"
    done = run_process([sys.executable, "-c", program], cancel=Cancel(), timeout=60)
    assert (done.exited, done.stdout) == (0, "-15\n"), done.stderr


def test_a_command_of_a_play_that_stops_goes_on(
    inside: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_context = pytest.importorskip("ansible.playbook.play_context")
    module = importlib.import_module("bakery.provision.inside_ansible.connection.bakery_container")
    pid = int(inside[inside.index("--target") + 1])
    way = tmp_path / "way"
    way.write_text(json.dumps({"pid": pid, "start": start_time(pid), "words": inside, "env": dict(ENVIRONMENT)}))
    connection = module.Connection(play_context.PlayContext(), os.devnull)
    monkeypatch.setattr(connection, "get_option", {"way": str(way)}.get)
    assert connection.exec_command(STOPS, in_data=b"unread")[:2] == (0, b"on\n")
