"""Packages that a tool needs while it works, and that are gone afterwards."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from bakery.disk.bases import checksum as checksums
from bakery.errors import BakeryError, PreflightError
from bakery.machine.access import access
from bakery.machine.output import caller
from bakery.provision.items import require
from bakery.provision.package_install import packages
from bakery.util.lasting import end_now_or_later
from bakery.util.lock import hold
from bakery.util.observer import untraced
from bakery.util.sparse_files import digest

if TYPE_CHECKING:
    from bakery.machine.access import MachineAccess
    from bakery.machine.machine import Machine

_HERE: Final = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p' | sort"


@contextmanager
def borrowed(
    m: Machine, names: Sequence[str], *, keep: bool = False, files: Mapping[str, str] | None = None
) -> Generator[None]:
    """Install packages for as long as `with` holds; those that were there stay, and so does what others need of them.

    They stay for the second run of a step that is run twice.

    Args:
        m: the machine; apt alone can take packages back, with what came along.
        names: the packages.
        keep: True leaves them.
        files: on the machine, which some of them are installed from.
    """
    if not names:
        yield
        return
    root = m.with_defaults(user="root")
    apt = root.facts.package_manager == "apt-get"
    before = set(root.run(_HERE, hide=True).stdout.split()) if apt else set[str]()
    missing = [name for name in names if name not in before]
    if missing:
        packages(root, *((files or {}).get(name, name) for name in missing))
    yield
    if missing and apt and not keep:
        end_now_or_later(lambda: _take_back(root, missing))


def _take_back(root: Machine, names: Sequence[str]) -> None:
    words = ["apt-get", "--quiet", "--yes", "--option", "Dpkg::Use-Pty=0", "--option", "DPkg::Lock::Timeout=600"]
    root.run([*words, "purge", "--auto-remove", "--", *names], env={"DEBIAN_FRONTEND": "noninteractive"}, hide=True)


@contextmanager
def borrowed_file(m: Machine, url: str, checksum: str, *, keep: bool = False) -> Generator[None]:
    """Do the same with a package that is a file of some server's, or of this host.

    It is downloaded to this host's cache, and believed by its checksum alone.

    Args:
        m: the machine.
        url: where it is, `https:` or `file:`; ends in `.deb` or `.rpm`.
        checksum: `sha256:HEX`.
        keep: True leaves it.

    Raises:
        PreflightError: it cannot be had, or is not what the checksum says.
        TaskError: it cannot be installed.
    """
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    require(name.endswith((".deb", ".rpm")), f"{url} is neither a .deb nor an .rpm")
    root = m.with_defaults(user="root")
    with untraced():  # the checksum says what it is
        local = _downloaded(access(m), url, name, checksum)
        folder = root.run(["mktemp", "-d", "/var/tmp/.bakery-package-XXXXXX"], hide=True).stdout.strip()  # noqa: S108  the machine's
        root.put(local, f"{folder}/{name}")
    package = root.run(
        ["dpkg-deb", "--field", f"{folder}/{name}", "Package"]
        if name.endswith(".deb")
        else ["rpm", "--query", "--package", "--queryformat", "%{NAME}", f"{folder}/{name}"],
        hide=True,
    ).stdout.strip()
    try:
        with borrowed(root, [package], keep=keep, files={package: f"{folder}/{name}"}):
            root.run(["rm", "-rf", "--", folder], hide=True)
            yield
    finally:
        with suppress(BakeryError):  # it may be dead, and what brought us here says more
            root.run(["rm", "-rf", "--", folder], hide=True)


def _downloaded(inside: MachineAccess, url: str, name: str, checksum: str) -> Path:
    expected = checksums.parse(checksum)
    path = inside.work.cache / "downloads" / expected.folder / name
    with hold(path.parent / "lock", what=f"another bake is downloading {name}", work=inside.work):
        if path.is_file() and digest(path, expected.algorithm, inside.work) == expected.digest:
            return path
        if inside.work.offline and not url.startswith("file:"):
            raise PreflightError(
                f"{name} is not in the cache, and downloading is switched off",
                why=f"it must have the checksum {expected}",
                hint=f"put the file at {path}, or build once without offline mode",
                where=caller(),
            )
        from bakery.disk.bases.download import Downloader  # httpx takes long to import

        Downloader(work=inside.work).fetch([url], expected, path)
    return path
