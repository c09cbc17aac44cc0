"""A Python environment on the machine for the time that a tool runs there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bakery.errors import BakeryError, TaskError
from bakery.machine.output import caller

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

VENV_PACKAGES: Final = ("python3", "python3-venv")
"""What Debian and Ubuntu need for it; elsewhere Python has all of it."""
PASSED: Final = ("PIP_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "HTTPS_PROXY", "https_proxy")
"""How this host reaches PyPI, and so must the machine; only while it is used."""
_MAKE: Final = """
set -eu
folder=$1
shift
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --no-input --no-cache-dir --disable-pip-version-check --no-compile -- "$@"
"""


@contextmanager
def environment(root: Machine, requirements: Sequence[str], timeout: float | None = None) -> Generator[str]:
    """Make an environment with packages from PyPI, or where this host finds them; yield its folder of programs.

    It is in `/var/tmp`, which is on a disk, and is gone afterwards.

    Args:
        root: the machine, as root.
        requirements: as pip takes them; none makes no environment.
        timeout: seconds.

    Raises:
        TaskError: it cannot be made; says what pip said.
    """
    if not requirements:
        yield ""
        return
    folder = root.run(["mktemp", "-d", "/var/tmp/.bakery-python-XXXXXX"], hide=True).stdout.strip()  # noqa: S108  the machine's
    remove = f"rm -rf -- {shlex.quote(folder)}"
    try:
        _make(root, folder, requirements, timeout)
        yield f"{folder}/venv/bin"
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
