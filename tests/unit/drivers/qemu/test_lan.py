"""The private network of virtual machines: frames reach whom they are for, and a slow machine holds up nobody."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from bakery.drivers.qemu import lan
from bakery.drivers.qemu.lan import QUEUE, Switch
from bakery.drivers.qemu.machine_spec import MachineSpec
from bakery.model import Handle, Resource

A, B, C, ALL = b"AAAAAA", b"BBBBBB", b"CCCCCC", b"\xff" * 6


@pytest.fixture
def switch() -> Iterator[Switch]:
    with Switch() as switch:
        yield switch


@pytest.fixture
def ports(switch: Switch) -> Iterator[list[socket.socket]]:
    ports = [switch.plug() for _ in range(3)]
    for port in ports:
        port.settimeout(5)
    yield ports
    for port in ports:
        port.close()


def silent(port: socket.socket) -> bool:
    port.settimeout(0.05)
    try:
        port.recv(1 << 16)
    except TimeoutError:
        return True
    finally:
        port.settimeout(5)
    return False


def test_a_frame_for_everybody_reaches_all_others(ports: list[socket.socket]) -> None:
    a, b, c = ports
    a.send(ALL + A + b"who has?")
    assert b.recv(100) == c.recv(100) == ALL + A + b"who has?"
    assert silent(a)


def test_a_frame_for_a_machine_that_has_spoken_reaches_that_one_alone(ports: list[socket.socket]) -> None:
    a, b, c = ports
    a.send(ALL + A + b"here")
    for other in (b, c):
        other.recv(100)
    b.send(A + B + b"for you")
    assert a.recv(100) == A + B + b"for you"
    assert silent(c)


def test_a_frame_for_nobody_known_reaches_all_others(ports: list[socket.socket]) -> None:
    a, b, c = ports
    a.send(C + A + b"?")
    assert b.recv(100) == c.recv(100) == C + A + b"?"


def test_a_machine_that_is_gone_disturbs_nobody(ports: list[socket.socket]) -> None:
    a, b, c = ports
    c.close()
    for _ in range(3):
        a.send(ALL + A + b"again")
        assert b.recv(100) == ALL + A + b"again"
    b.send(A + B + b"still here")
    assert a.recv(100) == A + B + b"still here"


def test_what_a_slow_machine_does_not_take_waits_in_order_and_then_is_lost(ports: list[socket.socket]) -> None:
    a, b, c = ports
    a.settimeout(30)
    sent = QUEUE + 3000
    for number in range(sent):
        a.send(ALL + A + number.to_bytes(4, "big"))
        c.recv(100)
    got: list[int] = []
    while not silent_or(b, got):
        pass
    assert got == sorted(got)
    assert got[:QUEUE] == [*range(QUEUE)]
    assert len(got) < sent


def silent_or(port: socket.socket, got: list[int]) -> bool:
    """Take one frame's number; True where none comes."""
    port.settimeout(0.2)
    try:
        got.append(int.from_bytes(port.recv(100)[12:], "big"))
    except TimeoutError:
        return True
    return False


class FakeMonitor:
    """QEMU's monitor in memory."""

    asked: list[tuple[str, dict[str, Any]]]

    def __init__(self, folder: Path) -> None:
        del folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def give_file(self, descriptor: int, name: str) -> None:
        with socket.socket(fileno=socket.dup(descriptor)) as copy:
            assert copy.type == socket.SOCK_DGRAM
        self.asked.append(("getfd", {"fdname": name}))

    def ask(self, command: str, **arguments: Any) -> None:
        self.asked.append((command, arguments))


@pytest.mark.parametrize(("machine", "bus"), [("q35", {"bus": "lan-port"}), ("pc", {})])
def test_a_card_is_plugged_into_a_running_machine(
    switch: Switch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, bus: dict[str, str]
) -> None:
    FakeMonitor.asked = []
    monkeypatch.setattr(lan, "Monitor", FakeMonitor)
    resource = Resource(driver="qemu", kind="machine", key="m", run="r", build="b")
    settings = MachineSpec(machine=machine, nic="e1000e").to_json()
    switch.attach(
        Handle(driver="qemu", id="m", resource=resource, folder=tmp_path, settings=settings), "52:54:00:1:2:3"
    )
    assert FakeMonitor.asked == [
        ("getfd", {"fdname": "lan"}),
        ("netdev_add", {"type": "socket", "id": "lan", "fd": "lan"}),
        ("device_add", {"driver": "e1000e", "id": "lan", "netdev": "lan", "mac": "52:54:00:1:2:3", **bus}),
    ]
