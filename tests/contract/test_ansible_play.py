"""Plays over a real sshd on loopback, to which something happens while they run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery import Machine
from bakery.errors import DriverError
from bakery.events import Event, ItemApplied
from bakery.machine.transport.link import Link
from bakery.model import Endpoint
from bakery.provision import ansible
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server, start_sshd
from bakery.util.context import WorkContext

pytest.importorskip("ansible")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an sshd that lets root in needs root")
RESTART = """
- hosts: all
  gather_facts: false
  tasks:
  - command: kill -HUP {pid}
  - meta: reset_connection
  - command: "true"
"""
LONG = """
- hosts: all
  gather_facts: false
  tasks:
  - command: "true"
  - name: long
    command: sleep 300
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = start_sshd(tmp_path / "sshd", make_keys("test"))
    yield made
    made.stop()


def test_a_play_that_restarts_sshd_goes_on(server: Server) -> None:
    """On SIGHUP sshd starts itself anew; the connection after it is another one."""
    (server.folder / "site.yml").write_text(RESTART.format(pid=server.process.pid))
    assert [item.outcome for item in ansible(server.machine(), "site.yml").items] == ["changed", "changed"]


FOLDER = """
- hosts: all
  gather_facts: false
  tasks:
  - command: "true"
    loop: [1, 2]
  - command: "true"
  - command: "true"
  - shell: for i in $(seq 600); do ls -d /tmp/.bakery-*-modules && exit; sleep 0.1; done; exit 1
  - command: "true"
  - shell: ls /tmp/.bakery-*-modules/__pycache__/basic.*.pyc && ls -ld /tmp/.bakery-*-modules
    register: told
  - debug: {msg: "{{ told.stdout }}"}
"""


def test_a_longer_plays_modules_find_their_library_on_the_machine(server: Server, tmp_path: Path) -> None:
    """What Python compiles of it stays for the next module; an archive's is compiled each time."""
    before = set(Path("/tmp").glob(".bakery-*"))
    (server.folder / "site.yml").write_text(FOLDER)
    assert {item.outcome for item in ansible(server.machine(), "site.yml").items} == {"changed", "ok"}
    assert set(Path("/tmp").glob(".bakery-*")) - before == set()


def test_a_machine_that_dies_under_a_play_is_said_with_the_plays_line(server: Server, tmp_path: Path) -> None:
    events: list[Event] = []
    dead = threading.Event()

    def endpoint() -> Endpoint:
        if dead.is_set():
            raise DriverError("the machine died", why="its last words")
        return server.endpoint

    work = WorkContext(cache=tmp_path, emit=events.append)
    machine = Machine(Link(endpoint, server.keys, work, timeout=30), tmp_path, work, step="step")
    (tmp_path / "site.yml").write_text(LONG)

    def kill() -> None:
        while not any(isinstance(event, ItemApplied) for event in events):
            time.sleep(0.05)
        time.sleep(0.5)  # the next task is under way
        dead.set()
        server.stop()

    killer = threading.Thread(target=kill)
    killer.start()
    started = time.monotonic()
    with pytest.raises(DriverError, match="the machine died") as caught:
        ansible(machine, "site.yml")
    killer.join()
    assert time.monotonic() - started < 60
    assert caught.value.why == "its last words"
    assert str(caught.value.where) == f"{tmp_path}/site.yml:6"
