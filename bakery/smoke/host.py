"""`Host`: what a smoke test is given, described for editors and type checkers.

At run time it is testinfra's own `Host` (https://testinfra.readthedocs.io/en/latest/modules.html), with a few wrong
answers put right (`smoke/strict.py`); its modules appear by `__getattr__` and carry no types. What is written here is
checked against testinfra by a unit test. Nothing is imported, so that an imagefile that says `from bakery import Host`
costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol


class CommandResult(Protocol):
    """What a command left behind."""

    rc: int
    exit_status: int
    stdout: str
    stderr: str
    stdout_bytes: bytes
    stderr_bytes: bytes
    succeeded: bool
    failed: bool


class File(Protocol):
    """A path on the machine. `mode` is an integer, to be compared with `0o644`; symbolic links are followed."""

    exists: bool
    is_file: bool
    is_directory: bool
    is_executable: bool
    is_pipe: bool
    is_socket: bool
    is_symlink: bool
    linked_to: str
    user: str
    uid: int
    group: str
    gid: int
    mode: int
    size: int
    mtime: datetime
    inode: int
    md5sum: str
    sha256sum: str
    content: bytes
    content_string: str

    def contains(self, pattern: str) -> bool:
        """Say whether grep finds the basic regular expression in it."""
        ...

    def listdir(self) -> list[str]:
        """List the names in a folder."""
        ...


class Service(Protocol):
    """A service of systemd, or of whatever init the machine has. A unit's name may have its suffix: `nginx.socket`."""

    exists: bool
    is_running: bool
    is_enabled: bool
    is_masked: bool
    is_valid: bool
    systemd_properties: dict[str, str]


class Socket(Protocol):
    """A listening socket: `tcp://0.0.0.0:80`, `udp://53`, `unix:///run/app.sock`.

    An address listens where a connection to it would reach a server; `0.0.0.0` and `::` mean all of one family, a port
    alone all of both.
    """

    is_listening: bool
    clients: list[tuple[str, int] | None]


class Package(Protocol):
    """A package of the machine's package manager."""

    is_installed: bool
    version: str
    release: str


class User(Protocol):
    """A user."""

    exists: bool
    name: str
    uid: int
    gid: int
    group: str
    gids: list[int]
    groups: list[str]
    home: str
    shell: str
    password: str
    gecos: str
    expiration_date: datetime | None


class Group(Protocol):
    """A group."""

    exists: bool
    gid: int
    members: list[str]


class MountPoint(Protocol):
    """A mounted file system."""

    exists: bool
    filesystem: str
    device: str
    options: list[str]


class Interface(Protocol):
    """A network interface."""

    exists: bool
    addresses: list[str]
    speed: int


class Process(Protocol):
    """Running processes; attributes have the names of ps(1)'s output fields."""

    def filter(self, **filters: Any) -> list[Any]:
        """List the processes whose attributes have these values."""
        ...

    def get(self, **filters: Any) -> Any:
        """Return the only such process.

        Raises:
            RuntimeError: there is none, or more than one.
        """
        ...


class SystemInfo(Protocol):
    """What the machine runs: `linux`, `debian`, `12`, `bookworm`, `x86_64`."""

    type: str
    distribution: str
    release: str
    codename: str | None
    arch: str


class Host(Protocol):
    """The machine under test, booted from the finished image. Everything runs as root.

    testinfra's rarer modules are there too: they have no types.
    """

    ansible: Any
    block_device: Any
    docker: Any
    iptables: Any
    pip: Any
    podman: Any
    puppet_resource: Any
    salt: Any
    supervisor: Any
    process: Process
    system_info: SystemInfo

    def run(self, command: str, *args: str, timeout: float | None = ...) -> CommandResult:
        """Run a line of shell; each `%s` stands for the next argument, quoted.

        Args:
            command: the line.
            *args: the arguments.
            timeout: seconds; 300 when not given.
        """
        ...

    def run_test(self, command: str, *args: str) -> CommandResult:
        """Run a command whose exit code must be 0 or 1."""
        ...

    def run_expect(self, expected: Sequence[int], command: str, *args: str) -> CommandResult:
        """Run a command whose exit code must be one of these."""
        ...

    def check_output(self, command: str, *args: str) -> str:
        """Run a command that must succeed, and return its output without the last line break."""
        ...

    def exists(self, command: str) -> bool:
        """Say whether there is a command of that name."""
        ...

    def find_command(self, command: str, extrapaths: Iterable[str] = ...) -> str:
        """Return a command's path."""
        ...

    def sudo(self, user: str | None = None) -> AbstractContextManager[None]:
        """Run what is inside the `with` block as another user."""
        ...

    def file(self, path: str) -> File:
        """Look at a path."""
        ...

    def service(self, name: str) -> Service:
        """Look at a service."""
        ...

    def socket(self, spec: str) -> Socket:
        """Look at a socket."""
        ...

    def package(self, name: str) -> Package:
        """Look at a package."""
        ...

    def user(self, name: str | None = None) -> User:
        """Look at a user."""
        ...

    def group(self, name: str) -> Group:
        """Look at a group."""
        ...

    def mount_point(self, path: str) -> MountPoint:
        """Look at a mount point."""
        ...

    def interface(self, name: str) -> Interface:
        """Look at a network interface."""
        ...

    def addr(self, name: str) -> Any:
        """Look at another machine as this one sees it: `is_reachable`, `port(443).is_reachable`."""
        ...

    def environment(self) -> dict[str, str]:
        """Return the environment of root's commands."""
        ...

    def sysctl(self, name: str) -> str | int:
        """Return a kernel parameter."""
        ...
