"""SSH servers on loopback. Each test has its own; nothing of this host's sshd is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bakery import Machine
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import SSHD, Server, start_sshd


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
