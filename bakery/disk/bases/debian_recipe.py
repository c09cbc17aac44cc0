"""What goes into a Debian base: the words for mmdebstrap. Pure data and pure functions."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Protocol

VERSION = 2
"""Part of every key. Raise it when something else than packages and files changes what is made."""

ARCHIVE = "http://deb.debian.org/debian"
SECURITY = "http://security.debian.org/debian-security"
SNAPSHOT = "http://snapshot.debian.org/archive"

PACKAGES = (
    # starts
    "linux-image-amd64",
    "initramfs-tools",
    "zstd",
    "grub-pc",
    "grub-efi-amd64-bin",
    "systemd-sysv",
    "udev",
    "kmod",
    # is reached
    "openssh-server",
    "cloud-init",
    "systemd-timesyncd",
    "iproute2",
    "netbase",
    "ca-certificates",
    # is at home
    "dbus",
    "libpam-systemd",
    "sudo",
    "procps",
    "e2fsprogs",
    "tzdata",
    "apt-utils",
    "less",
    "nano",
    "iputils-ping",
    "python3-minimal",
    "python3-apt",
)
"""The full kernel: Debian's cloud kernel has no AHCI and no e1000, so it does not see SATA disks."""

DEBCONF = """\
grub-pc grub-pc/install_devices multiselect
grub-pc grub-pc/install_devices_empty boolean true
"""
"""GRUB is written by offset; grub-pc shall not look for a disk, now or when it is upgraded."""


class DebianChoice(Protocol):
    """What a user chose of a Debian base; `Debian` describes each."""

    @property
    def suite(self) -> str:
        """The release."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """More packages."""
        ...

    @property
    def mirror(self) -> str | None:
        """An archive of the user's."""
        ...

    @property
    def snapshot(self) -> str | None:
        """A moment of snapshot.debian.org."""
        ...

    @property
    def max_age(self) -> timedelta:
        """How old it may be."""
        ...


@dataclass(frozen=True)
class Suite:
    """What differs between releases.

    Args:
        packages: names beyond `PACKAGES`.
        credentials: True where systemd (252 or newer) takes credentials from SMBIOS.
        security: the suite with security updates, by its full name; None for sid, which gets them, as all its
            updates, in the one suite that it is.
    """

    packages: tuple[str, ...]
    credentials: bool
    security: str | None


NEWER = ("systemd-resolved", "libnss-resolve", "systemd-repart")
"""What was part of the package systemd in older releases."""
SUITES: Mapping[str, Suite] = {
    "bullseye": Suite((), credentials=False, security="bullseye-security"),
    "bookworm": Suite(("systemd-resolved", "libnss-resolve"), credentials=True, security="bookworm-security"),
    "trixie": Suite(NEWER, credentials=True, security="trixie-security"),
    "forky": Suite(NEWER, credentials=True, security="forky-security"),
    "sid": Suite(NEWER, credentials=True, security=None),
}


def own_files() -> dict[str, tuple[bytes, int]]:
    """Return the files that we add to the tree: path without a leading slash to content and mode."""
    contents: dict[str, tuple[bytes, int]] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            else:
                content = entry.read_bytes()
                contents[prefix + entry.name] = (content, 0o755 if content.startswith(b"#!") else 0o644)

    walk(files("bakery.disk.bases") / "debian_files", "")
    return dict(sorted(contents.items()))


def archive(contents: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Return a tar archive of files that belong to root; folders are left to whoever unpacks."""
    import tarfile  # slow to import, and most bases are there

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, (content, mode) in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def sources(suite: str, archive_url: str = ARCHIVE, security_url: str = SECURITY, *, options: str = "") -> list[str]:
    """Return the lines of sources.list: the suite and, where it has them, its updates and its security updates.

    Args:
        suite: `bookworm`.
        archive_url: where the suite and its updates are.
        security_url: where its security updates are.
        options: in brackets: `check-valid-until=no`.
    """
    what = "main"
    head = f"deb [{options}]" if options else "deb"
    lines = [f"{head} {archive_url} {suite} {what}"]
    if security := SUITES[suite].security:
        lines += [f"{head} {archive_url} {suite}-updates {what}", f"{head} {security_url} {security} {what}"]
    return lines


def words(
    suite: str,
    packages: Sequence[str],
    *,
    early: Path,
    late: Path,
    conf: Path | None,
    mode: str,
) -> list[str]:
    """Return the mmdebstrap command up to its target and mirrors.

    Args:
        suite: `bookworm`.
        packages: more packages than ours.
        early: tar archive of files that packages must find when they are configured.
        late: tar archive with `setup.sh` and the final sources.list.
        conf: apt settings while it works.
        mode: `root` or `unshare`.
    """
    chosen = (*PACKAGES, *SUITES[suite].packages, *packages)
    debconf = f'printf %s {shlex.quote(DEBCONF)} | chroot "$1" debconf-set-selections'
    return [
        "mmdebstrap",
        f"--mode={mode}",
        "--variant=minbase",
        f"--include={','.join(chosen)}",
        "--skip=cleanup/apt/lists",  # so that the first `apt-get update` on a machine has little to fetch
        "--aptopt=APT::Install-Recommends false",
        "--aptopt=Acquire::Languages none",
        *((f"--aptopt={conf}",) if conf else ()),
        "--dpkgopt=force-unsafe-io",
        f"--essential-hook=tar-in {shlex.quote(str(early))} /",
        f"--essential-hook={debconf}",
        f"--customize-hook=tar-in {shlex.quote(str(late))} /",
        '--customize-hook=chroot "$1" sh /setup.sh',
        '--customize-hook=rm "$1/setup.sh"',
        suite,
    ]
