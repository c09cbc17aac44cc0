"""One hundred asserts on a machine behind a loopback sshd: pytest-testinfra's ssh backend against ours, in one run.

Both run the same questions, once, in this process, connecting included; start of Python and pytest is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from testinfra.host import Host

from bakery.model import Endpoint
from bakery.smoke.backend import host as make_host
from bakery.smoke.connect import connect
from bakery.smoke.shell import Shell
from bakery.state.ssh_keys import Keys, make_keys
from bakery.testing.sshd import start_sshd
from benchmarks.bench import Aim, Row

AIM = Aim(0.05)
ROUNDS = 2
FILES = ("/etc/passwd", "/etc/hosts", "/etc/fstab", "/etc/ssh/sshd_config", "/usr/bin/env", "/etc/group", "/bin/sh")
PACKAGES = ("bash", "coreutils", "openssl", "tar", "apt", "dpkg", "libc6", "openssh-server", "perl-base", "grep")


def asserts(host: Any, port: int) -> Iterator[object]:
    """What smoke tests usually ask; each answer is one assert."""
    info = host.system_info
    yield from (info.type == "linux", info.distribution, info.codename, info.release, info.arch)
    for path in FILES:
        file = host.file(path)
        yield from (file.exists, file.is_file, file.user == "root", file.group == "root", file.mode & 0o444, file.size)
    for name in PACKAGES:
        package = host.package(name)
        yield from (package.is_installed, package.version)
    for name in ("root", "daemon", "nobody", "www-data"):
        user = host.user(name)
        yield from (user.exists, user.uid >= 0, user.group, user.home)
    for name in ("root", "daemon"):
        yield host.group(name).exists
    yield host.file("/etc/passwd").contains("root")
    yield "root" in host.file("/etc/passwd").content_string
    yield host.socket(f"tcp://127.0.0.1:{port}").is_listening
    yield f"tcp://127.0.0.1:{port}" in host.socket.get_listening_sockets()
    for command in ("true", "test -d /etc", "id -u", "hostname", "uname -a"):
        yield host.run(command).succeeded
    for command in ("sh", "ls", "grep", "sed", "awk", "cat"):
        yield host.exists(command)


def theirs(endpoint: Endpoint, keys: Keys, folder: Path, **options: Any) -> tuple[float, int]:
    """Ask over testinfra's ssh backend, set up as its documentation says."""
    key, known, config = folder / "key", folder / "known_hosts", folder / "ssh_config"
    key.write_text(keys.user_private)
    key.chmod(0o600)
    known.write_text(f"[{endpoint.host}]:{endpoint.port} {endpoint.host_key}\n")
    config.write_text(f"Host *\n UserKnownHostsFile {known}\n IdentityFile {key}\n IdentitiesOnly yes\n")
    began = time.perf_counter()
    name = f"ssh://{endpoint.user}@{endpoint.host}:{endpoint.port}"
    return _spent(began, Host.get_host(name, ssh_config=str(config), **options), endpoint)


def multiplexed(endpoint: Endpoint, keys: Keys, folder: Path) -> tuple[float, int]:
    """Ask over the same, with OpenSSH's connection sharing switched on, which it is not by default."""
    return theirs(endpoint, keys, folder, controlpath=str(folder / "mux"), controlpersist=5)


def ours(endpoint: Endpoint, keys: Keys, _: Path) -> tuple[float, int]:
    """Ask over our backend, connecting included."""
    began = time.perf_counter()
    connection = connect(endpoint, keys)
    shell = Shell(connection.open_shell)
    try:
        return _spent(began, make_host("machine", shell), endpoint)
    finally:
        shell.close()
        connection.close()


def _spent(began: float, host: Any, endpoint: Endpoint) -> tuple[float, int]:
    answers = list(asserts(host, endpoint.port))
    if not all(answers):
        raise SystemExit(f"assert {[bool(answer) for answer in answers].index(False)} does not hold on this host")
    return time.perf_counter() - began, len(answers)


def run(folder: Path) -> list[Row]:
    """Measure the three ways in turns; of each the best round counts."""
    folder.mkdir(parents=True)
    keys = make_keys("bakery-benchmark")
    server = start_sshd(folder / "sshd", keys)
    try:
        sides: tuple[Callable[..., tuple[float, int]], ...] = (theirs, multiplexed, ours)
        rounds = [[side(server.endpoint, keys, folder) for side in sides] for _ in range(ROUNDS)]
    finally:
        server.stop()
    slow, shared, fast = (min(seconds for seconds, _ in times) for times in zip(*rounds, strict=True))
    count = rounds[0][0][1]
    return [
        Row(f"{count} testinfra asserts", "its own ssh backend", fast, slow, AIM),
        Row(f"{count} testinfra asserts", "the same with ControlPersist", fast, shared),
    ]
