"""A Python environment on the machine for the time that a tool runs there."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bakery.errors import BakeryError, TaskError
from bakery.machine.access import access
from bakery.machine.output import caller
from bakery.provision.borrowed import borrowed
from bakery.provision.python_tree import GuestPython, python_tree
from bakery.util.observer import untraced

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

PYTHON_PACKAGES: Final = ("python3",)
"""What Debian and Ubuntu need for an environment that this host puts together."""
VENV_PACKAGES: Final = ("python3", "python3-venv")
"""What they need for one that pip makes on the machine; elsewhere Python has all of it."""
PASSED: Final = ("PIP_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "HTTPS_PROXY", "https_proxy")
"""How this host reaches PyPI, and so must the machine; only while it is used."""
# what every Python since 3.4 understands
_ASK: Final = """
import importlib.util, json, os, platform, sys, sysconfig
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    libc = ""
print(json.dumps({
    "executable": sys.executable,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "implementation": sys.implementation.name,
    "machine": platform.machine() if sys.maxsize > 2 ** 32 else "",
    "libc": libc,
    "magic": "".join("%02x" % byte for byte in importlib.util.MAGIC_NUMBER),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""
# A virtual environment is a link to Python beside a file that names it; python -m venv makes the same, with pip in it,
# which takes a slow machine half a minute. The programs were given this first line on our host.
ARRANGE: Final = """
set -eu
folder=$1 python=$2 version=$3
mkdir -p "$folder/bin"
for program in "$folder"/bin/*; do
  [ ! -f "$program" ] || sed -i "1s|^#!python\\$|#!$folder/bin/python|" "$program"
done
ln -s -- "$python" "$folder/bin/python"
ln -s python "$folder/bin/python3"
{
  echo "home = ${python%/*}"
  echo "include-system-site-packages = false"
  echo "version = $version"
} >"$folder/pyvenv.cfg"
"""
_MAKE: Final = """
set -eu
folder=$1
shift
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --no-input --no-cache-dir --disable-pip-version-check --no-compile -- "$@"
"""


@dataclass(frozen=True, kw_only=True)
class PythonNeeds:
    """What an environment is made of.

    Args:
        requirements: as pip takes them.
        packages: of the machine's own package manager, there for as long as the environment is. When None: Python, and
            where pip works on the machine what that needs.
        compilers: more of these, for pip on the machine, where a package has no wheel.
        without: packages that the requirements name as theirs, and can do without; only pip installs them.
    """

    requirements: tuple[str, ...]
    packages: tuple[str, ...] | None = None
    compilers: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        install: Sequence[str] | str | None,
        packages: Sequence[str] | None,
        *,
        compilers: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
    ) -> PythonNeeds:
        """Make them from what a user gives; without anything to install there is nothing to borrow."""
        wanted = (install,) if isinstance(install, str) else tuple(install or ())
        given = None if packages is None else tuple(packages)
        return cls(requirements=wanted, packages=given, compilers=compilers, without=without)


@contextmanager
def environment(m: Machine, needs: PythonNeeds, timeout: float | None = None) -> Generator[str]:
    """Make an environment with packages from PyPI, or where this host finds them; yield its folder of programs.

    This host puts it together where it can, and sends it: a slow machine would need minutes for that, and many of them
    have no way to PyPI. Else pip does on the machine. It is in `/var/tmp`, which is on a disk, and is gone afterwards.

    Args:
        m: the machine.
        needs: what it is made of; without requirements no environment is made.
        timeout: seconds.

    Raises:
        TaskError: it cannot be made; says what pip said.
    """
    if not needs.requirements:
        yield ""
        return
    root = m.with_defaults(user="root")
    with ExitStack() as stack:
        stack.enter_context(borrowed(m, needs.packages or ()))
        python = _ask(root)
        if python is None and needs.packages is None:
            stack.enter_context(borrowed(m, PYTHON_PACKAGES))
            python = _ask(root)
        folder = stack.enter_context(_folder(root))
        with untraced():  # what is installed is what the task's own code asks for
            tree = python and python_tree(access(m).work, python, needs.requirements, needs.without, timeout)
            if tree:
                root.copy(tree, f"{folder}/venv")
        if python and tree:
            words = ["sh", "-c", ARRANGE, "bakery-arrange", f"{folder}/venv", python.executable, python.version]
            root.run(words, hide=True)
        else:
            if needs.packages is None:
                stack.enter_context(borrowed(m, (*VENV_PACKAGES, *needs.compilers)))
            _make(root, folder, needs.requirements, timeout)
        yield f"{folder}/venv/bin"


def _ask(root: Machine) -> GuestPython | None:
    """Ask the machine's Python what it is; None where there is none."""
    done = root.run(["python3", "-c", _ASK], warn=True, hide=True)
    return GuestPython(**json.loads(done.stdout)) if done.ok else None


@contextmanager
def _folder(root: Machine) -> Generator[str]:
    """Make a folder of the machine's that is gone afterwards."""
    folder = root.run(["mktemp", "-d", "/var/tmp/.bakery-python-XXXXXX"], hide=True).stdout.strip()  # noqa: S108  the machine's
    remove = f"rm -rf -- {shlex.quote(folder)}"
    try:
        yield folder
    except BaseException:
        with suppress(BakeryError):  # it may be dead, and what brought us here says more
            root.run(remove, hide=True)
        raise
    root.run(remove, hide=True)


def _make(root: Machine, folder: str, requirements: Sequence[str], timeout: float | None) -> None:
    words = ["sh", "-c", _MAKE, "bakery-venv", f"{folder}/venv", *requirements]
    done = root.run(words, env=_way_to_pypi(root, folder), warn=True, hide=True, timeout=timeout)
    if done.failed:
        raise TaskError(
            f"no Python environment with {shlex.join(requirements)} can be made on the machine",
            why="\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:]),
            where=caller(),
            hint="it needs python3 with venv, and a way to PyPI",
        )


def _way_to_pypi(root: Machine, folder: str) -> Mapping[str, str]:
    """Give the machine what this host reaches PyPI with."""
    env = {name: os.environ[name] for name in PASSED if name in os.environ}
    certificates = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    if certificates and Path(certificates).is_file():
        root.write(f"{folder}/ca.pem", Path(certificates).read_bytes())
        env["PIP_CERT"] = f"{folder}/ca.pem"
    return env
