"""Python packages for a machine, put together on this host: resolved, verified and unpacked for the machine's Python.

uv does it: it knows what packages ask of another Python than its own. Nothing of them runs here, but for one that has
no wheel: its own build script, as everywhere.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bakery.errors import BakeryError, DriverError
from bakery.util import tools
from bakery.util.context import WorkContext
from bakery.util.extras import install_hint
from bakery.util.lock import hold

FORMAT: Final = 1
"""Of what is kept; another number makes all of it anew."""
FRESH: Final = 7 * 24 * 3600
"""Seconds after which a newer version is looked for."""
TIMEOUT: Final = 1800.0
GLIBC: Final = (17, 28, *range(31, 41))
"""Minor versions of glibc 2 that uv knows as platforms."""
MACHINES: Final = ("x86_64", "aarch64")
UV_NAMES: Final = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_TRUSTED_HOST": "UV_INSECURE_HOST"}
"""What pip calls how an index is reached, and what uv does."""
INDEXES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")


@dataclass(frozen=True, kw_only=True)
class GuestPython:
    """The machine's Python.

    Args:
        executable: its path.
        version: `3.11.2`.
        implementation: `cpython`.
        machine: `x86_64`; empty for one of 32 bits.
        libc: `glibc 2.36`; empty for musl's.
        magic: what its bytecode begins with, in hexadecimal.
        free_threaded: True where it has no global lock, and wheels of its own.
    """

    executable: str
    version: str
    implementation: str
    machine: str
    libc: str
    magic: str
    free_threaded: bool = False

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def platform(self) -> str:
        """What uv calls its platform; empty where it has no name for it."""
        if self.implementation != "cpython" or self.free_threaded or self.machine not in MACHINES:
            return ""
        if not self.libc:
            return f"{self.machine}-unknown-linux-musl"
        found = re.fullmatch(r"glibc 2\.(\d+)", self.libc)
        known = [minor for minor in GLIBC if found and minor <= int(found[1])]
        return f"{self.machine}-manylinux_2_{known[-1]}" if known else ""


class _NotHereError(BakeryError):
    """It cannot be put together on this host."""


def python_tree(
    work: WorkContext, python: GuestPython, requirements: Sequence[str], without: Sequence[str], timeout: float | None
) -> Path | None:
    """Return a folder of this host's with `bin` and `lib` of an environment; None where the machine must make its own.

    It is kept in the cache, and made anew after a week, so that newer versions are found.

    Args:
        work: whose build it is.
        python: the machine's.
        requirements: as pip takes them.
        without: packages that are left out, unless they are required by name.
        timeout: seconds.
    """
    try:
        order = _order(python, requirements, without, timeout)
        kept = work.cache / "downloads" / f"python-{_key(order)}"
        with hold(kept / "lock", what="another bake is installing the same Python packages", work=work):
            return _kept_or_made(work, order, kept)
    except _NotHereError as error:
        work.notice(f"{_reason(error)}; so pip installs {' '.join(requirements)} on the machine", hint=error.hint)
        return None


def _reason(error: _NotHereError) -> str:
    """Put what happened into one line: what uv said, without its own command line."""
    said = [line.strip() for line in error.why.splitlines()[1:] if line.strip()]
    return f"{error.what}: {' '.join(said)}" if said else error.what


@dataclass(frozen=True)
class _Order:
    python: GuestPython
    requirements: tuple[str, ...]
    without: tuple[str, ...]
    timeout: float | None


def _order(python: GuestPython, requirements: Sequence[str], without: Sequence[str], timeout: float | None) -> _Order:
    if not python.platform:
        raise _NotHereError(f"uv has no name for the platform of the machine's Python ({python})")
    named = {canonicalize_name(_requirement(text).name) for text in requirements}
    left_out = tuple(name for name in without if canonicalize_name(name) not in named)
    return _Order(python, tuple(requirements), left_out, timeout)


def _requirement(text: str) -> Requirement:
    """Read a requirement; what is a file or a URL may mean the machine's own."""
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise _NotHereError(f"{text} is no name with a version") from None
    if found.url:
        raise _NotHereError(f"{found.name} is asked for by its address")
    return found


def _key(order: _Order) -> str:
    settings = uv_settings(os.environ)
    indexes = [settings.get(name, "") for name in INDEXES]
    told = [FORMAT, asdict(order.python), sorted(order.requirements), sorted(order.without), indexes]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _kept_or_made(work: WorkContext, order: _Order, kept: Path) -> Path:
    """Return what is kept while it is fresh; what is older is still good where nothing newer can be had.

    Another bake may be reading the one that was the newest so far: it stays until there are two newer ones.
    """
    trees = sorted(kept.glob("tree-*"))
    if trees and (work.offline or time.time() - trees[-1].stat().st_mtime < FRESH):
        return trees[-1]
    part = kept / ".part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        _make(work, order, part)
    except _NotHereError as error:
        if not trees:
            raise
        work.notice(f"{_reason(error)}; so the packages that were found last are used")
        return trees[-1]
    made = part.rename(kept / f"tree-{time.time_ns()}")
    for old in trees[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return made


def _make(work: WorkContext, order: _Order, part: Path) -> None:
    site = part / "lib" / f"python{order.python.minor}" / "site-packages"
    site.mkdir(parents=True)
    try:
        _install(work, order, site)
    except DriverError as error:
        raise _NotHereError(error.what, why=error.why) from error
    for wheel in foreign(site):
        raise _NotHereError(f"{wheel} has no wheel for the machine's Python")
    if (site / "bin").is_dir():
        (site / "bin").rename(part / "bin")
    for program in (part / "bin").glob("*"):
        _address(program)
    _compile(work, order.python, site)


def _install(work: WorkContext, order: _Order, site: Path) -> None:
    left_out = site.parent / "overrides.txt"
    left_out.write_text("".join(f"{name} ; python_version < '3'\n" for name in order.without), encoding="utf-8")
    words: list[str | Path] = [
        find_uv(),
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--target",
        site,
        "--python",
        sys.executable,
    ]
    words += ["--python-version", order.python.version, "--python-platform", order.python.platform]
    words += ["--overrides", left_out, "--requirements", "-"]
    given = "\n".join(order.requirements).encode()
    env = {**uv_settings(os.environ), **({"UV_OFFLINE": "1"} if work.offline else {})}
    what = "installing Python packages for the machine on this host"
    tools.run(words, work, what=what, stdin=given, env=env, timeout=order.timeout or TIMEOUT)


def find_uv() -> str:
    """Return uv's path: of the package beside this Python, or the one on PATH."""
    if importlib.util.find_spec("uv") is not None:
        return str(importlib.import_module("uv").find_uv_bin())
    found = shutil.which("uv")
    if found is None:
        raise _NotHereError(
            "there is no uv on this host",
            hint=f"{install_hint('salt')} brings uv, which does it on this host in seconds",
        )
    return found


def uv_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return how uv reaches the index: its own variables, else those of pip; nothing else of this environment.

    Args:
        environ: this process's.
    """
    passed = ("SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    env = {name: value for name, value in environ.items() if name.startswith("UV_") or name in passed}
    for pip, uv in UV_NAMES.items():
        if environ.get(pip):
            env.setdefault(uv, environ[pip])
    seconds = environ.get("PIP_DEFAULT_TIMEOUT", "")
    if seconds.isdigit():
        env.setdefault("UV_HTTP_TIMEOUT", seconds)
    certificates = environ.get("PIP_CERT") or environ.get("REQUESTS_CA_BUNDLE")
    if certificates:
        env.setdefault("SSL_CERT_FILE", certificates)
    return {**env, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def foreign(site: Path) -> Iterator[str]:
    """Yield the packages with compiled code that was built here, for this host's Python.

    An index takes no wheel for `linux_x86_64`, which says nothing of the C library: such a one is home-made.
    """
    for file in sorted(site.glob("*.dist-info/WHEEL")):
        tags = re.findall(r"^Tag: [^-]+-[^-]+-(\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        if any(platform.startswith("linux_") for tag in tags for platform in tag.split(".")):
            yield file.parent.name.removesuffix(".dist-info")


def _address(program: Path) -> None:
    """Give a program a first line that the machine completes, in the place of one with this host's Python."""
    lines = program.read_bytes().split(b"\n")
    if lines[0] == b"#!/bin/sh" and lines[1].startswith(b"'''exec'"):  # a path that is too long for a first line
        lines[:3] = [b"#!python"]
    elif lines[0].startswith(b"#!") and b"python" in lines[0]:
        lines[0] = b"#!python"
    else:
        return
    fresh = program.with_name(f".{program.name}")  # the file may be linked to uv's cache
    fresh.write_bytes(b"\n".join(lines))
    fresh.chmod(0o755)
    fresh.replace(program)


def _compile(work: WorkContext, python: GuestPython, site: Path) -> None:
    """Compile the packages where a Python of this host writes the machine's bytecode: slow machines need minutes.

    No dates are looked at, so that a copy is as good.
    """
    words = ["-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", str(site)]
    for program in (sys.executable, shutil.which(f"python{python.minor}")):
        if program and _magic(work, program) == python.magic:
            # 1: some have files that are for another Python
            tools.run([program, *words], work, what="compiling Python packages", timeout=TIMEOUT, accept=(0, 1))
            return


def _magic(work: WorkContext, program: str) -> str:
    """Ask a Python what its bytecode begins with; empty where it is none, such as pyenv's for a version that is not."""
    code = "import importlib.util; print(importlib.util.MAGIC_NUMBER.hex())"
    try:
        return tools.run([program, "-I", "-c", code], work, what="asking Python for its bytecode").decode().strip()
    except DriverError:
        return ""
