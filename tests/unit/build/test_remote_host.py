"""What `bake test --host` believes, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.build.remote_host import RemoteHost
from bakery.errors import UsageError
from bakery.state.ssh_keys import make_keys


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    path.write_text(make_keys("x").user_private)
    return path


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    path = tmp_path / "known_hosts"
    key = " ".join(make_keys("x").host_public.split()[:2])
    path.write_text(f"web1 {key}\n[web2]:2222 {key}\n")
    return path


@pytest.mark.parametrize(
    ("url", "place"),
    [("ssh://web1", ("root", "web1", 22)), ("ssh://admin@web2:2222", ("admin", "web2", 2222))],
)
def test_a_known_host_is_a_target(url: str, place: tuple[str, str, int], identity: Path, known_hosts: Path) -> None:
    endpoint = RemoteHost.of(url, identity=identity, known_hosts=known_hosts).endpoint
    assert (endpoint.user, endpoint.host, endpoint.port) == place
    assert endpoint.host_key.startswith("ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://web1", "is no ssh://"),
        ("ssh://", "is no ssh://"),
        ("ssh://root:pw@web1", "a password in --host"),
        ("ssh://web3", "ssh-keyscan -p 22 web3"),
        ("ssh://web1:2222", "ssh-keyscan -p 2222 web1"),
    ],
)
def test_anything_else_is_refused_with_a_reason(url: str, words: str, identity: Path, known_hosts: Path) -> None:
    with pytest.raises(UsageError, match=words):
        RemoteHost.of(url, identity=identity, known_hosts=known_hosts)


def test_a_key_is_needed_and_must_be_one(known_hosts: Path) -> None:
    with pytest.raises(UsageError, match="needs --identity"):
        RemoteHost.of("ssh://web1", identity=None, known_hosts=known_hosts)
    with pytest.raises(UsageError, match="the key cannot be used"):
        RemoteHost.of("ssh://web1", identity=known_hosts, known_hosts=known_hosts)
