"""A host key that is learned on a port of ours, and on no other."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from paramiko import Ed25519Key, PKey, SSHClient

from bakery.machine.transport import learned_key
from bakery.machine.transport.learned_key import LearnedKey
from bakery.machine.transport.learned_key_file import learned, learning
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint
from bakery.state.ssh_keys import make_keys


def key() -> PKey:
    return Ed25519Key.from_private_key(io.StringIO(make_keys("test").host_private))


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LearnedKey:
    monkeypatch.setattr(learned_key, "holds", lambda process, port: (process, port) == (11, 2222))
    found = LearnedKey.of(Endpoint(port=2222, data=learning(11, tmp_path / "host_key")))
    assert found is not None
    return found


def test_the_first_key_is_learned_and_no_other_is_taken_afterwards(policy: LearnedKey) -> None:
    first = key()
    for _ in range(2):
        policy.missing_host_key(SSHClient(), "127.0.0.1", first)
    assert learned(policy.file) == f"ssh-ed25519 {first.get_base64()}"
    with pytest.raises(NotReached, match="another ssh-ed25519 than at first"):
        policy.missing_host_key(SSHClient(), "127.0.0.1", key())


def test_nothing_is_learned_from_whoever_else_holds_the_port(policy: LearnedKey) -> None:
    stranger = LearnedKey(policy.port, 12, policy.file)
    with pytest.raises(NotReached, match="not held by process 12"):
        stranger.missing_host_key(SSHClient(), "127.0.0.1", key())
    assert learned(policy.file) == ""


@pytest.mark.parametrize(
    "endpoint",
    [Endpoint(), Endpoint(host_key="ssh-ed25519 AAAA", data=learning(11, Path("host_key")))],
    ids=["an endpoint of another driver", "a key that is known"],
)
def test_a_key_is_learned_only_where_the_driver_says_so_and_none_is_known(endpoint: Endpoint) -> None:
    assert LearnedKey.of(endpoint) is None


def test_who_holds_a_port_is_asked_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, pid: int) -> None:
            if pid == 0:
                raise psutil.NoSuchProcess(pid)

        def net_connections(self, kind: str) -> list[object]:
            assert kind == "tcp"
            return [SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(port=2222))]

    monkeypatch.setattr(psutil, "Process", Process)
    assert learned_key.holds(11, 2222)
    assert not learned_key.holds(11, 2223)
    assert not learned_key.holds(0, 2222)
