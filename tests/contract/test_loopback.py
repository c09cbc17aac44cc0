"""A port of this host that leads to a UNIX socket: for this user's programs alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.util.loopback import forwarding

KNOCK = """
import os, socket, sys
os.setuid(65534)
with socket.socket() as s:
    s.settimeout(10)
    s.connect(("127.0.0.1", int(sys.argv[1])))
    try:
        print("got", s.recv(100))
    except ConnectionError:
        print("got", b"")
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Path]:
    """Says who it is, and repeats what it hears."""
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"RFB")
                    client.sendall(client.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_bytes_go_both_ways_and_the_port_ends_with_the_block(machine: Path) -> None:
    refused: list[str] = []
    with forwarding(str(machine), 0, refused.append) as port:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as viewer:
                assert viewer.recv(3) == b"RFB"
                viewer.sendall(b"hello")
                assert viewer.recv(5) == b"hello"
                assert viewer.recv(5) == b""
    assert refused == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_s_program_is_not_let_in(machine: Path) -> None:
    refused: list[str] = []
    with forwarding(str(machine), 0, refused.append) as port:
        words = [sys.executable, "-c", KNOCK, str(port)]
        told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.stdout == "got b''\n", told.stderr
    assert refused == ["a connection of user 65534"]


def test_a_machine_that_is_gone_is_said(tmp_path: Path) -> None:
    refused: list[str] = []
    with (
        forwarding(str(tmp_path / "none"), 0, refused.append) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as viewer,
    ):
        assert viewer.recv(3) == b""
    assert refused == ["the machine's screen: No such file or directory"]
