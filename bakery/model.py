"""The nouns that all parts share: frozen data, no behaviour that does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, TypeAlias

from bakery.model_json import Json as Json  # noqa: PLC0414  public by this name
from bakery.model_json import from_json as from_json  # noqa: PLC0414  public by this name
from bakery.model_json import to_json as to_json  # noqa: PLC0414  public by this name

Stream: TypeAlias = Literal["stdout", "stderr"]
Verdict: TypeAlias = Literal["", "passed", "failed", "untested"]
"""What the last smoke tests said of an image; empty where nobody wrote it down."""
EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an image starts and where it is built. Drivers subclass it; users return one from `@bakery.source`.

    Args:
        base: what the machine boots first: a base (`Debian(...)`), an `@bakery.image` function, an `Artifact`,
            or whatever else the driver understands.
    """

    driver: ClassVar[str] = ""
    publishes: ClassVar[bool] = False
    """True for a source that takes an image made here to a provider; no task runs there."""
    takes_login: ClassVar[bool] = False
    """Whether its finished images can be tested through `@bakery.image(login=...)`."""
    takes_nodes: ClassVar[bool] = False
    """Whether its finished images can be tested beside others, on one network: `@bakery.image(nodes=[...])`."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Names of the drivers whose images such a source can read."""
    base: Any

    def on(self, base: Any) -> Self:
        """Return the same source with another base."""
        return replace(self, base=base)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A finished image.

    Args:
        driver: name of the driver that can boot it.
        id: what the provider calls it: a path for local files, an AMI id, a Glance id.
        name: the image's name.
        format: `qcow2`, `raw`, `ami`, `glance`, ...
        size: bytes it takes where it is stored; None where the provider does not say.
        sha256: hexadecimal digest of the file; empty for images that are not files.
        settings: JSON data that the driver needs to launch it again (memory, firmware, region, ...).
        data: JSON data for the user: snapshots, regions, copies.
        key: content key of the last step that made it.
        build: the build that made it, `web[release=bookworm]@laptop`.
        created: when it was captured, with a time zone.
        verdict: what the last smoke tests said of it: `passed`, `failed`, or `untested` where none ran (`--no-test`).
    """

    driver: str
    id: str
    name: str
    format: str = ""
    size: int | None = None
    sha256: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key: str = ""
    build: str = ""
    created: datetime | None = None
    verdict: Verdict = ""

    @property
    def path(self) -> Path:
        """The image's file. Only local images have one.

        Raises:
            AttributeError: for an image that lives at a provider.
        """
        if not self.id.startswith("/"):
            raise AttributeError(f"the image {self.id} is not a local file")
        return Path(self.id)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Artifact:
        """Read what `to_json` wrote."""
        return from_json(cls, data)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One thing that a driver made, or is about to make. The journal's noun: enough to destroy it from.

    Args:
        driver: name of the driver.
        kind: the driver's word for it: `process`, `file`, `instance`, `image`, `keypair`, ...
        key: the name that we chose before making it (client token, tag, file path): it finds the thing when the
            answer that carried `id` was lost.
        id: what the provider calls it; None between intent and answer.
        run: the run that made it.
        build: the build that made it.
        data: JSON data that `destroy` needs besides (region, pid, start time).
    """

    driver: str
    kind: str
    key: str
    id: str | None = None
    run: str = ""
    build: str = ""
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        """`qemu process 4711`."""
        return f"{self.driver} {self.kind} {self.id or self.key}"


@dataclass(frozen=True, kw_only=True)
class Handle:
    """A running machine, as its driver knows it.

    Args:
        driver: name of the driver.
        id: the provider's name for the machine.
        resource: the machine's own record in the journal.
        folder: the machine's folder on this host: consoles, sockets, overlays.
        settings: JSON data; copied into the artifact so that it can be launched again.
        data: JSON data that the driver's other verbs need.
    """

    driver: str
    id: str
    resource: Resource
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """How to reach a machine.

    Args:
        transport: `ssh`; `namespace`: a container here, led by process `data["pid"]`; or a driver's `module:function`.
        host: address or name.
        port: TCP port.
        user: login user; root where it is not said.
        host_key: the key that the machine must present, as in known_hosts (`ssh-ed25519 AAAA...`). Never guessed:
            a driver that cannot know it raises.
        key: what to log in with: the file of a private key without a passphrase, or `agent` for the keys of the SSH
            agent. Empty is the key that the machine was given; a bastion was given none, so it needs one here.
        gateway: a bastion to go through, reached in the same way.
        data: JSON data for the transport; its passwords are in `credentials`, shown and written nowhere.
    """

    transport: str = "ssh"
    host: str = "127.0.0.1"
    port: int = 22
    user: str = "root"
    host_key: str = ""
    key: str = ""
    gateway: Endpoint | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    credentials: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, metadata={"json": False})


@dataclass(frozen=True, kw_only=True)
class Login:
    """How the smoke tests get into a machine of the finished image, where root is not let in on port 22.

    Args:
        user: an account of the image; the source's user where it is not said. It becomes root by sudo without a
            password: the tests' machine is given a rule for that together with the key. With a key of the image's own,
            the image must have the rule.
        port: where the image's sshd listens.
        key: the file of a private key that the image accepts for that user, without a passphrase, or `agent`. Empty:
            the tests' machine is given a key of its own.
        home: that user's home, where its key is put; `/home/USER` where it is not said.
    """

    user: str = ""
    port: int = 22
    key: str = ""
    home: str = ""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that pre-flight found.

    Args:
        what: one sentence.
        why: the cause, or the other side's words.
        hint: what to do.
        fatal: False for a warning that does not stop the build.
    """

    what: str
    why: str = ""
    hint: str = ""
    fatal: bool = True


@dataclass(frozen=True, kw_only=True)
class Where:
    """What `Driver.find` looks for among the things that carry our tags.

    Args:
        run: only this run's.
        older_than: only those whose run began this many seconds ago or more.
        settings: JSON data that a driver needs to look (region, profile, cloud), from `bake gc --set NAME=VALUE`.
    """

    run: str | None = None
    older_than: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a machine takes from this host while it runs, for the scheduler. Zero for machines in a cloud.

    Args:
        memory: bytes.
        cpus: processors kept busy.
        labels: how many it takes of what `bake build --limit` can bound: `(("kvm", 1),)`.
    """

    memory: int = 0
    cpus: int = 0
    labels: tuple[tuple[str, int], ...] = ()

    def taking(self, labels: Mapping[str, int]) -> Self:
        """Return the same, and these labels."""
        return replace(self, labels=tuple(sorted({**dict(self.labels), **labels}.items())))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A machine as it was after a step, to be restored in place of running the steps before it.

    Args:
        driver: the driver that made it.
        key: content key of the last step inside it.
        folder: where its files are (in the shared cache), or None for one that lives at a provider.
        warm: True where memory is kept too, so that the machine runs on without a boot.
        settings: JSON data that the driver needs to restore it.
    """

    driver: str
    key: str
    folder: Path | None = None
    warm: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command left behind; the names are Fabric's.

    Args:
        command: the command as the user wrote it, for messages.
        exited: its exit code; 128+N for signal N; -1 when it ran out of time or the connection was lost.
        stdout: all it wrote there, decoded as UTF-8 with replacement.
        stderr: the same for the other stream.
        seconds: how long it took.
    """

    command: str
    exited: int
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0

    @property
    def return_code(self) -> int:
        """Another name for `exited`, as in Fabric."""
        return self.exited

    @property
    def ok(self) -> bool:
        """True when the exit code is 0."""
        return self.exited == 0

    @property
    def failed(self) -> bool:
        """True when it is not."""
        return not self.ok

    def __bool__(self) -> bool:
        """Fabric's short form of `ok`."""
        return self.ok

    def tail(self, stream: Stream, count: int = 10) -> str:
        """Return the last lines of a stream, after an empty line as in Fabric."""
        text = self.stdout if stream == "stdout" else self.stderr
        return "\n\n" + "\n".join(text.splitlines()[-count:])
