"""A real cluster on this host: Dask's scheduler, and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bakery.testing.folder.cloud import FolderCloud

LEASE = {"BAKERY_CLUSTER_LEASE": "4"}
"""Environment of a client of which tests wait until its workers have given it up."""
IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.variables
class Vars:
    kind: str = "good"
    {variables}

@bakery.source({source})
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r}, disk={disk!r})

@bakery.task
def first(m, v):
    m.put("files/motd", "/etc/motd")
    m.run("echo said by $0")

@bakery.task
def work(m, v):
    m.write("/etc/kind", v.kind)
    {work}

@bakery.test
def kind(host, v):
    assert host.file("/etc/kind").content_string == v.kind

@bakery.post
def say(artifact):
    print("post:", artifact.id)

@bakery.image({image}sources=[here], builtin_tests=False)
def many(v):
    return f"many-{{v.kind}}"
"""


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class ClusterRig:
    """A scheduler and workers.

    Args:
        folder: for logs, caches and workers' folders.
        scheme: `tcp` or `tls`.
        certificates: arguments that name them, for the scheduler, the workers and `bake` alike.
        host: the address at which the scheduler listens.
    """

    def __init__(
        self, folder: Path, *, scheme: str = "tcp", certificates: tuple[str, ...] = (), host: str = "127.0.0.1"
    ) -> None:
        self.folder = folder
        self.certificates = certificates
        self.port = free_port()
        self.address = f"{scheme}://{host}:{self.port}"
        self.scheme = scheme
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start the scheduler."""
        self.start_scheduler()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all that was started."""
        everything = [*self.workers.values(), *([self.scheduler] if self.scheduler else [])]
        for process in everything:
            process.send_signal(signal.SIGTERM)
        for process in everything:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_scheduler(self) -> None:
        """Start it; on the same port as before."""
        words = ["-m", "distributed.cli.dask_scheduler", "--host", self.address, "--no-dashboard"]
        self.scheduler = self._start("scheduler", *words, *self.certificates)
        self._until("scheduler", "Scheduler at:")

    def start_workers(
        self,
        *names: str,
        words: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
        inside: tuple[str, ...] = (),
    ) -> None:
        """Start workers, and wait until each takes builds.

        Args:
            names: what they are called.
            words: more arguments.
            environ: more variables.
            inside: words of a command that starts them, such as `ip netns exec NAME`.
        """
        for name in names:
            given = ["--scheduler", self.address, "--name", name, *words, *self.certificates]
            own = {"BAKERY_CACHE_DIR": str(self.folder / f"cache-{name}"), **(environ or {})}
            self.workers[name] = self._start(name, "-m", "bakery", "worker", *given, environ=own, inside=inside)
        for name in names:
            self._until(name, "takes builds for")

    def kill_worker(self, name: str) -> None:
        """Kill one, as a host that loses its power would; what it has started lives on."""
        process = self.workers.pop(name)
        process.kill()
        process.wait()

    def kill_host(self, name: str) -> None:
        """Kill a worker and its builds, as a host that loses its power."""
        self.signal_host(name, signal.SIGKILL)
        self.workers.pop(name).wait()

    def signal_host(self, name: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a worker: its session, and those that its builds were forked from."""
        leader = self.workers[name].pid
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(entry.name)) == leader:
                    os.kill(int(entry.name), number)
            except (ProcessLookupError, PermissionError):
                continue

    def restart_scheduler(self) -> None:
        """Kill the scheduler, and start it again on the same port a second later."""
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()
        time.sleep(1)
        self.start_scheduler()

    def stop_worker(self, name: str) -> None:
        """End one as systemd would, and wait until what it made is destroyed."""
        process = self.workers.pop(name)
        process.terminate()
        process.wait(60)

    def log(self, name: str) -> str:
        """Return what a process wrote."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _start(
        self, name: str, *words: str, environ: Mapping[str, str] | None = None, inside: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*inside, sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )

    def _until(self, name: str, text: str, seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while text not in self.log(name):
            if time.monotonic() > until:
                raise AssertionError(f"{name} never said {text!r}:\n{self.log(name)}")
            time.sleep(0.1)


class ClusterProject:
    """An imagefile whose images are made on a cluster, in a cloud that all hosts see.

    Args:
        folder: holds the project, its cloud and the client's cache.
        rig: the cluster.
    """

    def __init__(self, folder: Path, rig: ClusterRig) -> None:
        self.folder, self.rig = folder / "project", rig
        (self.folder / "files").mkdir(parents=True)
        (self.folder / "files" / "motd").write_text("welcome\n")
        self.cloud = FolderCloud(folder / "cloud")
        self.environ = {"BAKERY_CACHE_DIR": str(folder / "cache")}

    def write(
        self,
        *,
        work: str = "",
        image: str = "",
        source: str = "",
        variables: str = "",
        disk: str | None = None,
        more: str = "",
    ) -> None:
        """Write the imagefile.

        Args:
            work: what the second task does besides.
            image: arguments of the image's decorator.
            source: arguments of the source's.
            variables: more of them.
            disk: the images' format; None for ones that are in the cloud alone.
            more: what follows.
        """
        text = IMAGEFILE.format(
            cloud=str(self.cloud.path),
            work=work,
            source=source,
            image=f"{image}, " if image else "",
            variables=variables,
            disk=disk,
        )
        (self.folder / "imagefile.py").write_text(text + more, encoding="utf-8")

    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `bake`."""
        return subprocess.Popen(
            [sys.executable, "-m", "bakery", "-C", str(self.folder), *words],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **self.environ, **(environ or {})},
        )

    def bake(self, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run `bake build --on` the cluster, to its end."""
        process = self.start("build", "--on", self.rig.address, *self.rig.certificates, *words, environ=environ)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def runs(self) -> list[Path]:
        """Return the folders of all runs, the oldest first."""
        return sorted((self.folder / ".bakery").glob("runs/*"))

    def events(self) -> list[dict[str, Any]]:
        """Return what the last run has told so far; nothing before the first."""
        log = self.runs()[-1] / "events.jsonl" if self.runs() else None
        lines = log.read_text().splitlines(keepends=True) if log and log.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def left(self) -> list[str]:
        """Return what is in the cloud besides kept images and checkpoints."""
        kinds = ("keypairs", "machines")
        return [f"{kind} {record['name']}" for kind in kinds for record in self.cloud.list(kind)]  # type: ignore[arg-type]  # two literals

    def images(self) -> list[str]:
        """Return the names of the images in the cloud."""
        return sorted(record["name"] for record in self.cloud.list("images"))


def until(what: Callable[[], object], seconds: float = 90.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)
