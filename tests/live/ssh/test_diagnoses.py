"""What we say of an sshd, held against an sshd that is so."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bakery.errors import CommandFailed, ConnectError, TaskError
from bakery.machine.transport import link as links
from bakery.smoke.connect import connect
from bakery.smoke.shell import CommandTimeoutError, Shell
from tests.live.ssh.accounts import Account

NAP = f"{os.getpid()}.47"
"""Seconds that nothing else of this host sleeps."""
pytestmark = pytest.mark.live

NOTHING_IN_COMMON = {
    "KexAlgorithms sntrup761x25519-sha512@openssh.com": [
        "no key exchange",
        "sntrup761x25519-sha512",
        "curve25519-sha256",
    ],
    "Ciphers chacha20-poly1305@openssh.com": ["no cipher", "chacha20-poly1305", "aes128-gcm@openssh.com"],
    "Ciphers aes256-ctr\nMACs umac-128-etm@openssh.com": ["no MAC", "umac-128-etm", "hmac-sha2-256"],
}
HARDENED = """
KexAlgorithms curve25519-sha256
Ciphers aes256-gcm@openssh.com
MACs umac-128-etm@openssh.com
"""


@pytest.mark.parametrize("settings", NOTHING_IN_COMMON)
def test_algorithms_without_anything_in_common_are_named(
    account: Account, settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "AGREED", 0.5)
    server = account("/bin/sh", settings=settings)
    started = time.monotonic()
    with pytest.raises(ConnectError, match="no algorithm in common") as raised:
        server.machine().run("true")
    assert [word for word in NOTHING_IN_COMMON[settings] if word not in str(raised.value)] == [], raised.value
    assert "interception" not in str(raised.value)
    assert time.monotonic() - started < 10
    with pytest.raises(ConnectError, match="algorithms"):
        connect(server.endpoint, server.keys)


def test_a_server_without_a_host_key_that_it_may_show_is_not_said_to_be_absent(account: Account) -> None:
    server = account("/bin/sh", settings="HostKeyAlgorithms rsa-sha2-512")  # and its only key is ed25519
    with pytest.raises(ConnectError, match=r"hangs up before any key is exchanged \(SSH-2.0-") as raised:
        server.link(timeout=2).open()
    assert "HostKeyAlgorithms" in raised.value.hint


def test_a_hardened_sshd_does(account: Account) -> None:
    machine = account("/bin/sh", settings=HARDENED).machine()
    assert machine.run("cat", input="x" * 100_000, hide=True).stdout == "x" * 100_000


def test_one_session_at_a_time_does(account: Account, tmp_path: Path) -> None:
    server = account("/bin/bash", settings="MaxSessions 1")
    machine = server.machine()
    for number in range(20):
        assert machine.run(f"echo {number}").stdout == f"{number}\n"
    with pytest.raises(CommandFailed, match="timeout"):
        machine.run(f"echo begun; sleep {NAP}1", timeout=0.5, hide=True)
    assert machine.run(f"pgrep -f '[s]leep {NAP}1'", warn=True).failed
    machine.write(tmp_path / "file", "text")
    way = connect(server.endpoint, server.keys)
    tests = Shell(way.open_shell)
    assert tests.ask("(sleep 0.2; echo late) & echo one", timeout=20)[0].stdout == b"one\n"
    assert tests.ask("echo two", timeout=20)[0].stdout == b"two\n"
    with pytest.raises(CommandTimeoutError):
        tests.ask(f"sleep {NAP}2", timeout=0.5)
    assert tests.ask(f"pgrep -f '[s]leep {NAP}2'", timeout=20)[0].exited == 1
    tests.close()
    way.close()


@pytest.mark.parametrize("settings", ["PubkeyAuthentication no", "AuthenticationMethods publickey,password"])
def test_an_sshd_that_takes_no_key_alone_is_named(account: Account, settings: str) -> None:
    server = account("/bin/sh", settings=f"{settings}\nPasswordAuthentication yes")
    with pytest.raises(ConnectError, match="takes no key, or not a key alone") as raised:
        server.link(timeout=2).open()
    assert settings.split(maxsplit=1)[0] in raised.value.hint


def test_no_session_at_all_is_named(account: Account) -> None:
    server = account("/bin/sh", settings="MaxSessions 0")
    with pytest.raises(ConnectError, match="MaxSessions"):
        server.link(timeout=3).open()


@pytest.mark.parametrize(
    ("sudoers", "words"),
    [
        ("Defaults requiretty\nbuilder ALL=(ALL) NOPASSWD: ALL", ["tty", "!requiretty"]),
        ("builder ALL=(ALL) ALL", ["password is required", "NOPASSWD"]),
        ("Defaults env_reset", ["NOPASSWD"]),
    ],
)
def test_a_sudo_that_refuses_is_explained(account: Account, sudoers: str, words: list[str]) -> None:
    server = account("/bin/bash", user="builder", sudoers=sudoers)
    with pytest.raises(TaskError) as raised:
        server.machine().run("id", warn=True)
    assert [word for word in words if word not in str(raised.value)] == [], raised.value
    way = connect(server.endpoint, server.keys)
    with pytest.raises(ConnectError, match="root cannot be become") as refused:
        Shell(way.open_shell).ask("id")
    assert [word for word in words if word not in str(refused.value)] == [], refused.value
    way.close()
