"""Looking at this host: what each driver needs, and whether it is here."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from bakery.drivers.registry import Registry
from bakery.errors import BakeryError
from bakery.model import Json, Problem
from bakery.state.project import cache_folder
from bakery.util.context import WorkContext
from bakery.util.process import run_process
from bakery.util.results import TimedOut
from bakery.util.units import format_size
from bakery.util.waiting import Cancel

LOW: Final = 10 << 30
"""Bytes that should be free for bases, checkpoints and images."""
State = Literal["ok", "info", "warning", "missing"]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One thing that was looked at.

    Args:
        about: `host`, `cache`, or a driver's name.
        state: ok; info; warning for what can be done without; missing for what cannot.
        text: what was found, in one line.
        why: the cause.
        hint: what to do.
    """

    about: str
    state: State
    text: str
    why: str = ""
    hint: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the line as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Program:
    """A program that a driver calls: its name, its Debian package, what it is for; needed, or only useful.

    `hint` says how to get one that no package of Debian's stable release brings.
    """

    name: str
    package: str
    use: str
    needed: bool = True
    version: tuple[str, ...] = ("--version",)
    hint: str = ""


QEMU_IMG: Final = Program("qemu-img", "qemu-utils", "making and converting disks")

PROGRAMS: Final[Mapping[str, tuple[Program, ...]]] = {
    "host": (
        Program("ssh", "openssh-client", "`bake ssh`", needed=False, version=("-V",)),
        Program("mmdebstrap", "mmdebstrap", "making Debian bases", needed=False),
        Program("mke2fs", "e2fsprogs", "making disks", needed=False, version=("-V",)),
        Program("debugfs", "e2fsprogs", "looking into finished images", needed=False, version=("-V",)),
        Program("sfdisk", "fdisk", "making disks", needed=False),
        Program("mformat", "mtools", "making EFI partitions", needed=False),
        Program("mcopy", "mtools", "the same", needed=False),
        Program("grub-mkimage", "grub-common", "making disks boot", needed=False),
    ),
    "qemu": (
        Program("qemu-system-x86_64", "qemu-system-x86", "running machines"),
        QEMU_IMG,
        Program("zstd", "zstd", "checkpoints: without it no step is reused", needed=False),
    ),
    "nspawn": (
        Program("systemd-nspawn", "systemd-container", "systemd inside of containers", needed=False),
        Program("unshare", "util-linux", "namespaces"),
        Program("nsenter", "util-linux", "entering them"),
        Program("slirp4netns", "slirp4netns", "the containers' network"),
        Program("sfdisk", "fdisk", "reading disks that are a base"),
        Program("blkid", "util-linux", "the same"),
        Program("setpriv", "util-linux", "the same"),
        Program("qemu-system-x86_64", "qemu-system-x86", "the machine that tests the image"),
        QEMU_IMG,
    ),
    "virtualbox": (
        Program(
            "VBoxManage",
            "virtualbox",
            "running machines",
            hint="VirtualBox 7.0 or newer: https://www.virtualbox.org/wiki/Downloads; Debian has it in sid alone",
        ),
        QEMU_IMG,
    ),
}


def examine(drivers: Registry, only: Sequence[str], environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Look at the host, the cache, and every driver that is installed (or those named).

    Raises:
        UsageError: a name that no driver has.
    """
    drivers.check(only)
    if not only:
        yield from _stuck_mounts()
        yield from _host()
        yield from _cache(environ)
    for name in only or drivers.names():
        yield from _driver(drivers, name, WorkContext(cache=cache_folder(environ)))


def _host() -> Iterator[CheckResult]:
    from bakery.build.capacity import cpus, memory

    yield CheckResult(about="host", state="info", text=f"Python {platform.python_version()} at {sys.executable}")
    yield CheckResult(about="host", state="info", text=f"{cpus()} processors, {format_size(memory())} of memory free")
    yield _kvm()
    yield from (_program("host", program) for program in PROGRAMS["host"])


def _stuck_mounts() -> Iterator[CheckResult]:
    from bakery.util.stuck_mounts import look

    if stuck := look():
        yield CheckResult(about="host", state="missing", text=stuck.what, why=stuck.why, hint=stuck.hint)


def _kvm() -> CheckResult:
    kvm = Path("/dev/kvm")
    if not kvm.exists():
        return CheckResult(
            about="host",
            state="warning",
            text="no hardware acceleration (/dev/kvm)",
            why="machines are emulated: several times slower",
            hint="enable virtualisation, or build in containers (nspawn)",
        )
    try:
        with kvm.open("r+b", buffering=0):
            pass
    except OSError as error:
        return CheckResult(
            about="host",
            state="warning",
            text="/dev/kvm may not be opened by this user",
            why=error.strerror or str(error),
            hint="`sudo usermod -aG kvm $USER`, then log in again",
        )
    return CheckResult(
        about="host", state="ok", text="/dev/kvm opens; whether it runs a guest is said below qemu, where it is tried"
    )


def _cache(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    from bakery.state.project import cache_folder

    folder = cache_folder(environ)
    used = sum(_stored(path) for path in folder.rglob("*")) if folder.is_dir() else 0
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{folder}: {format_size(used)} used, {format_size(free)} free"
    if why := _unwritable(there):
        yield CheckResult(
            about="cache", state="missing", text=text, why=f"it cannot be written: {why}", hint="set BAKERY_CACHE_DIR"
        )
    elif free < LOW:
        yield CheckResult(about="cache", state="warning", text=text, hint="`bake cache prune` makes room")
    else:
        yield CheckResult(about="cache", state="ok", text=text)


def _unwritable(folder: Path) -> str:
    """Say why no file can be made there: tried, and taken away again."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _stored(path: Path) -> int:
    """Return the bytes that a file takes on the disk; sparse ones take less than they show."""
    try:
        return path.lstat().st_blocks * 512 if not path.is_symlink() else 0
    except OSError:  # gone meanwhile
        return 0


def _driver(drivers: Registry, name: str, work: WorkContext) -> Iterator[CheckResult]:
    try:
        driver = drivers.get(name)
    except BakeryError as error:
        yield CheckResult(about=name, state="missing", text=error.what, why=error.why, hint=error.hint)
        return
    except Exception as error:  # somebody else's package: that it is broken is what is to be found out here
        yield CheckResult(
            about=name, state="missing", text="it cannot be loaded", why=f"{type(error).__name__}: {error}"
        )
        return
    programs = [_program(name, program) for program in PROGRAMS.get(name, ())]
    yield from programs
    if any(program.state == "missing" for program in programs):
        return  # what it could tell needs them
    try:
        problems = list(driver.doctor(work))
    except BakeryError as error:
        problems = [Problem(what=error.what, why=error.why, hint=error.hint)]
    if not problems and name not in PROGRAMS:
        home = type(driver).__module__
        yield CheckResult(about=name, state="info", text=f"installed ({home}); it says nothing of this host")
    for problem in problems:
        state: State = "missing" if problem.fatal else "warning" if problem.why or problem.hint else "ok"
        yield CheckResult(about=name, state=state, text=problem.what, why=problem.why, hint=problem.hint)


def _program(about: str, program: Program) -> CheckResult:
    path = shutil.which(program.name) or shutil.which(program.name, path="/usr/sbin:/sbin")
    if path is None:
        return CheckResult(
            about=about,
            state="missing" if program.needed else "warning",
            text=f"no {program.name}",
            why=f"needed for {program.use}",
            hint=program.hint or f"apt-get install {program.package}",
        )
    version, trouble = _run(path, program)
    if trouble:
        return CheckResult(
            about=about,
            state="missing" if program.needed else "warning",
            text=f"{path} does not run",
            why=f"{' '.join((program.name, *program.version))}: {trouble}",
            hint=f"apt-get install --reinstall {program.package}",
        )
    return CheckResult(about=about, state="ok", text=f"{program.name} {version}".rstrip())


def _run(path: str, program: Program) -> tuple[str, str]:
    """Run a program for its version: what looks like one in what it says, and why it does not run, empty if it does."""
    try:
        done = run_process([path, *program.version], cancel=Cancel(), timeout=20)
    except OSError as error:
        return "", error.strerror or str(error)
    except TimedOut:
        return "", "no answer within 20 s"
    said = done.stdout + done.stderr
    match = re.search(r"\d+(?:\.\d+)+\S*", said)
    version = match[0].strip(",;()") if match else ""
    if done.exited in (126, 127) or done.exited < 0 or (done.exited and not version):
        return "", (said.strip().splitlines() or [f"exit code {done.exited}"])[-1]
    return version, ""
