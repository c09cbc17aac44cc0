"""A machine to test against: this host, through a private sshd on the loopback address with keys of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bakery.errors import NotYet
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from bakery.util.waiting import Cancel, until


class Machine(NamedTuple):
    endpoint: Endpoint
    keys: Keys


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """This host, as a machine under test."""
    keys = make_keys()
    with sshd(tmp_path_factory.mktemp("sshd"), keys) as endpoint:
        yield Machine(endpoint, keys)


def key_pair(comment: str) -> tuple[str, str]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), f"{public.decode()} {comment}"


def make_keys() -> Keys:
    user_private, user_public = key_pair("bakery-test")
    host_private, host_public = key_pair("host")
    return Keys(user_private=user_private, user_public=user_public, host_private=host_private, host_public=host_public)


@contextmanager
def sshd(folder: Path, keys: Keys) -> Iterator[Endpoint]:
    """Run it until the block ends."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    Path("/run/sshd").mkdir(exist_ok=True)
    for name, text in (("host", keys.host_private), ("authorized", keys.user_public + "\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "PermitRootLogin prohibit-password\nUsePAM no\nStrictModes no\nPidFile none\nMaxStartups 100\n"
    )
    with subprocess.Popen([program, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(port), what="sshd listens", timeout=30, cancel=Cancel())
            yield Endpoint(host="127.0.0.1", port=port, user=os.environ.get("USER", "root"), host_key=keys.host_public)
        finally:
            process.terminate()


def _answers(port: int) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError as error:
        raise NotYet("no answer") from error
