"""`bake ssh` into a container that was stopped on the way: a terminal of its own, and exit codes."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress

import pytest

from bakery.drivers.nspawn import host
from tests.live.baking import Project, clean

pytestmark = [
    pytest.mark.live,
    pytest.mark.all,
    pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
]

STOPS = """
import bakery
from bakery.drivers import Debian, Nspawn


@bakery.source
def container() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))


@bakery.task
def before(m):
    m.run("touch /etc/before")


@bakery.task
def after(m):
    m.run("touch /etc/after")


@bakery.image
def box() -> None: ...
"""


def on_a_terminal(project: Project, *words: str) -> tuple[int, str]:
    """Run bake for a person, and return its exit code and what is on the screen."""
    reader, writer = pty.openpty()
    bake = subprocess.Popen(
        project.words(*words), stdin=writer, stdout=writer, stderr=writer, env={**project.env, "TERM": "xterm"}
    )
    os.close(writer)
    told = b""
    with suppress(OSError):  # Linux: the other end is closed
        while chunk := os.read(reader, 65536):
            told += chunk
    os.close(reader)
    return bake.wait(timeout=60), told.decode(errors="replace")


def test_a_person_gets_a_terminal_that_the_container_knows(project: Project) -> None:
    project.write(STOPS)
    stopped = project.bake("--stop-at", "after", timeout=600)
    clean(stopped, 130, "stopped before task after")
    run = project.runs[-1].name
    try:
        code, told = on_a_terminal(project, "ssh", run, "--", 'tty; test -e "$(tty)" && ls /etc/before; exit 7')
        assert code == 7, told
        assert "/dev/pts/" in told
        assert "/etc/before" in told
        quiet = project.bake("ssh", run, "--", "test -e /etc/after || exit 6")
        assert quiet.code == 6, quiet.err
    finally:
        project.bake("gc", run)
    assert project.left() == set()
