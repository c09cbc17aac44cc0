"""Packages that a tool needs while it works, and that are gone afterwards."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bakery.provision.package_install import packages

if TYPE_CHECKING:
    from bakery.machine.machine import Machine

_HERE: Final = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p' | sort"


@contextmanager
def borrowed(m: Machine, names: Sequence[str], *, keep: bool = False) -> Generator[None]:
    """Install packages for as long as `with` holds; those that were there stay, and so does what others need of them.

    Args:
        m: the machine; apt alone can take packages back, with what came along.
        names: the packages.
        keep: True leaves them.
    """
    root = m.with_defaults(user="root")
    apt = root.facts.package_manager == "apt-get"
    before = set(root.run(_HERE, hide=True).stdout.split()) if apt else set[str]()
    missing = [name for name in names if name not in before]
    if missing:
        packages(root, *missing)
    yield
    if missing and apt and not keep:
        _take_back(root, missing)


def _take_back(root: Machine, names: Sequence[str]) -> None:
    words = ["apt-get", "--quiet", "--yes", "--option", "Dpkg::Use-Pty=0", "--option", "DPkg::Lock::Timeout=600"]
    root.run([*words, "purge", "--auto-remove", "--", *names], env={"DEBIAN_FRONTEND": "noninteractive"}, hide=True)
