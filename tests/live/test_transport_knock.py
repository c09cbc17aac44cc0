"""The wait for an SSH server's first word, against listeners that behave as forwarders and servers do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bakery.errors import DriverError
from bakery.machine.transport import banner as door
from bakery.machine.transport.banner import knock
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint


class Server:
    """Accepts at once, as QEMU does; speaks on the connections that it is told to, after a pause."""

    def __init__(self, speaks_on: dict[int, float]) -> None:
        self.speaks_on = speaks_on
        self.accepted: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(transport="ssh", host="127.0.0.1", port=self.listener.getsockname()[1])

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        for sock in (self.listener, *self.accepted):
            sock.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(sock)
            if (pause := self.speaks_on.get(len(self.accepted))) is not None:
                threading.Timer(pause, self._speak, (sock,)).start()

    def _speak(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # given up meanwhile
            sock.sendall(b"SSH-2.0-x\r\n")


pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "APART", 0.1)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def test_the_connection_that_speaks_is_returned_with_its_first_word_unread(servers: list[Server]) -> None:
    servers.append(Server({1: 0.0}))
    with knock(servers[0].endpoint, 20) as sock:
        assert sock.recv(20) == b"SSH-2.0-x\r\n"
    assert len(servers[0].accepted) == 1


def test_a_server_that_starts_late_is_noticed_on_whichever_connection_reaches_it(servers: list[Server]) -> None:
    servers.append(Server({4: 0.0}))
    with knock(servers[0].endpoint, 20) as sock:
        assert sock.recv(20) == b"SSH-2.0-x\r\n"


def test_few_connections_are_made_however_long_it_takes(servers: list[Server]) -> None:
    servers.append(Server({1: 1.5}))
    with knock(servers[0].endpoint, 20) as sock:
        assert sock.getsockname() == servers[0].accepted[0].getpeername()
    assert len(servers[0].accepted) == door.KEPT


def test_silence_lasts_as_long_as_whoever_watches_allows(servers: list[Server]) -> None:
    servers.append(Server({}))
    asked: list[int] = []

    def watch() -> None:
        asked.append(1)
        if len(asked) == 4:
            raise DriverError("dead")

    with pytest.raises(DriverError, match="dead"):
        knock(servers[0].endpoint, 0.01, watch)


def test_a_server_that_needs_long_for_each_connection_gets_the_time(servers: list[Server]) -> None:
    servers.append(Server(dict.fromkeys(range(1, 100), 0.8)))
    with knock(servers[0].endpoint, 20) as sock:
        assert sock.getsockname() == servers[0].accepted[0].getpeername()


def test_silence_ends_with_the_patience(servers: list[Server]) -> None:
    servers.append(Server({}))
    started = time.monotonic()
    with pytest.raises(NotReached, match="no SSH server answers") as raised:
        knock(servers[0].endpoint, 0.5)
    assert raised.value.stage == "banner"
    assert time.monotonic() - started >= 0.5


def test_a_connection_that_is_closed_is_a_failure_at_once(servers: list[Server]) -> None:
    servers.append(Server({}))
    threading.Timer(0.05, lambda: servers[0].accepted[0].shutdown(socket.SHUT_RDWR)).start()
    with pytest.raises(NotReached, match="no SSH server answers"):
        knock(servers[0].endpoint, 600)


def test_a_port_that_nobody_listens_on_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotReached, match="refused") as raised:
        knock(Endpoint(transport="ssh", host="127.0.0.1", port=port), 5)
    assert raised.value.stage == "port"
