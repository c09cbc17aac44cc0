"""A Debian base, made on this host: no cloud account, no downloaded image, no root where user namespaces work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bakery.disk.bases.base import Base, BaseDisk, BaseTree
from bakery.errors import DriverError, ImagefileError
from bakery.model import Problem

if TYPE_CHECKING:
    from bakery.disk.bases.generations import BaseGenerations
    from bakery.util.context import WorkContext

SUITES = ("bullseye", "bookworm", "trixie", "forky", "sid")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True)
class Debian(Base):
    """Debian, made with mmdebstrap from its archive.

    Made once and kept in the shared cache. Without `snapshot` the archive moves on, so the base is made anew when it
    is older than `max_age`; where the archive gave the same packages, its key stays and no step is repeated.

    Args:
        suite: `bullseye`, `bookworm`, `trixie`, or what is not released yet: `forky` and `sid`.
        packages: more packages to install into the base; recommended ones do not come with them.
        mirror: an archive to install from, which also stays in the image's sources.list. When not given, the mirror
            that this host's apt uses, and the distribution's default stays in the image.
        snapshot: a moment of snapshot.debian.org, as in `20261101T000000Z`: the same packages, today and in a year.
        max_age: how old a base without a snapshot may be.
    """

    suite: str
    packages: tuple[str, ...] = ()
    mirror: str | None = None
    snapshot: str | None = None
    max_age: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        """Refuse what could never be made.

        Raises:
            ImagefileError: a value is wrong.
        """
        object.__setattr__(self, "packages", tuple(self.packages))
        if self.suite not in SUITES:
            raise _no_suite(self.suite)
        for name in self.packages:
            if not PACKAGE.fullmatch(name):
                raise ImagefileError(f"{name!r} is not the name of a Debian package")
        if self.mirror is not None and not re.fullmatch(r"(https?|file|copy)://?[^\s\[\]]+", self.mirror):
            raise ImagefileError(f"{self.mirror!r} is not the address of a mirror", hint="as in http://HOST/debian")
        if self.snapshot is not None and not TIMESTAMP.fullmatch(self.snapshot):
            raise ImagefileError(f"{self.snapshot!r} is not a snapshot", hint="as in 20261101T000000Z")
        if self.snapshot is not None and self.mirror is not None:
            raise ImagefileError("a base comes from a mirror or from a snapshot", hint="leave one of the two out")

    def check(self) -> Iterator[Problem]:
        """Yield the programs that are missing, and the user ids that somebody who is not root needs."""
        from bakery.disk import build
        from bakery.util.tools import missing, root

        yield from missing({"mmdebstrap": "mmdebstrap"})
        yield from build.check()
        if root():
            yield from _subordinate_ids()

    def key(self, work: WorkContext) -> str | None:
        """Return the content key of the base in the cache, if it is there and young enough."""
        return self._shelf(work).key()

    def tree(self, work: WorkContext) -> BaseTree:
        """Make the tree of files or find it in the cache: the very one that `disk` is made of.

        Raises:
            DriverError: mmdebstrap fails.
            PreflightError: offline, and there is none in the cache.
        """
        folder = self._shelf(work).tree(self._make)
        return BaseTree(path=folder / "tree", key=folder.name, login=self._login)

    def disk(self, work: WorkContext) -> BaseDisk:
        """Make the disk or find it in the cache.

        Raises:
            DriverError: a tool fails.
            PreflightError: offline, and there is none in the cache.
        """
        folder = self._shelf(work).disk(self._make)
        return BaseDisk(path=folder / "disk.raw", format="raw", key=folder.name, login=self._login)

    def intact(self, work: WorkContext) -> bool:
        """Read the whole disk in the cache and say whether it is as it was made."""
        return self._shelf(work).intact()

    @property
    def _login(self) -> Literal["credentials", "nocloud"]:
        from bakery.disk.bases import debian_recipe as recipe

        return "credentials" if recipe.SUITES[self.suite].credentials else "nocloud"

    # What makes a base is imported when one is looked for: an imagefile that is only listed loads none of it.

    def _shelf(self, work: WorkContext) -> BaseGenerations:
        from bakery.disk.bases import debian_build

        return debian_build.shelf(self, work)

    def _make(self, folder: Path, work: WorkContext) -> None:
        from bakery.disk.bases import debian_build

        debian_build.tree(self, folder, work)


def _no_suite(suite: str) -> ImagefileError:
    from bakery.disk.bases.publishers import whose  # nothing is misspelt, mostly

    others = [name for name in whose(str(suite)) if not name.startswith("Debian")]
    hint = f"did you mean {others[0]}?" if others else f"one of {', '.join(SUITES)}"
    return ImagefileError(f"Debian has no suite {suite!r} that bakery knows", hint=hint)


def _subordinate_ids() -> Iterator[Problem]:
    name, table = str(os.getuid()), Path("/etc/subuid")
    names = {name, os.environ.get("USER", name)}
    lines = table.read_text().splitlines() if table.exists() else []
    if not any(line.split(":")[0] in names for line in lines):
        yield Problem(
            what="this user has no subordinate user ids, so a tree of many owners cannot be made without root",
            hint="usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER, or run bake as root",
        )
    else:
        yield from _namespace()


def _namespace() -> Iterator[Problem]:
    """Try one: a kernel, a container or a chroot can refuse it."""
    from bakery.util.context import WorkContext
    from bakery.util.tools import root, run

    try:
        run((*root(), "true"), WorkContext(cache=Path()), what="a user namespace", timeout=10)
    except DriverError as error:
        yield Problem(
            what="this user gets no user namespace, so a tree of many owners cannot be made without root",
            why=error.why,
            hint="allow it, often by `sysctl kernel.unprivileged_userns_clone=1`, or run bake as root",
        )
