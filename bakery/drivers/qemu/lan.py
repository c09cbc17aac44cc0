"""A private network of virtual machines: a switch in this process, and a card that is plugged into each machine.

Frames go over pairs of sockets without a name: nothing else on this host or beyond can reach the network, or listen.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from bakery.drivers.qemu.command import LAN_PORT
from bakery.drivers.qemu.monitor import Monitor
from bakery.model import Handle

CARD: Final = "lan"
LARGEST: Final = 1 << 17
"""Bytes: more than any frame."""
QUEUE: Final = 2048
"""Frames that wait for a machine that is busy; further ones are lost, as on any wire."""
ADDRESS: Final = 6
"""Bytes of a card's address: a frame begins with those of its receiver and its sender."""


class _Port:
    """One machine's end."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self.waiting: deque[bytes] = deque()

    def give(self, frame: bytes) -> None:
        if len(self.waiting) < QUEUE:
            self.waiting.append(frame)
        self.flush()

    def flush(self) -> None:
        """Send what the machine takes; what remains is sent when it takes more."""
        with suppress(BlockingIOError):
            while self.waiting:
                self.socket.send(self.waiting[0])
                self.waiting.popleft()


class Switch:
    """Passes Ethernet frames on to the machine that they are for; to all others where that is not known."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._ports: list[_Port] = []
        self._changing = threading.Lock()
        self._known: dict[bytes, _Port] = {}
        self._thread = threading.Thread(target=self._run, name="bakery-switch", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; whoever is still plugged in hears nothing any more."""
        self._wake.close()
        self._thread.join()
        self._selector.close()
        for port in self._ports:
            port.socket.close()
        self._woken.close()

    def plug(self) -> socket.socket:
        """Return the machine's end of a new port; a datagram is a frame."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        port = _Port(ours)
        with self._changing:
            self._ports = [*self._ports, port]
        self._selector.register(ours, selectors.EVENT_READ, port)
        return theirs

    def attach(self, handle: Handle, mac: str) -> None:
        """Plug a card into a running machine.

        Args:
            handle: the machine.
            mac: the card's address.

        Raises:
            DriverError: QEMU refuses.
            NotYet: QEMU does not answer.
        """
        shape = handle.settings
        bus = {"bus": LAN_PORT} if shape["machine"] == "q35" else {}
        with self.plug() as theirs, Monitor(handle.folder) as monitor:
            monitor.give_file(theirs.fileno(), CARD)
            monitor.ask("netdev_add", type="socket", id=CARD, fd=CARD)
            monitor.ask("device_add", driver=shape["nic"], id=CARD, netdev=CARD, mac=mac, **bus)

    def _run(self) -> None:
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    return
                port: _Port = key.data
                if events & selectors.EVENT_WRITE:
                    port.flush()
                if events & selectors.EVENT_READ:
                    self._pass_on(port)
            for port in self._ports:
                self._listen(port)

    def _listen(self, port: _Port) -> None:
        """Wait for room at a machine only where something waits for it; one that is gone is forgotten."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if port.waiting else 0)
        with suppress(KeyError):  # it was unplugged
            if self._selector.get_key(port.socket).events != wanted:
                self._selector.modify(port.socket, wanted, port)

    def _pass_on(self, port: _Port) -> None:
        try:
            frame = port.socket.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:  # QEMU has ended
            self._unplug(port)
            return
        receiver, sender = frame[:ADDRESS], frame[ADDRESS : 2 * ADDRESS]
        self._known[sender] = port
        known = self._known.get(receiver)
        for other in [known] if known is not None else self._ports:
            if other is not port:
                self._give(other, frame)

    def _give(self, port: _Port, frame: bytes) -> None:
        try:
            port.give(frame)
        except OSError:  # QEMU has ended
            self._unplug(port)

    def _unplug(self, port: _Port) -> None:
        with suppress(KeyError):
            self._selector.unregister(port.socket)
        port.waiting.clear()
        with self._changing:
            self._ports = [other for other in self._ports if other is not port]
        self._known = {mac: other for mac, other in self._known.items() if other is not port}
        port.socket.close()
