"""Smoke tests of a container: the shell enters its namespaces."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.errors import ConnectError, NotYet
from bakery.model import Endpoint
from bakery.smoke.backend import host as make_host
from bakery.smoke.connect import connect
from bakery.smoke.shell import Shell
from bakery.state.ssh_keys import Keys
from bakery.util.results import Lost
from bakery.util.waiting import Cancel, until

pytestmark = pytest.mark.live

NO_KEYS = Keys(user_private="", user_public="", host_private="", host_public="")


START = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
hostname inside-of-it
exec chroot "$1/root" sleep 600
"""


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[int]:
    """A process with namespaces and a root folder of its own, as a container's init is."""
    if os.geteuid() != 0:
        pytest.skip("namespaces are made by root here")
    words = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"]
    with subprocess.Popen([*words, "sh", "-e", "-c", START, "container", str(tmp_path)]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def started() -> int:
            found = children.read_text().split()
            if not found or b"sleep" not in Path(f"/proc/{found[0]}/cmdline").read_bytes()[:5]:
                raise NotYet("no child yet")
            return int(found[0])

        try:
            yield until(started, what="the container starts", timeout=20, cancel=Cancel())
        finally:
            process.kill()


def test_the_host_is_what_is_inside_of_the_namespaces(leader: int) -> None:
    connection = connect(Endpoint(transport="namespace", data={"pid": leader}), NO_KEYS)
    shell = Shell(connection.open_shell)
    try:
        host = make_host("container", shell)
        assert host.check_output("hostname") == "inside-of-it"
        assert host.file("/proc/1/comm").content_string == "sleep\n"
        assert host.user("root").uid == 0
        assert host.run("ip -o link").stdout.count("\n") == 1
    finally:
        shell.close()
        connection.close()


def test_a_container_that_is_gone_is_a_connection_error(leader: int) -> None:
    endpoint = Endpoint(transport="namespace", data={"pid": leader, "start": 1})
    with pytest.raises(ConnectError, match="is gone"):
        connect(endpoint, NO_KEYS)


def test_a_container_that_dies_under_the_tests_is_lost(leader: int) -> None:
    connection = connect(Endpoint(transport="namespace", data={"pid": leader}), NO_KEYS)
    shell = Shell(connection.open_shell)
    assert shell.ask("true")[0].exited == 0
    os.kill(leader, 9)
    with pytest.raises(Lost):
        shell.ask("sleep 5", "true", timeout=20)
    shell.close()
