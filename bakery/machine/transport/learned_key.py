"""The host key of a machine behind a port that a process of ours holds: learned at the first connection, then pinned.

A virtual machine of this host is reached through a port on loopback that its QEMU holds from its first moment to its
last. What answers there is the machine: nobody can stand in between. So it needs no host key of ours to be known by,
and may boot as a user's machine does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paramiko import MissingHostKeyPolicy, PKey, SSHClient

from bakery.machine.transport.stages import NotReached
from bakery.util.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bakery.model import Endpoint

HOLDER: Final = "holder"
FILE: Final = "learned"
TYPES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Signature algorithms to ask for, the best first: whatever the machine has will do."""


def learning(holder: int, file: Path) -> Mapping[str, Any]:
    """Return the data of an endpoint whose host key is not known yet.

    Args:
        holder: the process of ours that holds the endpoint's port on loopback.
        file: where the key is written once it was seen; nothing is learned where it exists.
    """
    return {HOLDER: holder, FILE: str(file)}


def learned(file: Path) -> str:
    """Return the key that was seen, as in known_hosts; empty where none was."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


@dataclass(frozen=True)
class LearnedKey(MissingHostKeyPolicy):
    """Takes the first key that is seen on a port of ours, writes it down, and takes no other afterwards.

    Args:
        port: the port on loopback.
        holder: the process that must hold it.
        file: where the key is written.
    """

    port: int
    holder: int
    file: Path
    types = TYPES

    @classmethod
    def of(cls, endpoint: Endpoint) -> LearnedKey | None:
        """Return the policy of an endpoint whose driver says that its key may be learned; else None."""
        if endpoint.host_key or HOLDER not in endpoint.data:
            return None
        return cls(endpoint.port, int(endpoint.data[HOLDER]), Path(endpoint.data[FILE]))

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Learn the key, or compare; called by paramiko for each, as it is given no list of known hosts.

        Raises:
            NotReached: somebody else holds the port, or it is another key than before.
        """
        del client
        text = f"{key.get_name()} {key.get_base64()}"
        if not holds(self.holder, self.port):
            raise NotReached("host key", f"{hostname} port {self.port} is not held by process {self.holder} of ours")
        if (known := learned(self.file)) and known != text:
            raise NotReached("host key", f"{hostname} presents another {key.get_name()} than at first")
        if not known:
            write_whole(self.file, f"{text}\n", durable=True)


def holds(process: int, port: int) -> bool:
    """Say whether a process of ours listens on a TCP port of this host."""
    import psutil

    try:
        sockets = psutil.Process(process).net_connections("tcp")
    except psutil.Error:
        return False
    return any(socket.status == psutil.CONN_LISTEN and socket.laddr.port == port for socket in sockets)
