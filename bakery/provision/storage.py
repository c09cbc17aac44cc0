"""Filling the partitions of a layout inside the machine: LUKS, LVM, file systems, swap, fstab; before any task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bakery.disk.partitions import Partition, Volume
from bakery.errors import TaskError
from bakery.provision.package_install import packages

if TYPE_CHECKING:
    from bakery.machine.machine import Machine
    from bakery.redaction.secret import Secret

TOOLS: Final[Mapping[str, tuple[str, str]]] = {
    "ext4": ("mkfs.ext4", "e2fsprogs"),
    "xfs": ("mkfs.xfs", "xfsprogs"),
    "btrfs": ("mkfs.btrfs", "btrfs-progs"),
    "lvm": ("lvm", "lvm2"),
    "luks": ("cryptsetup", "cryptsetup"),
}
"""What each needs on the machine: a program, and the package that has it nearly everywhere."""
MAKE: Final[Mapping[str, tuple[str, ...]]] = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "swap": ("mkswap",),
}
TIMEOUT: Final = 900.0
_MOVE: Final = """\
set -eu
device=$1 type=$2 options=$3 point=$4
mkdir -p "$point"
aside=$(mktemp -d /run/bakery-layout.XXXXXX)
mount -t "$type" "$device" "$aside"
cp -a "$point/." "$aside/"
umount "$aside"
mount -t "$type" -o "$options" "$device" "$point"
mount --bind "$(dirname "$point")" "$aside"
find "$aside/$(basename "$point")" -mindepth 1 -xdev -delete
umount "$aside"
rmdir "$aside"
! command -v restorecon >/dev/null || restorecon -R "$point" || :
"""
"""What is there is moved into it, and what the mount hides is deleted: it would be in the image, unseen."""
_FIND: Final = """\
! command -v udevadm >/dev/null || udevadm settle
blkid --match-token "PARTLABEL=$1" --output device | head -n 1
"""


@dataclass(frozen=True)
class _Place:
    """A device that gets a file system."""

    device: str
    item: Partition | Volume
    closed: bool = False


def apply_layout(m: Machine, layout: Sequence[Partition], secrets: Mapping[str, Secret]) -> None:
    """Make what is in the partitions of a layout, and mount it.

    Args:
        m: the machine, as it booted for the first time.
        layout: its partitions, which are in its table.
        secrets: passphrases, by the name of their variable.

    Raises:
        TaskError: a partition is not there, or a tool fails; with its words.
    """
    _install(m, layout)
    places = [place for part in layout for place in _places(m, part, secrets)]
    for place in places:
        kind = place.item.filesystem
        m.run([*MAKE[kind], place.device], hide=True, timeout=TIMEOUT)
    for place in sorted(places, key=lambda place: place.item.mount.count("/")):
        _mount(m, place)
    m.run("[ ! -d /run/systemd/system ] || systemctl daemon-reload", hide=True)


def _install(m: Machine, layout: Sequence[Partition]) -> None:
    """Install the tools that the machine lacks."""
    wanted = [item.filesystem for part in layout for item in (part.volumes or (part,)) if item.filesystem != "swap"]
    kinds: list[str] = [*wanted, *("lvm" for part in layout if part.volumes)]
    kinds += ["luks" for part in layout if part.encrypted_by]
    for program, package in dict.fromkeys(TOOLS[kind] for kind in kinds):
        if m.run(f"command -v {program}", hide=True, warn=True).failed:
            packages(m, package)


def _places(m: Machine, part: Partition, secrets: Mapping[str, Secret]) -> Iterator[_Place]:
    device = m.run(["sh", "-c", _FIND, "sh", part.name], hide=True).stdout.strip()
    if not device:
        raise TaskError(
            f"the partition {part.name} is not there",
            why="the machine's kernel shows none of that name",
            hint="does the base's first boot write a partition table of its own?",
        )
    if part.encrypted_by:
        device = _encrypted(m, device, part, secrets[part.encrypted_by])
    if not part.volumes:
        yield _Place(device, part, closed=bool(part.encrypted_by))
        return
    group = part.name
    m.run(["lvm", "pvcreate", "--quiet", "--yes", "--force", device], hide=True, timeout=TIMEOUT)
    m.run(["lvm", "vgcreate", "--quiet", group, device], hide=True, timeout=TIMEOUT)
    for volume in sorted(part.volumes, key=lambda volume: volume.bytes == 0):  # the one that takes the rest comes last
        size = ["--size", f"{volume.bytes}b"] if volume.bytes else ["--extents", "100%FREE"]
        words = ["lvm", "lvcreate", "--quiet", "--yes", "--wipesignatures", "y", *size, "--name", volume.name, group]
        m.run(words, hide=True, timeout=TIMEOUT)
        yield _Place(f"/dev/{group}/{volume.name}", volume, closed=bool(part.encrypted_by))


def _encrypted(m: Machine, device: str, part: Partition, passphrase: Secret) -> str:
    """Make a LUKS2 volume and open it; the passphrase is read from standard input alone."""
    fixed = ["cryptsetup", "--batch-mode", "--key-file", "-"]
    m.run([*fixed, "luksFormat", "--type", "luks2", device], input=passphrase, hide=True, timeout=TIMEOUT)
    name = f"{part.name}-open"
    m.run([*fixed, "open", device, name], input=passphrase, hide=True, timeout=TIMEOUT)
    uuid = m.run(["cryptsetup", "luksUUID", device], hide=True).stdout.strip()
    _append(m, "/etc/crypttab", f"{name} UUID={uuid} none luks,noauto")
    return f"/dev/mapper/{name}"


def _mount(m: Machine, place: _Place) -> None:
    """Write the line of fstab, and mount it."""
    item = place.item
    options = f"{item.options},noauto,nofail" if place.closed else item.options
    if item.filesystem == "swap":
        _append(m, "/etc/fstab", f"{_spec(m, place)} none swap {options} 0 0")
    elif item.mount:
        check = 2 if item.filesystem == "ext4" else 0
        _append(m, "/etc/fstab", f"{_spec(m, place)} {item.mount} {item.filesystem} {options} 0 {check}")
        words = ["sh", "-c", _MOVE, "sh", place.device, item.filesystem, item.options, item.mount]
        m.run(words, hide=True, timeout=TIMEOUT)


def _spec(m: Machine, place: _Place) -> str:
    """Return what fstab calls a device: a volume by its path, as LVM's users do, a partition by the UUID inside."""
    if isinstance(place.item, Volume) or place.closed:
        return place.device
    uuid = m.run(["blkid", "--match-tag", "UUID", "--output", "value", place.device], hide=True).stdout.strip()
    return f"UUID={uuid}"


def _append(m: Machine, file: str, line: str) -> None:
    m.run(["sh", "-c", 'printf "%s\\n" "$1" >>"$2"', "sh", line, file], hide=True)
