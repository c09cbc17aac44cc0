"""A shell on a machine, for a person."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import termios
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bakery.errors import PreflightError
from bakery.machine import container_terminal
from bakery.machine.transport.drivers_own import is_drivers_own
from bakery.machine.transport.namespace import entering, environment
from bakery.machine.transport.stages import AGENT
from bakery.model import Endpoint
from bakery.state.ssh_keys import Keys
from bakery.util import process_attributes
from bakery.util.process import run_on_terminal


def shell_command(endpoint: Endpoint, folder: Path, command: str = "") -> list[str]:
    """Return the words that open a shell: OpenSSH with the machine's own key and host key, nothing of the user's.

    Args:
        endpoint: where the machine is.
        folder: holds `id` and `known_hosts`, as written by `write_login`.
        command: what the machine's shell runs; empty opens a shell for a person.
    """
    match endpoint.transport:
        case "namespace":
            return entering(int(endpoint.data["pid"]), *_login(command))
        case _:
            terminal = ["-t"] if command and sys.stdin.isatty() and sys.stdout.isatty() else []
            options = [*ssh_options(endpoint, str(folder / "id"), folder / "known_hosts"), "-p", str(endpoint.port)]
            line = ["--", command] if command else []
            return ["ssh", *options, *terminal, f"{endpoint.user}@{endpoint.host}", *line]


def _login(command: str) -> list[str]:
    """Return the words that make a shell a login shell, which runs one command where there is one."""
    return ["-l", *(["-c", command] if command else [])]


def ssh_options(endpoint: Endpoint, key: str, known_hosts: Path) -> list[str]:
    """Return OpenSSH's options for a machine, its port apart: its own key and host key, nothing of the user's.

    Args:
        endpoint: where it is.
        key: the file of the private key that it was given.
        known_hosts: as written by `known_hosts`.
    """
    options: dict[str, object] = {
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known_hosts,
        "StrictHostKeyChecking": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "ForwardAgent": "no",
    }
    if endpoint.key == AGENT:
        del options["IdentityFile"], options["IdentitiesOnly"]
    elif endpoint.key:
        options["IdentityFile"] = Path(endpoint.key).expanduser()
    if gateway := endpoint.gateway:
        words = [*ssh_options(gateway, key, known_hosts), "-p", str(gateway.port)]
        way = ["ssh", *words, "-W", "[%h]:%p", f"{gateway.user}@{gateway.host}"]
        options["ProxyCommand"] = shlex.join(way)
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["-F", "none", *words]


def write_login(endpoint: Endpoint, keys: Keys, folder: Path) -> None:
    """Write the key and the known hosts that `shell_command` names, readable by nobody else."""
    key = folder / "id"
    key.touch(mode=0o600)
    key.write_text(keys.user_private, encoding="utf-8")
    (folder / "known_hosts").write_text(known_hosts(endpoint), encoding="utf-8")


def known_hosts(endpoint: Endpoint) -> str:
    """Return the host keys of a machine and of the gateways before it, as known_hosts has them."""
    lines: list[str] = []
    hop: Endpoint | None = endpoint
    while hop is not None:
        host = hop.host if hop.port == 22 else f"[{hop.host}]:{hop.port}"  # noqa: PLR2004  SSH's port
        lines += [f"{host} {key}\n" for key in hop.host_key.splitlines()]
        hop = hop.gateway
    return "".join(lines)


def open_shell(endpoint: Endpoint, keys: Keys, folder: Path, command: str = "") -> int:
    """Open a shell on this terminal, or run one command, and return the exit code when it ends.

    Args:
        endpoint: where the machine is.
        keys: of the build.
        folder: of the run; holds the login while the shell runs.
        command: a line for the machine's shell; empty opens a shell for a person.

    Raises:
        PreflightError: no ssh on this host, or the way to the machine has no room for a person.
    """
    if is_drivers_own(endpoint):
        raise PreflightError(
            "the machine is reached by a way of its driver's, which has no shell for a person",
            why="commands of tasks and tests go over it; a terminal does not",
            hint="open the machine's console at its provider",
        )
    write_login(endpoint, keys, folder)
    try:
        with _terminal_back():
            if endpoint.transport == "namespace":
                return _run_inside(endpoint, folder, command)
            return run_on_terminal(shell_command(endpoint, folder, command))
    except FileNotFoundError as error:
        raise PreflightError(f"{error.filename} is not installed", hint="apt-get install openssh-client") from error
    finally:
        (folder / "id").unlink(missing_ok=True)


def _run_inside(endpoint: Endpoint, folder: Path, command: str) -> int:
    """Run the shell on a terminal of the container's own; on our streams where one of them is no terminal."""
    pid = int(endpoint.data["pid"])
    words, inside = ["-c", container_terminal.LEADER, "/bin/sh", *_login(command)], _inside(pid)
    code = container_terminal.run_inside(entering(pid, *words), pid, **inside)
    if code is not None:
        return code
    return run_on_terminal(shell_command(endpoint, folder, command), **inside, apart=True)


def _inside(pid: int) -> dict[str, Any]:
    """Return what a shell in a container must not inherit from here; the kind of terminal is ours."""
    terminal = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
    return {"env": {**environment(pid), **terminal}, "umask": process_attributes.UMASK}


@contextmanager
def _terminal_back() -> Generator[None]:
    """Take the terminal back as it was. A shell makes its own group of processes the one that the terminal belongs to,
    and one in a container cannot give it back: it does not see ours. Reading from the terminal would fail then.
    """
    terminal = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    if terminal < 0 or not os.isatty(terminal):
        yield
        return
    modes = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # else the change itself would stop us
        try:
            with suppress(OSError):  # it does not control us
                os.tcsetpgrp(terminal, os.getpgrp())
            termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
