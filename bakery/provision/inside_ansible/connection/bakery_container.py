"""The way into a container on this host: its namespaces, entered by nsenter. It needs no sshd, no network, no key."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
    name: bakery_container
    short_description: run commands in a container that bakery builds an image in
    description:
      - Enters the namespaces of a container on this host.
    options:
      way:
        description: a file that says how the container is entered just now
        type: path
        vars:
          - name: ansible_bakery_way
    extends_documentation_fragment:
      - connection_pipelining
"""


class Connection(ConnectionBase):  # type: ignore[misc]  # Ansible carries no types
    """A container's namespaces."""

    transport = "bakery_container"  # pyright: ignore  a property there, and an attribute in every plugin
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a command line; return its exit code and output."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        words, env = self._way()
        done = _run([*words, "-c", cmd], env, in_data or b"", stdin=PIPE, umask=0o022)
        if done.returncode == KILLED or b"nsenter: " in done.stderr[:200]:
            self._way()  # raises where the container is gone
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Send a file."""
        super().put_file(in_path, out_path)
        if not os.path.exists(in_path):  # noqa: PTH110  Ansible's own tests give bytes
            raise AnsibleFileNotFound(f"{in_path} does not exist")
        words, env = self._way()
        with open(in_path, "rb") as source:  # noqa: PTH123  the same
            to = [*words, "-c", f"cat >{shlex.quote(out_path)}"]
            done = _run(to, env, stdin=source, umask=0o077)
        if done.returncode:
            raise AnsibleError(f"{out_path} cannot be written: {done.stderr.decode(errors='replace').strip()}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Fetch a file."""
        super().fetch_file(in_path, out_path)
        words, env = self._way()
        with open(out_path, "wb") as target:  # noqa: PTH123  the same
            what = [*words, "-c", f"exec cat -- {shlex.quote(in_path)}"]
            done = _run(what, env, stdin=subprocess.DEVNULL, stdout=target)
        if done.returncode:
            raise AnsibleError(f"{in_path} cannot be read: {done.stderr.decode(errors='replace').strip()}")

    def close(self) -> None:
        """Nothing stays open between two commands."""
        self._connected = False

    def reset(self) -> None:
        """Do nothing: the next command asks for the way anew, as each does."""

    def _way(self) -> tuple[list[str], dict[str, str]]:
        """Ask how the container is entered: after a restart its first process is another one.

        Raises:
            AnsibleConnectionFailure: it does not run.
        """
        way: dict[str, Any] = json.loads(Path(self.get_option("way")).read_text())
        try:
            stat = Path(f"/proc/{way['pid']}/stat").read_text()
        except OSError as error:
            raise AnsibleConnectionFailure(f"the container does not run: {error}") from error
        if int(stat.rpartition(")")[2].split()[19]) != way["start"]:
            raise AnsibleConnectionFailure("the container does not run: its first process is gone")
        return way["words"], way["env"]


KILLED = 128 + 9
POLL = 0.5
"""Seconds between two looks whether nsenter has stopped."""


def _run(
    words: list[str],
    env: dict[str, str],
    given: bytes | None = None,
    *,
    stdin: Any,
    stdout: Any = PIPE,
    umask: int = -1,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, and let it go on where it has stopped.

    nsenter of util-linux stops itself with the command that it started. systemd stops all that runs in a container
    before it ends it, and nobody would wait for the command's end then.
    """
    with subprocess.Popen(words, env=env, cwd="/", umask=umask, stdin=stdin, stdout=stdout, stderr=PIPE) as process:
        while True:
            try:
                out, err = process.communicate(given, timeout=POLL)
            except subprocess.TimeoutExpired:
                given = None  # it goes on with what it was given
                with suppress(ChildProcessError, ProcessLookupError):  # it has ended
                    if os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG) is not None:
                        os.kill(process.pid, signal.SIGCONT)
                continue
            except BaseException:
                process.kill()
                raise
            return subprocess.CompletedProcess(words, process.returncode, out, err)
