"""Waiting for an SSH server's first word, over pairs of sockets: which connection is taken, and what ends the wait."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from bakery.errors import DriverError
from bakery.machine.transport import banner
from bakery.machine.transport.banner import APART, HOLD, KEPT, knock
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint

HOST = Endpoint(host="10.0.0.1", port=2222)


@dataclass
class Server:
    """The machine's side of all connections, and the time that passes while we wait for its word."""

    theirs: list[socket.socket] = field(default_factory=list[socket.socket])
    ours: list[socket.socket] = field(default_factory=list[socket.socket])
    refuses: list[OSError] = field(default_factory=list[OSError])
    now: float = 1000.0
    waits: list[float] = field(default_factory=list[float])
    at: dict[int, Callable[[], object]] = field(default_factory=dict[int, Callable[[], object]])
    """What happens while it is waited for the n-th time, from 1 on."""

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        """Stand in for `socket.create_connection`."""
        assert address == ("10.0.0.1", 2222)
        assert timeout > 0
        if self.refuses:
            raise self.refuses.pop(0)
        ours, theirs = socket.socketpair()
        self.ours.append(ours)
        self.theirs.append(theirs)
        return ours

    def poll(self) -> object:
        """Stand in for `select.poll`: nobody sleeps."""
        real, server = select.epoll(), self

        def wait(milliseconds: float) -> list[tuple[int, int]]:
            server.waits.append(milliseconds / 1000)
            server.at.get(len(server.waits), lambda: None)()
            told = real.poll(0)
            server.now += 0.0 if told else milliseconds / 1000
            real.close()
            return told

        return SimpleNamespace(register=lambda number, _: real.register(number, select.EPOLLIN), poll=wait)

    def says(self, number: int) -> Callable[[], object]:
        """Say the first word on a connection."""
        return lambda: self.theirs[number].send(b"SSH-2.0-x\r\n")

    def closes(self, number: int) -> Callable[[], object]:
        """Close a connection."""

        def close() -> None:
            self.theirs[number].close()

        return close


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    monkeypatch.setattr(socket, "create_connection", made.connect)
    monkeypatch.setattr(banner, "select", SimpleNamespace(poll=made.poll, POLLIN=select.POLLIN))
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    yield made
    for sock in (*made.ours, *made.theirs):
        sock.close()


def is_open(sock: socket.socket) -> bool:
    return sock.fileno() >= 0


def test_a_server_that_speaks_at_once_is_connected_to_once_and_nothing_of_its_word_is_lost(server: Server) -> None:
    server.at[1] = server.says(0)
    sock = knock(HOST, patience=5)
    assert sock.recv(100) == b"SSH-2.0-x\r\n"
    assert len(server.ours) == 1


def test_a_silent_one_is_given_up_when_the_patience_is_over(server: Server) -> None:
    with pytest.raises(NotReached, match=r"banner: 10.0.0.1 port 2222: no SSH server answers"):
        knock(HOST, patience=1.0)
    assert (server.now, len(server.ours)) == (1001.0, 1)
    assert not any(map(is_open, server.ours))


def test_while_somebody_watches_a_few_connections_wait_each_a_little_later_than_the_one_before(server: Server) -> None:
    watched: list[float] = []
    with pytest.raises(NotReached):
        knock(HOST, patience=5, watch=lambda: watched.append(server.now))
    assert len(server.ours) == KEPT
    assert server.now == pytest.approx(1000 + HOLD)
    assert max(server.waits) <= APART
    assert len(watched) == len(server.waits)
    assert not any(map(is_open, server.ours))


def test_the_first_that_is_answered_is_kept_and_the_others_are_closed(server: Server) -> None:
    server.at[3] = server.says(1)
    sock = knock(HOST, patience=5, watch=lambda: None)
    assert sock is server.ours[1]
    assert [is_open(each) for each in server.ours] == [False, True, False]


def test_a_machine_that_closes_a_connection_is_there_and_its_server_is_not(server: Server) -> None:
    server.at[2] = server.closes(0)
    with pytest.raises(NotReached) as raised:
        knock(HOST, patience=5, watch=lambda: None)
    assert raised.value.stage == "banner"
    assert len(server.waits) == 2  # it is not waited for any longer
    assert not any(map(is_open, server.ours))


def test_what_the_watcher_raises_ends_the_wait(server: Server) -> None:
    def dead() -> None:
        raise DriverError("the machine is gone")

    with pytest.raises(DriverError, match="the machine is gone"):
        knock(HOST, patience=5, watch=dead)
    assert not any(map(is_open, server.ours))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "timed out"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("odd"), "odd"),
    ],
)
def test_a_port_that_nobody_listens_on_is_told_with_the_reason(server: Server, error: OSError, reason: str) -> None:
    server.refuses.append(error)
    with pytest.raises(NotReached) as raised:
        knock(HOST, patience=5)
    assert (raised.value.stage, raised.value.reason) == ("port", f"10.0.0.1 port 2222: {reason}")


def test_a_port_that_closes_while_we_wait_closes_what_was_open(server: Server) -> None:
    server.at[1] = lambda: server.refuses.append(ConnectionRefusedError(111, "Connection refused"))
    with pytest.raises(NotReached, match="port: "):
        knock(HOST, patience=5, watch=lambda: None)
    assert not any(map(is_open, server.ours))
