"""Looking at this host: what each driver needs, and whether it is here."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
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
        Program("mformat", "mtools", "making EFI partitions", needed=False),
        Program("grub-mkimage", "grub-common", "making disks boot", needed=False),
    ),
    "qemu": (
        Program("qemu-system-x86_64", "qemu-system-x86", "running machines"),
        QEMU_IMG,
    ),
    "nspawn": (Program("systemd-nspawn", "systemd-container", "running containers"),),
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
    if not os.access(kvm, os.R_OK | os.W_OK):
        return CheckResult(
            about="host",
            state="warning",
            text="/dev/kvm may not be opened by this user",
            hint="sudo adduser $USER kvm, then log in again",
        )
    return CheckResult(
        about="host", state="ok", text="/dev/kvm opens; whether it runs a guest is tried at the first build"
    )


def _cache(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    from bakery.state.project import cache_folder

    folder = cache_folder(environ)
    used = sum(_stored(path) for path in folder.rglob("*")) if folder.is_dir() else 0
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{folder}: {format_size(used)} used, {format_size(free)} free"
    if not os.access(there, os.W_OK):
        yield CheckResult(
            about="cache", state="missing", text=text, why="it cannot be written", hint="set BAKERY_CACHE_DIR"
        )
    elif free < 10 * 10**9:
        yield CheckResult(about="cache", state="warning", text=text, hint="`bake cache prune` makes room")
    else:
        yield CheckResult(about="cache", state="ok", text=text)


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
        yield CheckResult(about=name, state="ok", text=f"installed ({home})", hint=driver.requires)
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
    return CheckResult(about=about, state="ok", text=f"{program.name} {_version(path, program)}".rstrip())


def _version(path: str, program: Program) -> str:
    """Return the first thing that looks like a version in what a program says of itself."""
    try:
        done = run_process([path, *program.version], cancel=Cancel(), timeout=20)
    except (OSError, TimedOut):
        return ""
    match = re.search(r"\d+(?:\.\d+)+\S*", done.stdout + done.stderr)
    return match[0].strip(",;()") if match else ""
