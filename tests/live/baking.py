"""A project that is baked by the command line on real machines, and a look at all that it leaves on this host."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from bakery.drivers.nspawn.driver import CONTAINER
from bakery.drivers.qemu.driver import SPENT

CGROUPS = Path("/sys/fs/cgroup")
TINY = '''
import os
from pathlib import Path

import bakery
from bakery.drivers import Qemu
from bakery.model import Artifact
from bakery.testing.aws.tiny import tiny_guest

PRINT_HOST_KEY = """\\
#!/bin/sh
dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/tmp/made
{
    echo "-----BEGIN SSH HOST KEY KEYS-----"
    grep '^ssh-ed25519' /tmp/made
    echo "-----END SSH HOST KEY KEYS-----"
} >/dev/console
"""


@bakery.source
def here() -> Qemu:
    disk = str(tiny_guest(Path(os.environ["BAKERY_CACHE_DIR"]) / "tiny"))
    base = Artifact(driver="qemu", id=disk, name="tiny", format="qcow2")
    return Qemu(base=base, memory="256M", user_data=PRINT_HOST_KEY, host_key="console")


@bakery.task
def hello(m):
    m.run("echo hello >/root/hello")


@bakery.test
def said_hello(host):
    assert host.file("/root/hello").contains("hello")


@bakery.image(builtin_tests=False)
def tiny():
    return None
'''
"""An image whose machines are up in seconds, also where every instruction is emulated."""
LINE = '    m.run("echo hello >/root/hello")\n'
"""What its task does; tests put something else there."""


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    Args:
        code: its exit code.
        out: standard output.
        err: standard error.
        cpu: seconds of processor time that it and its children took.
    """

    code: int
    out: str
    err: str
    cpu: float


@dataclass
class Project:
    """A folder with an imagefile.

    Args:
        folder: the project's.
        cache: the shared cache.
        environ: more variables for `bake`.
    """

    folder: Path
    cache: Path
    environ: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        (self.folder / "tmp").mkdir(parents=True)

    @property
    def env(self) -> dict[str, str]:
        """The environment of `bake`: temporary files go where `left` sees them."""
        own = {"BAKERY_CACHE_DIR": str(self.cache), "TMPDIR": str(self.folder / "tmp"), "NO_COLOR": "1"}
        return {**os.environ, **own, **self.environ}

    @property
    def file(self) -> Path:
        return self.folder / "imagefile.py"

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def task(self, *lines: str) -> None:
        """Write the tiny image, whose task does this."""
        self.write(TINY.replace(LINE, "".join(f"    {line}\n" for line in lines)))

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bakery", "-C", str(self.folder), *words]

    def bake(self, *words: str, timeout: float = 600) -> Done:
        """Run a command to its end."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            self.words(*words),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Done(done.returncode, done.stdout, done.stderr, cpu)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command, as a shell that hands it a process group of its own."""
        return subprocess.Popen(
            self.words(*words),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def runs(self) -> list[Path]:
        return sorted((self.folder / ".bakery" / "runs").glob("*"))

    def events(self) -> list[dict[str, Any]]:
        """What the last run has told so far."""
        log = self.runs[-1] / "events.jsonl" if self.runs else None
        if log is None or not log.exists():
            return []
        return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait(self, bake: subprocess.Popen[str], seen: Callable[[dict[str, Any]], bool], timeout: float = 300) -> None:
        """Wait until a running `bake` has told of something."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if any(seen(event) for event in self.events()):
                return
            assert bake.poll() is None, bake.communicate()
            time.sleep(0.02)
        pytest.fail("it did not come to that")

    def images(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.bake("images", "--json").out)["images"]
        return found

    # ---- what is left -------------------------------------------------------------------------------------------

    def left(self) -> set[str]:
        """All of this project on this host but logs and the catalogue: processes, ports, mounts, groups, files."""
        return {*self._processes(), *self._files(), *self._mounts()}

    def _processes(self) -> Iterator[str]:
        place, own = str(self.folder), os.getpid()
        for process in psutil.process_iter():
            try:
                told = [process.cwd(), *process.cmdline()]
                if process.pid == own or not any(place in word for word in told) or "pytest" in told[1:3]:
                    continue
                yield f"process {process.name()} {process.pid}"
                for socket in process.net_connections("inet"):
                    if socket.status == psutil.CONN_LISTEN:
                        yield f"port {socket.laddr}"
            except psutil.Error:
                continue

    def _files(self) -> Iterator[str]:
        state = self.folder / ".bakery"
        spent = (*SPENT, CONTAINER, "keys.json", "progress.json")
        for path in (found for name in spent for found in state.glob(f"runs/*/machines/*/{name}")):
            yield f"file {path.relative_to(self.folder)}"
        for path in (*state.glob("images/**/*"), *(self.folder / "tmp").rglob("*"), *self.cache.rglob("*.part")):
            if not path.is_dir():
                yield f"file {path.relative_to(path.anchor if self.cache in path.parents else self.folder)}"

    def _mounts(self) -> Iterator[str]:
        yield from (
            f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if str(self.folder) in line
        )
        runs = tuple(f"bakery-{run.name}" for run in self.runs)
        for folder, names, _ in os.walk(CGROUPS):  # which does not mind that others' groups go meanwhile
            yield from (f"group {folder}/{name}" for name in names if runs and name.startswith(runs))


def clean(done: Done | str, code: int, *parts: str) -> str:
    """See that a command ended with this code and one clear message, and return what it told."""
    told = done if isinstance(done, str) else done.err
    if isinstance(done, Done):
        assert done.code == code, told
    assert "Traceback" not in told
    assert "defect" not in told
    for part in parts:
        assert part in told, f"no {part!r} in:\n{told}"
    return told


def is_kept(project: Project) -> Callable[[str], bool]:
    """Tell finished images, which a build that was killed after the hand-over may leave."""
    del project
    return lambda thing: thing.startswith("file .bakery/images/") and "/." not in thing.removeprefix("file .bakery")


def shared(cache: Path, folder: Path, *names: str) -> Path:
    """Make a cache of the test's own, which has the bases of this host's in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("bases", "hosts", "tiny"):
        (cache / name).mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(cache / name)
    return folder
