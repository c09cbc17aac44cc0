"""How a Debian base is made, and where it is kept. Imported when one is looked for, not when one is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bakery.disk import build
from bakery.disk.bases import debian_recipe as recipe
from bakery.disk.bases import owners
from bakery.disk.bases.debian_recipe import DebianChoice
from bakery.disk.bases.generations import BaseGenerations
from bakery.disk.bases.host_apt import HostApt, host_apt
from bakery.util.tools import alone, dies_with_us, root, run

if TYPE_CHECKING:
    from bakery.util.context import WorkContext

ONE_INITRAMFS = {"INITRD": "No"}
"""Kernels make no initramfs when they are installed (update-initramfs's hook knows it): `setup.sh` makes the one."""
PIPELINE = """
set -o pipefail
unpack=("${@:2:$1}")
shift "$(($1 + 1))"
"$@" | "${unpack[@]}"
"""
"""Its arguments: how many words unpack, these, and those that pack."""


def shelf(base: DebianChoice, work: WorkContext) -> BaseGenerations:
    """Return where a base is in the cache: in a place of its own for everybody who sees other owners in one tree."""
    name = f"debian-{base.suite}-{digest(base)[:16]}{owners.suffix()}"
    age = None if base.snapshot else base.max_age.total_seconds()
    folder = work.cache / "bases" / name
    return BaseGenerations(folder, work=work, what=f"Debian {base.suite}", max_age=age, recipe=decides(base))


def digest(base: DebianChoice) -> str:
    """Digest all that decides the content."""
    return hashlib.sha256(json.dumps([*decides(base).values()]).encode()).hexdigest()


def decides(base: DebianChoice) -> dict[str, Any]:
    """Return all that decides the content; not the host's mirror, which has the same packages.

    Those that a user says have the names of arguments: `packages=`.
    """
    own = {path: [hashlib.sha256(data).hexdigest(), mode] for path, (data, mode) in recipe.own_files().items()}
    return {
        "version": recipe.VERSION,
        "suite": base.suite,
        "common packages": recipe.PACKAGES,
        "packages of the suite": recipe.SUITES[base.suite].packages,
        "packages=": sorted(set(base.packages)),
        "mirror=": base.mirror,
        "snapshot=": base.snapshot,
        "answers": recipe.DEBCONF,
        "files": own,
    }


def lines(base: DebianChoice, host: HostApt | None) -> tuple[list[str], list[str]]:
    """Return sources.list while the tree is made, and the one that stays inside."""
    stays = recipe.sources(base.suite, base.mirror or recipe.ARCHIVE)
    if base.snapshot:
        at = [f"{recipe.SNAPSHOT}/{name}/{base.snapshot}" for name in ("debian", "debian-security")]
        return recipe.sources(base.suite, *at, options="check-valid-until=no"), stays
    if base.mirror is None and host is not None:
        return recipe.sources(base.suite, host.archive, host.security, options=host.options), stays
    return stays, stays


def tree(base: DebianChoice, folder: Path, work: WorkContext) -> None:
    """Make `folder/tree`.

    Raises:
        DriverError: mmdebstrap fails.
        Interrupted: when cancelled.
    """
    host = host_apt(base.suite)
    used, stays = lines(base, host)
    to = folder / "tree"
    with TemporaryDirectory(dir=folder) as scratch:
        words = _words(base, Path(scratch), stays, host)
        run(
            _unpacked((*words, "-", *used), to) if root() else (*alone(), *words, to, *used),
            work,
            what=f"making Debian {base.suite}",
            timeout=3600,
            env=ONE_INITRAMFS,
            on_line=_teller(base, work),
            hint="is the mirror reachable, and the name of every package right?",
        )


def _unpacked(words: Sequence[str | Path], to: Path) -> tuple[str | Path, ...]:
    """Return the words that unpack what a program packs, while it does; both end with the shell between them and us."""
    to.mkdir()
    unpack = (*dies_with_us(), *build.unpack_words("-", to))
    return ("bash", "-c", PIPELINE, "pack", str(len(unpack)), *unpack, *dies_with_us(), *words)


def _words(base: DebianChoice, scratch: Path, stays: list[str], host: HostApt | None) -> list[str]:
    """Write what mmdebstrap reads, and return how to call it."""
    contents = recipe.own_files()
    late = {path: contents.pop(path) for path in ("setup.sh", "etc/hostname", "etc/hosts")}
    late["etc/apt/sources.list"] = ("".join(f"{line}\n" for line in stays).encode(), 0o644)
    (scratch / "early.tar").write_bytes(recipe.archive(contents))
    (scratch / "late.tar").write_bytes(recipe.archive(late))
    conf = scratch / "apt.conf" if host is not None and host.conf else None
    if conf is not None and host is not None:
        conf.write_text(host.conf)
    return recipe.words(
        base.suite,
        base.packages,
        early=scratch / "early.tar",
        late=scratch / "late.tar",
        conf=conf,
        mode="unshare" if root() else "root",
    )


def _teller(base: DebianChoice, work: WorkContext) -> Callable[[str], None]:
    """Return what hands mmdebstrap's progress on."""

    def heard(line: str) -> None:
        if line.startswith("I: ") and "hook" not in line:
            work.waiting(f"Debian {base.suite}: {line[3:].removesuffix('...')}")

    return heard
