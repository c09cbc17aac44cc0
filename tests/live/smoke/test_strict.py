"""Real servers in a network namespace, asked about through real ss(8)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from bakery.machine.transport.frame import Frame
from bakery.machine.transport.namespace import ENVIRONMENT, ShellProcess
from bakery.smoke.backend import host as make_host
from bakery.smoke.shell import Shell
from bakery.util.waiting import Cancel

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ss") is None, reason="needs root, and ss"),
]

SERVERS = """
import socket, time
def serve(family, address, port, only=None, device=b""):
    server = socket.socket(family, socket.SOCK_STREAM)
    if only is not None:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    if device:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    server.bind((address, port))
    server.listen()
    return server
six, four = socket.AF_INET6, socket.AF_INET
kept = [
    serve(six, "::", 81, 1),
    serve(four, "0.0.0.0", 82),
    serve(six, "::", 83, 0),
    serve(four, "127.0.0.53", 84, device=b"lo"),
    serve(six, "::ffff:10.7.0.1", 85, 0),
]
kept.append(socket.create_connection(("127.0.0.1", 82)))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    told = tmp_path_factory.mktemp("servers") / "told"
    frame = Frame("shell")
    words = ["unshare", "--net", "--fork", "--kill-child", *frame.words()]
    pipes = ShellProcess(words, frame, dict(ENVIRONMENT))
    pipes.begin(20, Cancel())
    shell = Shell(lambda: pipes)
    shell.ask("ip link set lo up && ip address add 10.7.0.1/24 dev lo", timeout=10)
    servers = f"python3 - <<'end' >{told} &\n{SERVERS}\nend\n"
    shell.feed(f"{servers}while ! grep -q ready {told}; do sleep 0.1; done")
    yield make_host("namespace", shell)
    shell.close()


@pytest.mark.parametrize(
    ("spec", "listens"),
    [
        ("tcp://0.0.0.0:81", False),
        ("tcp://:::81", True),
        ("tcp://::1:81", True),
        ("tcp://127.0.0.1:82", True),
        ("tcp://10.7.0.1:82", True),
        ("tcp://10.7.0.2:82", False),
        ("tcp://:::82", False),
        ("tcp://83", True),
        ("tcp://0.0.0.0:83", True),
        ("tcp://127.0.0.53:84", True),
        ("tcp://10.7.0.1:85", True),
    ],
)
def test_who_listens_is_told_of_real_sockets(host: Any, spec: str, listens: bool) -> None:
    assert host.socket(spec).is_listening is listens


def test_a_client_is_told_at_the_address_that_it_came_to(host: Any) -> None:
    (client,) = host.socket("tcp://127.0.0.1:82").clients
    assert client[0] == "127.0.0.1"
    assert host.socket("tcp://10.7.0.1:82").clients == []
