"""Answers that testinfra gives wrongly, and that we give rightly."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from testinfra.modules.file import File

from bakery.smoke.backend import host as make_host
from bakery.smoke.fact_groups import INSTANCES
from bakery.smoke.shell import Reply
from tests.unit.smoke.pipes import FakeShell

SS = """\
State  Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess
LISTEN 0      128          [::]:81            [::]:*
LISTEN 0      128       0.0.0.0:82         0.0.0.0:*
LISTEN 0      128             *:83               *:*
LISTEN 0      128    127.0.0.53%lo:84      0.0.0.0:*
LISTEN 0      128    [::ffff:10.0.2.15]:85    [::]:*
LISTEN 0      128     10.0.2.15:86         0.0.0.0:*
"""
ESTABLISHED = """\
State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process
LISTEN 0      128       0.0.0.0:82         0.0.0.0:*
ESTAB  0      0       127.0.0.1:82       127.0.0.1:40000
ESTAB  0      0    [::ffff:10.0.2.15]:82  [::ffff:10.0.2.2]:40001
"""
TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.2.15
        /32 host LOCAL
     |-- 10.0.2.255
        /32 link BROADCAST
"""
INET6 = "00000000000000000000000000000001 01 80 10 80 lo\nfe80000000000000505400fffe123456 02 40 20 80 eth0\n"
UNITS = "nginx.service enabled enabled\ngetty@.service enabled enabled\n"
ANSWERS = {
    "uname -s": "Linux\n",
    "uname -m": "x86_64\n",
    "cat /etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "command -v command": "command\n",
    "command -v ss": "/usr/bin/ss\n",
    "/usr/bin/ss --numeric --listening --tcp": SS,
    "/usr/bin/ss --numeric --all --tcp": ESTABLISHED,
    "cat /proc/net/fib_trie": TRIE,
    "cat /proc/net/if_inet6": INET6,
    "dpkg --print-architecture": "amd64\n",
    "systemctl list-unit-files --no-legend --no-pager --full": UNITS,
    "systemctl show --property=LoadState run-1.scope": "LoadState=loaded\n",
    "systemctl show --property=LoadState ngin.service": "LoadState=not-found\n",
    "systemctl is-active nginx": "Running in chroot, ignoring command 'is-active'\n",
    "realpath /sbin/init": "/usr/lib/systemd/systemd\n",
    "command -v systemctl": "/usr/bin/systemctl\n",
}
PACKAGES = {
    "libc6": "i386\tinstall ok installed\t2.35\namd64\tinstall ok installed\t2.36\n",
    "bash": "amd64\tinstall ok installed\t5.2\n",
    "old": "all\tdeinstall ok config-files\t1\n",
}


class Machine(FakeShell):
    """Answers commands from a table; what it does not know fails."""

    def __init__(self, *, systemd: bool) -> None:
        super().__init__(self._answer)
        self.systemd = systemd

    def _answer(self, command: str) -> Reply:
        words = shlex.split(command)
        if words[:3] == ["dpkg-query", "-f", INSTANCES]:
            text = PACKAGES.get(words[-1])
        elif command.startswith("for") or "stat -Lc" in command or words[0] == "test":
            is_there = ("/run/systemd/system" in command and self.systemd) or "/sbin/init" in command
            return Reply(0 if is_there else 1, (b"0\n" if is_there else b"1\n") * 7 + b"root 0 root 0 755 1 1 1\n")
        else:
            text = ANSWERS.get(command)
        return Reply(1) if text is None else Reply(0, text.encode())


def host(*, systemd: bool = True, strict: bool = True) -> Any:
    return make_host("machine", Machine(systemd=systemd).shell, strict=strict)


@pytest.mark.parametrize(
    ("spec", "listens"),
    [
        ("tcp://0.0.0.0:81", False),  # a server on IPv6 alone
        ("tcp://:::81", True),
        ("tcp://81", False),
        ("tcp://::1:81", True),
        ("tcp://127.0.0.1:81", False),
        ("tcp://0.0.0.0:82", True),
        ("tcp://127.0.0.1:82", True),
        ("tcp://10.0.2.15:82", True),
        ("tcp://10.9.9.9:82", False),  # not an address of this machine
        ("tcp://10.0.2.255:82", False),
        ("tcp://:::82", False),
        ("tcp://82", False),
        ("tcp://83", True),
        ("tcp://0.0.0.0:83", True),
        ("tcp://fe80::5054:ff:fe12:3456:83", True),
        ("tcp://2001:db8::1:83", False),
        ("tcp://127.0.0.53:84", True),
        ("tcp://127.0.0.1:84", False),
        ("tcp://10.0.2.15:85", True),
        ("tcp://10.0.2.15:86", True),
        ("tcp://0.0.0.0:86", False),
        ("tcp://0.0.0.0:99", False),
    ],
)
def test_an_address_listens_when_a_connection_to_it_would_reach_a_server(spec: str, listens: bool) -> None:
    assert host().socket(spec).is_listening is listens


def test_clients_are_those_of_the_address_that_was_asked_for() -> None:
    assert host().socket("tcp://127.0.0.1:82").clients == [("127.0.0.1", 40000)]
    assert host().socket("tcp://10.0.2.15:82").clients == [("10.0.2.2", 40001)]
    assert len(host().socket("tcp://82").clients) == 2


def test_a_package_for_two_architectures_is_installed_in_the_machines_own_version() -> None:
    assert host().package("libc6").is_installed
    assert host().package("libc6").version == "2.36"
    assert host().package("bash").version == "5.2"


@pytest.mark.parametrize("name", ["old", "never-heard-of"])
def test_what_is_not_installed_has_no_version(name: str) -> None:
    assert not host().package(name).is_installed
    with pytest.raises(AssertionError, match=f"package {name} is not installed"):
        _ = host().package(name).version


def test_no_service_runs_where_systemd_is_installed_and_does_not_run() -> None:
    assert not host(systemd=False).service("nginx").is_running
    assert host(systemd=True).service("nginx").is_running


@pytest.mark.parametrize(
    ("name", "exists"),
    [("nginx", True), ("nginx.service", True), ("ngin", False), ("getty@tty1", True), ("run-1.scope", True)],
)
def test_a_unit_is_known_by_its_whole_name(name: str, exists: bool) -> None:
    assert host().service(name).exists is exists


def test_testinfras_own_answers_are_to_be_had() -> None:
    assert host(strict=False).socket("tcp://0.0.0.0:81").is_listening
    assert not host(strict=False).socket("tcp://127.0.0.1:82").is_listening


def test_other_modules_are_testinfras() -> None:
    assert issubclass(host().file, File)


def test_ansible_needs_to_know_how_the_machine_is_reached() -> None:
    with pytest.raises(RuntimeError, match=r"host\.ansible does not know how this machine is reached"):
        host().ansible("ping")
