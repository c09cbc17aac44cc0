"""SSH servers on loopback. Each test has its own; nothing of this host's sshd is touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery import Machine
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import SSHD, Server, start_sshd
from tests.live.ssh.accounts import Account, start_account


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Start as many as a test wants; all take the same login key, each has its own host key."""
    if os.geteuid() or not Path(SSHD).exists():
        pytest.skip("needs root and an sshd to start")
    started: list[Server] = []
    user = make_keys("bakery-test")

    def another(name: str) -> Server:
        mine = make_keys("bakery-test")
        keys = replace(mine, user_private=user.user_private, user_public=user.user_public)
        started.append(start_sshd(tmp_path / name, keys))
        return started[-1]

    yield another
    for server in started:
        server.stop()


@pytest.fixture
def server(servers: Callable[[str], Server]) -> Server:
    return servers("machine")


@pytest.fixture
def machine(server: Server) -> Iterator[Machine]:
    built = server.machine()
    yield built
    built._link.close()


@pytest.fixture
def account() -> Iterator[Account]:
    """Start a server with one account: its login shell, its start files, its sshd's configuration."""
    if os.geteuid() or not Path(SSHD).exists():
        pytest.skip("needs root and an sshd to start")
    started: list[Server] = []

    def start(*args: Any, **options: Any) -> Server:
        shell = args[0] if args else "/bin/sh"
        if not Path(shell).exists():
            pytest.skip(f"this host has no {shell}")
        started.append(start_account(open_to_all / f"account{len(started)}", *args, **options))
        return started[-1]

    open_to_all = Path(tempfile.mkdtemp(prefix="bakery-sshd-"))  # pytest's folders are closed to other users
    open_to_all.chmod(0o755)
    yield start
    for server in started:
        server.stop()
    shutil.rmtree(open_to_all)
