"""The host key of a machine that makes its own, as a user's machine does: learned at the first connection, then pinned.

A virtual machine of this host is reached through a port on loopback that its QEMU holds from its first moment to its
last. What answers there is the machine: nobody can stand in between.

Elsewhere the machine is given a proof: a text that is made of our login key, and that only our user data hold. Whoever
shows it over the first connection, after we have logged in, is the machine: a login by key is bound to the host key
that was presented, so nobody in between can hand it on (RFC 4252, section 7, and RFC 4253, section 8).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paramiko import MissingHostKeyPolicy, PKey, SSHClient, SSHException

from bakery.machine.transport.learned_key_file import FILE, HOLDER, PROVING, learned
from bakery.machine.transport.stages import NotReached
from bakery.state.ssh_keys import PROOF, proof_of
from bakery.util.files import write_whole

if TYPE_CHECKING:
    from paramiko import Transport as Session

    from bakery.model import Endpoint

_MOST: Final = 4096
_TALK: Final = 30.0
"""Seconds that a machine may take to show its proof."""
TYPES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Signature algorithms to ask for, the best first: whatever the machine has will do."""


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
        if not holds(self.holder, self.port):
            raise NotReached("host key", f"{hostname} port {self.port} is not held by process {self.holder} of ours")
        if not _is_known(self.file, hostname, key):
            write_whole(self.file, f"{_text(key)}\n", durable=True)


@dataclass(frozen=True)
class ProvenKey(MissingHostKeyPolicy):
    """Takes the first key of a machine that then shows its proof, writes it down, and takes no other afterwards.

    Args:
        proof: what the machine must show.
        file: where the key is written.
    """

    proof: str
    file: Path
    types = TYPES

    @classmethod
    def of(cls, endpoint: Endpoint, private_key: str) -> ProvenKey | None:
        """Return the policy of an endpoint whose driver says that it proves what it is; else None."""
        if endpoint.host_key or PROVING not in endpoint.data:
            return None
        return cls(proof_of(private_key), Path(endpoint.data[FILE]))

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Compare with the key that was proven, where one was.

        Raises:
            NotReached: it is another key.
        """
        del client
        _is_known(self.file, hostname, key)

    def prove(self, session: Session) -> None:
        """Have the machine show its proof, and write its key down; once.

        Args:
            session: open, and logged in with our key.

        Raises:
            NotReached: it shows none, or another.
        """
        if learned(self.file):
            return
        shown = _shown(session)
        if not hmac.compare_digest(shown, self.proof.encode()):
            said = f"shows {'another text' if shown else 'nothing'} in {PROOF}"
            raise NotReached("host key", f"whoever answers {said}, and not what cloud-init gave our machine")
        write_whole(self.file, f"{_text(session.get_remote_server_key())}\n", durable=True)


def _is_known(file: Path, hostname: str, key: PKey) -> bool:
    """Say whether a key was seen before.

    Raises:
        NotReached: another one was.
    """
    if (known := learned(file)) and known != _text(key):
        raise NotReached("host key", f"{hostname} presents another {key.get_name()} than at first")
    return bool(known)


def _text(key: PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def _shown(session: Session) -> bytes:
    """Return the text that a machine shows as its proof; bounded, as whoever answers may be anybody."""
    try:
        channel = session.open_session(timeout=_TALK)
        channel.settimeout(_TALK)
        channel.exec_command(f"cat {PROOF}")
        shown = b""
        while len(shown) < _MOST and (more := channel.recv(_MOST)):
            shown += more
        channel.close()
    except (SSHException, OSError, EOFError) as error:
        raise NotReached("banner", f"the machine hung up before it showed its proof: {error}") from error
    return shown.strip()


def holds(process: int, port: int) -> bool:
    """Say whether a process of ours listens on a TCP port of this host."""
    import psutil

    try:
        sockets = psutil.Process(process).net_connections("tcp")
    except psutil.Error:
        return False
    return any(socket.status == psutil.CONN_LISTEN and socket.laddr.port == port for socket in sockets)
