"""Opening an SSH connection: pinned host key, our key alone, and an error that says how far it got.

Nothing outside the endpoint decides how it is done: no `~/.ssh`, no agent, no configuration file of OpenSSH or Fabric.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from paramiko import Ed25519Key, Message, MissingHostKeyPolicy, PKey, RejectPolicy, SSHClient
from paramiko import Transport as Session
from paramiko.config import SSHConfig
from paramiko.ssh_exception import AuthenticationException, ChannelException, IncompatiblePeer, SSHException

from bakery.errors import ConnectError
from bakery.machine.transport import private_key as private_keys
from bakery.machine.transport.banner import knock
from bakery.machine.transport.learned_key import LearnedKey, ProvenKey
from bakery.machine.transport.stages import AGENT, HANGS_UP, NotReached, Stage
from bakery.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fabric import Connection

CURVE: Final = "curve25519-sha256"
"""The name of RFC 8731 for what paramiko knows by its older one alone."""
KEX_METHODS: Final[Mapping[str, Any]] = {
    **Session._kex_info,  # type: ignore[attr-defined]  # noqa: SLF001
    CURVE: Session._kex_info[f"{CURVE}@libssh.org"],  # type: ignore[attr-defined]  # noqa: SLF001
}
KEX: Final = (CURVE, *Session._preferred_kex)  # type: ignore[attr-defined]  # noqa: SLF001
# AES-GCM first: encryption and checksum in one call of OpenSSL, which gives the speed of scp from Python.
CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS: Final[tuple[str, ...]] = Session._preferred_macs  # type: ignore[attr-defined]  # noqa: SLF001
MAC_METHODS: Final[Mapping[str, Any]] = Session._mac_info  # type: ignore[attr-defined]  # noqa: SLF001
AEAD: Final = frozenset(CIPHERS[:2])
LOG: Final = "bakery.ssh"
TALK: Final = 30.0
"""Seconds for each stage once a server speaks. It is there, if slow: to leave it and ask again would make it slower,
and it holds each departure before the login against us.
"""

# Without a handler Python prints paramiko's tracebacks of refused connections to standard error; they are reported
# by `NotReached` here, and remain available to whoever configures logging.
logging.getLogger(LOG).addHandler(logging.NullHandler())


@dataclass(frozen=True)
class HostKeys(MissingHostKeyPolicy):
    """Accepts exactly the keys of an endpoint.

    Args:
        accepted: as in known_hosts, `(type, base64)`.
    """

    accepted: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, endpoint: Endpoint) -> HostKeys:
        """Read the endpoint's pinned keys, one a line.

        Raises:
            ConnectError: there is none.
        """
        lines = (line.split() for line in endpoint.host_key.splitlines())
        accepted = tuple((words[0], words[1]) for words in lines if len(words) > 1)
        if not accepted:
            raise ConnectError(
                f"the host key of {endpoint.host} is not known",
                why="the driver did not say which key the machine must present, and keys are never taken on trust",
            )
        return cls(accepted)

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Compare; called by paramiko for each key, as it is given no list of known hosts.

        Raises:
            NotReached: it is another key.
        """
        del client
        if (key.get_name(), key.get_base64()) not in self.accepted:
            wanted = " or ".join(fingerprint(text) for _, text in self.accepted)
            seen = fingerprint(key.get_base64())
            raise NotReached("host key", f"{hostname} presented {key.get_name()} {seen}, wanted {wanted}")

    @property
    def types(self) -> tuple[str, ...]:
        """The signature algorithms to ask for, so that the machine presents the key that we know."""
        rsa = ("rsa-sha2-512", "rsa-sha2-256")
        return tuple(
            dict.fromkeys(kind for name, _ in self.accepted for kind in (rsa if name == "ssh-rsa" else (name,)))
        )


def fingerprint(text: str) -> str:
    """Return a key's fingerprint as OpenSSH prints it: `SHA256:...`."""
    digest = hashlib.sha256(base64.b64decode(text)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def connect(
    endpoint: Endpoint, private_key: str, timeout: float, watch: Callable[[], object] | None = None
) -> Connection:
    """Open a connection through the endpoint's gateways.

    Args:
        endpoint: where to, with the pinned key.
        private_key: ed25519 in OpenSSH's text form.
        timeout: seconds for this one attempt until the server speaks; the stages after that have `TALK` each.
        watch: called while whoever accepted the connection is silent, which may then last longer; see `knock`.

    Raises:
        NotReached: with the stage that failed. Asking again may help.
        ConnectError: the endpoint has no host key.
    """
    import fabric

    policy = LearnedKey.of(endpoint) or ProvenKey.of(endpoint, private_key) or HostKeys.of(endpoint)
    gateway = connect(endpoint.gateway, private_key, timeout) if endpoint.gateway else None
    talk = max(TALK, timeout) if gateway is None else timeout  # beyond a gateway we see no server's first word
    options: dict[str, Any] = {
        **_login(endpoint, private_key),
        "look_for_keys": False,
        "banner_timeout": talk,
        "auth_timeout": talk,
        "channel_timeout": talk,
        "compress": False,
        "transport_factory": _factory(policy.types),
    }
    try:
        if gateway is None:
            options["sock"] = knock(endpoint, timeout, watch)
        # An explicit, empty ssh_config and lazy=True: neither OpenSSH's nor Fabric's files are looked at.
        config = fabric.Config(ssh_config=SSHConfig(), lazy=True)
        connection = fabric.Connection(
            endpoint.host,
            user=endpoint.user,
            port=endpoint.port,
            gateway=gateway,
            config=config,
            forward_agent=False,
            connect_timeout=talk,
            connect_kwargs=options,
        )
        client_of(connection).set_missing_host_key_policy(policy)
        _open(connection)
        if isinstance(policy, ProvenKey):
            _proven(connection, policy)
    except BaseException:
        if gateway is not None:
            gateway.close()
        raise
    client_of(connection).set_missing_host_key_policy(RejectPolicy())
    return connection


def _proven(connection: Connection, policy: ProvenKey) -> None:
    """See that it is the machine to which we are connected, before anything else is said to it."""
    try:
        policy.prove(session_of(connection))
    except BaseException:
        _abandon(connection)
        raise


def _login(endpoint: Endpoint, own: str) -> dict[str, Any]:
    """Return what to log in with: the one key that we know of, unless the endpoint says otherwise."""
    if endpoint.key == AGENT:
        return {"allow_agent": True}
    if not endpoint.key:
        return {"allow_agent": False, "pkey": Ed25519Key.from_private_key(io.StringIO(own))}
    return {"allow_agent": False, "pkey": private_keys.load(Path(endpoint.key).expanduser())}


def client_of(connection: Connection) -> SSHClient:
    """Return paramiko's client, which a Fabric connection has from the start; Fabric carries no types."""
    return cast("SSHClient", connection.client)


def session_of(connection: Connection) -> Session:
    """Return paramiko's transport, which an open Fabric connection has."""
    return cast("Session", connection.transport)


def remarks_of(session: Session) -> str:
    """Return what sshd said about the options of the key that we logged in with: `FILE:1: key options: command`.

    It says so in a debug message (sshd's auth.c, `auth_log_authopts`); empty where it does not.
    """
    remarks: list[str] = getattr(session, "remarks", [])
    return next((text for text in remarks if "key options:" in text and " command" in text), "")


def _open(connection: Connection) -> None:
    """Handshake and log in, and translate what can go wrong."""
    name = f"{connection.host} port {connection.port}"
    try:
        connection.open()
    except NotReached:
        _abandon(connection)
        raise
    except AuthenticationException as error:
        _abandon(connection)
        reason = f"{name} refused our key for {connection.user} ({error})"
        raise NotReached("authentication", reason) from error
    except ChannelException as error:
        _abandon(connection)
        raise NotReached("port", f"{name}, seen from the bastion: {error.text}") from error
    except IncompatiblePeer as error:
        stage, reason = _incompatible(error, getattr(client_of(connection).get_transport(), "offer", ()))
        _abandon(connection)
        raise NotReached(stage, f"{name} {reason}") from error
    except (SSHException, EOFError, OSError) as error:
        server = getattr(client_of(connection).get_transport(), "remote_version", "")
        _abandon(connection)
        said = str(error).partition("[Errno")[0].strip() or "the connection was closed"
        if "banner" in said or isinstance(error, EOFError | ConnectionError):
            said = f"{HANGS_UP} ({server})" if server else "no SSH server answers"
        raise NotReached("banner", f"{name}: {said}") from error


def _incompatible(error: IncompatiblePeer, offer: Sequence[Sequence[str]]) -> tuple[Stage, str]:
    """Say which algorithms have nothing in common, and what each side has.

    Args:
        error: paramiko's, which names the kind.
        offer: what the server offers: key exchange, host keys, ciphers, the same back, MACs.
    """
    text = str(error)
    kinds = {"kex": ("key exchange", 0, KEX), "cipher": ("cipher", 2, CIPHERS), "mac": ("MAC", 4, MACS)}
    for word, (kind, index, ours) in kinds.items():
        if f"no acceptable {word}" in text:
            theirs = ", ".join(offer[index]) if len(offer) > index else "something else"
            return "algorithms", f"has no {kind} that this host knows: it has {theirs}; known are {', '.join(ours)}"
    if "host key" in text:
        types = ", ".join(offer[1]) if len(offer) > 1 else "others"
        return "host key", f"has no key of the wanted type; it has {types}"
    return "algorithms", f"speaks another SSH ({text})"


def _abandon(connection: Connection) -> None:
    """Close what a failed attempt left open, paramiko's thread included."""
    client = client_of(connection)
    session = client.get_transport()
    with contextlib.suppress(SSHException, EOFError, OSError):  # it is broken already
        client.close()
    if session is not None:
        session.join(timeout=1.0)


def _factory(key_types: Sequence[str]) -> type[Session]:
    """Return paramiko's transport with our choice of algorithms."""

    class Tuned(Session):
        _preferred_kex = KEX
        _preferred_ciphers = CIPHERS
        _kex_info = KEX_METHODS
        _preferred_keys = tuple(key_types)

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.set_log_channel(LOG)
            self.remarks: list[str] = []
            self.offer: list[list[str]] = []

        def _parse_kex_init(self, message: Any) -> None:
            offer = Message(message.get_remainder())
            offer.get_bytes(16)  # a cookie
            self.offer = [offer.get_list() for _ in range(6)]
            self._take_any_mac_beside_gcm()
            super()._parse_kex_init(message)  # type: ignore[misc]  # its stubs leave it out

        def _take_any_mac_beside_gcm(self) -> None:
            """Agree on whatever MAC the server names: GCM needs none, and paramiko insists on one all the same."""
            if any(AEAD.isdisjoint(names) for names in self.offer[2:4]):
                return
            names = [name for name in (*self.offer[4], *self.offer[5]) if name not in MACS]
            self._preferred_macs = (*MACS, *names)
            self._mac_info = {**MAC_METHODS, **dict.fromkeys(names, MAC_METHODS["hmac-sha2-256"])}

        def _parse_debug(self, message: Any) -> None:
            message.get_boolean()  # whether to show it always
            self.remarks.append(message.get_text())

    return Tuned
