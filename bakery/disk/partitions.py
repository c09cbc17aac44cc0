"""Partitions that a user wants behind those of the base: what they are, and what is wrong with them. Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from bakery.errors import ImagefileError
from bakery.util.units import parse_size

MIB: Final = 1 << 20
SMALLEST: Final = {"ext4": 8 * MIB, "xfs": 300 * MIB, "btrfs": 128 * MIB, "swap": MIB}
"""Bytes: mkfs.xfs refuses less than 300 MB (xfsprogs 5.19), mkfs.btrfs less than 109 MiB."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")
_MOUNT: Final = re.compile(r"(/[A-Za-z0-9_.@+-]+)+")
_OPTIONS: Final = re.compile(r"[A-Za-z0-9_.,:=%@+/-]+")
_NEVER: Final = (
    "/",
    "/boot",
    "/boot/efi",
    "/efi",
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/dev",
    "/proc",
    "/sys",
    "/run",
)
"""Mount points that a running system cannot do without while they are moved."""

FileSystem = Literal["ext4", "xfs", "btrfs", "swap"]


def _size(value: str | int, what: str) -> int:
    try:
        number = parse_size(value)
    except ValueError:
        number = 0
    if number < MIB:
        raise ImagefileError(f"{what}: {value!r} is not a size", hint='write it as "512M" or "2G"')
    return number - number % MIB


@dataclass(frozen=True)
class Volume:
    """A logical volume of LVM, in a partition that holds several.

    Args:
        size: `"4G"`; None for all that the others leave.
        mount: where it is mounted; empty for nowhere.
        filesystem: `ext4`, `xfs`, `btrfs` or `swap`.
        name: the volume's; after its mount point where it has none.
        options: of mount(8), for fstab.
    """

    size: str | int | None = None
    mount: str = field(default="", kw_only=True)
    filesystem: FileSystem = field(default="ext4", kw_only=True)
    name: str = field(default="", kw_only=True)
    options: str = field(default="defaults", kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what could never be made.

        Raises:
            ImagefileError: a value is wrong.
        """
        object.__setattr__(self, "name", self.name or _named(self.mount, self.filesystem))
        _check("Volume", self.name, self.mount, self.filesystem, self.options)
        _ = self.bytes

    @property
    def bytes(self) -> int:
        """Its size; 0 for all that the others leave."""
        return 0 if self.size is None else _size(self.size, f"Volume {self.name}")


@dataclass(frozen=True)
class Partition:
    """A partition behind those of the base, made before the machine boots and filled before the first task.

    Args:
        size: `"8G"`.
        mount: where it is mounted; what the base has there is moved into it. Empty for nowhere.
        filesystem: `ext4`, `xfs`, `btrfs` or `swap`.
        volumes: logical volumes of LVM in it, in place of a file system; the group is called like the partition.
        encrypted_by: the name of the secret variable that is its passphrase (LUKS2). The image does not know it:
            whoever starts a machine opens the partition, and nothing is mounted from it before.
        name: in the partition table; after its mount point where it has none.
        options: of mount(8), for fstab.
    """

    size: str | int
    mount: str = field(default="", kw_only=True)
    filesystem: FileSystem = field(default="ext4", kw_only=True)
    volumes: Sequence[Volume] = field(default=(), kw_only=True)
    encrypted_by: str = field(default="", kw_only=True)
    name: str = field(default="", kw_only=True)
    options: str = field(default="defaults", kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what could never be made.

        Raises:
            ImagefileError: a value is wrong.
        """
        object.__setattr__(self, "volumes", tuple(self.volumes))
        kind = "volumes" if self.volumes else self.filesystem
        object.__setattr__(self, "name", self.name or _named(self.mount, kind))
        _check("Partition", self.name, self.mount, self.filesystem, self.options)
        what = f"Partition {self.name}"
        if self.volumes and (self.mount or self.filesystem != "ext4"):
            raise ImagefileError(f"{what}: its volumes are mounted, not the partition", hint="Volume(..., mount=...)")
        if not self.volumes and self.bytes < SMALLEST[self.filesystem]:
            least = f"{SMALLEST[self.filesystem] // MIB}M"
            raise ImagefileError(f"{what}: {self.size!r} is too small for {self.filesystem}", hint=f"at least {least}")
        if sum(volume.bytes for volume in self.volumes) >= self.bytes:
            raise ImagefileError(f"{what}: its volumes need {self.size!r} and room for LVM's metadata", hint="4M more")
        if [volume.bytes for volume in self.volumes].count(0) > 1:
            raise ImagefileError(f"{what}: only one volume can take all that the others leave", hint="give sizes")

    @property
    def bytes(self) -> int:
        """Its size, in whole MiB."""
        return _size(self.size, f"Partition {self.name}")


@dataclass(frozen=True)
class Disk:
    """A machine's disk with partitions of one's own behind those of the base.

    Args:
        size: of the whole disk; the root gets what the partitions leave.
        layout: the partitions, in order, at the end of the disk.
    """

    size: str | int
    layout: Sequence[Partition] = ()

    def __post_init__(self) -> None:
        """Refuse what could never be made.

        Raises:
            ImagefileError: a value is wrong, or a name or mount point stands there twice.
        """
        object.__setattr__(self, "layout", tuple(self.layout))
        if wrong := [part for part in self.layout if not isinstance(part, Partition)]:
            raise ImagefileError(f"Disk(layout=[{wrong[0]!r}]): no partition", hint='Partition("8G", mount="/srv")')
        if sum(part.bytes for part in self.layout) >= self.bytes:
            raise ImagefileError(
                f"Disk({self.size!r}): its partitions leave no room for the system", hint="a larger disk"
            )
        refuse_twice(self.layout)

    @property
    def bytes(self) -> int:
        """The whole size."""
        return _size(self.size, "Disk")

    @property
    def secrets(self) -> Iterator[str]:
        """The names of the variables that hold passphrases."""
        yield from (part.encrypted_by for part in self.layout if part.encrypted_by)


def refuse_twice(layout: Sequence[Partition]) -> None:
    """Refuse a name or a mount point that stands in a machine's partitions twice, also on two disks.

    Raises:
        ImagefileError: one does.
    """
    mounts = [part.mount for part in layout]
    mounts += [volume.mount for part in layout for volume in part.volumes]
    for what, names, hint in (
        ("name", [part.name for part in layout], "name= gives one another; without it, the mount point names it"),
        ("mount point", [mount for mount in mounts if mount], "give another one"),
    ):
        if twice := [name for name in names if names.count(name) > 1]:
            raise ImagefileError(f"Disk: the {what} {twice[0]!r} stands there twice", hint=hint)


def _named(mount: str, kind: str) -> str:
    return mount.strip("/").replace("/", "-") or kind


def _check(kind: str, name: str, mount: str, filesystem: str, options: str) -> None:
    what = f"{kind} {name}"
    if not _NAME.fullmatch(name):
        raise ImagefileError(f"{kind}(name={name!r}): no name", hint="letters, digits, dots and dashes, at most 31")
    if filesystem not in SMALLEST:
        raise ImagefileError(f"{what}: no such file system: {filesystem!r}", hint=f"one of {', '.join(SMALLEST)}")
    if mount and (not _MOUNT.fullmatch(mount) or "/../" in f"{mount}/"):
        raise ImagefileError(f"{what}: {mount!r} is no place to mount it", hint='an absolute path: "/srv"')
    if mount in _NEVER:
        raise ImagefileError(
            f"{what}: {mount} cannot be moved while the system runs", hint="the root and what boots stay in the base's"
        )
    if mount and filesystem == "swap":
        raise ImagefileError(f"{what}: swap is not mounted", hint="leave out mount=")
    if not _OPTIONS.fullmatch(options):
        raise ImagefileError(f"{what}: options={options!r} are no options of mount(8)", hint='"noatime,nosuid"')
