"""The two files that tie a tree to its disk: grub.cfg and fstab."""

from __future__ import annotations

import re
from pathlib import Path

from bakery.disk.ext4 import LABEL
from bakery.disk.layout import Layout
from bakery.disk.rooted_path import inside
from bakery.disk.shell_settings import ShellSettings
from bakery.errors import DriverError
from bakery.util.context import WorkContext

CONSOLES = "console=tty0 console=ttyS0,115200"
"""Screen and serial line; the last one is /dev/console, where systemd and cloud-init report."""
FSTAB = f"""\
LABEL={LABEL} / ext4 errors=remount-ro,x-systemd.growfs 0 1
"""
"""`x-systemd.growfs`: the file system follows its partition, which systemd-repart grows, at every boot."""


def ties(tree: Path, layout: Layout) -> dict[str, str]:
    """Return the files, by absolute path, that tie a tree to a disk.

    Raises:
        DriverError: the tree has nothing to boot.
    """
    old = inside(tree, "etc/fstab")
    menu = grub_cfg(layout, kernels(tree), kernel_line(tree))
    return {"/etc/fstab": fstab(old.read_text() if old.is_file() else ""), "/boot/grub/grub.cfg": menu}


def kernels(tree: Path) -> list[str]:
    """Return the releases of the kernels in the tree, newest first.

    Raises:
        DriverError: there is none, or one has no initramfs.
    """
    versions = [path.name.removeprefix("vmlinuz-") for path in inside(tree, "boot").glob("vmlinuz-*")]
    if not versions:
        raise DriverError(
            "the tree has no kernel", why=f"{tree}/boot has no vmlinuz-*", hint="install linux-image-amd64 in it"
        )
    for release in versions:
        if not inside(tree, f"boot/initrd.img-{release}").exists():
            raise DriverError(f"the kernel {release} has no initramfs", hint="run `update-initramfs -c -k all` in it")
    return sorted(versions, key=_by_version, reverse=True)


def _by_version(release: str) -> tuple[tuple[int, str], ...]:
    """`6.1.0-9` is before `6.1.0-10`."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[^\d]+", release))


def kernel_line(tree: Path) -> str:
    """Return the kernel's arguments that the tree's GRUB settings ask for, as update-grub would write them."""
    values = grub_settings(tree).values
    line = f"{values.get('GRUB_CMDLINE_LINUX', '')} {values.get('GRUB_CMDLINE_LINUX_DEFAULT', '')}".strip()
    return line if "console=" in line else f"{CONSOLES} {line}".strip()


def grub_settings(tree: Path) -> ShellSettings:
    """Read the files that grub-mkconfig(8) reads, in its order: each may build on what an earlier one has set."""
    folder = "etc/default/grub.d"
    names = ["etc/default/grub", *(f"{folder}/{path.name}" for path in sorted(inside(tree, folder).glob("*.cfg")))]
    files = [(f"/{name}", inside(tree, name)) for name in names]
    return ShellSettings.read((name, path.read_text()) for name, path in files if path.is_file())


def tell_unread(tree: Path, work: WorkContext) -> None:
    """Name the settings of the kernel's arguments that need a shell, and are therefore not in the image's menu."""
    unread = [line for line in grub_settings(tree).unread if "GRUB_CMDLINE_LINUX" in line]
    if unread:
        work.notice(
            f"the kernel's arguments are not those of {'; '.join(unread)}",
            warning=True,
            hint="write them as plain assignments, or run update-grub in the finished image",
        )


def grub_cfg(layout: Layout, releases: list[str], line: str) -> str:
    """Return the first /boot/grub/grub.cfg; update-grub inside the image replaces it with its own."""
    uuid = layout.uuid("root-fs")
    head = f"set timeout=0\nset default=0\nsearch --no-floppy --fs-uuid --set=root {uuid}\n"
    entries = (
        f"menuentry 'Linux {release}' {{\n"
        f"\tlinux /boot/vmlinuz-{release} root=UUID={uuid} ro {line}\n"
        f"\tinitrd /boot/initrd.img-{release}\n"
        "}\n"
        for release in releases
    )
    return head + "".join(entries)


def fstab(text: str) -> str:
    """Return an fstab with our root in it: the lines of `text`, those for / replaced unless they name our label."""
    kept = [line for line in text.splitlines() if line.split()[1:2] != ["/"] or line.startswith(f"LABEL={LABEL} ")]
    if not any(line.split()[1:2] == ["/"] for line in kept):
        kept.insert(0, FSTAB.strip())
    return "\n".join((*kept, ""))
