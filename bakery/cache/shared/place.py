"""Where shared checkpoints are: `file:///srv/bakery`, `s3://bucket/folder` or `sftp://host/folder`, by fsspec."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

from bakery.errors import DriverError, UsageError
from bakery.util.extras import install_hint

T = TypeVar("T")
VARIABLE: Final = "BAKERY_STORE"
"""In the environment: the address of the place."""
FORMS: Final = "file:///FOLDER, s3://BUCKET/FOLDER or sftp://USER@HOST/FOLDER"
WRITES_WHOLE: Final = frozenset({"s3"})
"""Schemes of places in which a file appears whole or not at all; elsewhere it is renamed once it is whole."""


class SharedPlace:
    """A place that hosts share. Its methods may be called from several threads.

    Args:
        url: its address.

    Raises:
        UsageError: it is none that can be used.
        DriverError: it does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._parts = checked(url)
        self._root = self._parts.path.rstrip("/")
        if self._parts.scheme == "s3":
            self._root = f"{self._parts.netloc}{self._root}"
        self._lock = threading.RLock()
        self._files = self._open()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> SharedPlace | None:
        """Return the place that the environment names; None where it names none.

        Raises:
            UsageError, DriverError: as above.
        """
        url = environ.get(VARIABLE, "").strip()
        return cls(url) if url else None

    def read(self, name: str) -> bytes | None:
        """Return what a file holds; None where there is none.

        Raises:
            DriverError: the place does not answer.
        """

        def read() -> bytes | None:
            try:
                data: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return data

        return self._do(read)

    def size(self, name: str) -> int:
        """Return how many bytes a file has; -1 where there is none.

        Raises:
            DriverError: the place does not answer.
        """

        def look() -> int:
            self._files.invalidate_cache()
            try:
                return int(self._files.info(self._path(name))["size"])
            except FileNotFoundError:
                return -1

        return self._do(look)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder; none where it is not there.

        Raises:
            DriverError: the place does not answer.
        """

        def look() -> list[str]:
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
            return sorted(name for path in found if not (name := path.rpartition("/")[2]).startswith("."))

        return self._do(look)

    def write(self, name: str, data: bytes) -> None:
        """Write a file: others see all of it or nothing.

        Raises:
            DriverError: the place does not take it.
        """
        path = self._path(name)
        folder, _, last = path.rpartition("/")

        def write() -> None:
            if self._parts.scheme in WRITES_WHOLE:
                self._files.pipe_file(path, data)
                return
            self._files.makedirs(folder, exist_ok=True)
            part = f"{folder}/.{last}.{secrets.token_hex(4)}"
            self._files.pipe_file(part, data)
            self._files.mv(part, path)

        self._do(write)

    def delete(self, name: str) -> None:
        """Delete a file, where it is there.

        Raises:
            DriverError: the place does not let us.
        """

        def delete() -> None:
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

        self._do(delete)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _do(self, call: Callable[[], T]) -> T:
        """Do something there; once more, on a new connection, where that fails."""
        with self._lock:
            try:
                return call()
            except Exception:  # each kind of place has errors of its own
                self._files = self._open()
            try:
                return call()
            except Exception as error:
                raise DriverError(
                    f"the store {self.url} does not do what is asked of it", why=f"{type(error).__name__}: {error}"
                ) from error

    def _open(self) -> Any:
        try:
            import fsspec
        except ImportError as error:
            raise UsageError(f"{VARIABLE}={self.url} needs fsspec", hint=install_hint("cluster")) from error
        try:
            return fsspec.filesystem(self._parts.scheme, skip_instance_cache=True, **self._options())
        except ImportError as error:
            raise UsageError(f"{VARIABLE}={self.url} needs a library", why=str(error)) from error
        except Exception as error:
            raise DriverError(
                f"the store {self.url} does not answer", why=f"{type(error).__name__}: {error}"
            ) from error

    def _options(self) -> dict[str, Any]:
        if self._parts.scheme != "sftp":
            return {}
        options: dict[str, Any] = {"host": self._parts.hostname, "host_key_policy": known_hosts_only()}
        options |= {"port": self._parts.port} if self._parts.port else {}
        return options | ({"username": self._parts.username} if self._parts.username else {})


def checked(url: str) -> SplitResult:
    """Return the parts of a place's address.

    Raises:
        UsageError: it is none, or has a password in it.
    """
    parts = urlsplit(url)
    hosts = {"file": parts.netloc == "", "s3": bool(parts.netloc), "sftp": bool(parts.hostname)}
    if not hosts.get(parts.scheme) or not parts.path.startswith("/" if parts.scheme != "s3" else ""):
        raise UsageError(f"{VARIABLE}={url} is no address of a store", hint=f"write {FORMS}")
    if parts.password is not None:
        raise UsageError(
            f"the address in {VARIABLE} has a password in it",
            why="an address is printed and logged",
            hint="use a key: SSH's agent and ~/.ssh are asked, as by ssh(1)",
        )
    return parts


def known_hosts_only() -> Any:
    """Return a policy for paramiko: only hosts whose key is known to ssh(1) already, as everywhere in bakery."""
    import paramiko

    known = paramiko.HostKeys()
    for file in (Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts")):
        if file.is_file():
            known.load(str(file))

    class OnlyKnown(paramiko.MissingHostKeyPolicy):
        """Refuse all others."""

        def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            del client
            if not known.check(hostname, key):
                raise paramiko.SSHException(f"the key of {hostname} is not in known_hosts: {key.fingerprint}")

    return OnlyKnown()
