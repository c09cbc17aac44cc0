"""Partitions of one's own: what may be written, and what is refused when the file is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakery.drivers import Debian, Disk, Nspawn, Partition, Qemu, VirtualBox, Volume
from bakery.errors import ImagefileError
from bakery.model import to_json

MIB = 1 << 20


def test_a_partition_is_called_after_its_place() -> None:
    assert Partition("1G", mount="/var/lib/data").name == "var-lib-data"
    assert Partition("1G", filesystem="swap").name == "swap"
    assert Partition("1G", volumes=[Volume(mount="/a")]).name == "volumes"
    assert Partition("1G", mount="/srv", name="mine").name == "mine"
    assert Volume("1G", mount="/var/log").name == "var-log"
    assert Partition("8.5M").bytes == 8 * MIB, "whole MiB"


def test_a_disk_is_data_that_goes_into_the_plan() -> None:
    disk = Disk("40G", layout=[Partition("1G", mount="/srv", encrypted_by="key")])
    assert disk == Disk("40G", layout=(Partition("1G", mount="/srv", encrypted_by="key"),))
    assert hash(disk)
    assert [*disk.secrets] == ["key"]
    source = Qemu(base=Debian("bookworm"), disk=disk)
    assert source.disk_bytes == 40 << 30
    assert source.layout == disk.layout
    assert Qemu(base=Debian("bookworm"), disk="8G").layout == ()
    shown = to_json(source)
    assert isinstance(shown, dict)
    assert "/srv" in str(shown["disk"])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Partition("x"), "'x' is not a size"),
        (lambda: Partition("1K"), "'1K' is not a size"),
        (lambda: Partition("100M", filesystem="xfs"), "too small for xfs"),
        (lambda: Partition("1G", filesystem="zfs"), "no such file system: 'zfs'"),  # type: ignore[arg-type]
        (lambda: Partition("1G", mount="srv"), "no place to mount it"),
        (lambda: Partition("1G", mount="/srv/../etc"), "no place to mount it"),
        (lambda: Partition("1G", mount="/usr"), "cannot be moved while the system runs"),
        (lambda: Partition("1G", mount="/"), "no place"),
        (lambda: Partition("1G", mount="/a", filesystem="swap"), "swap is not mounted"),
        (lambda: Partition("1G", mount="/a", options="a b"), "no options of mount"),
        (lambda: Partition("1G", name="-x"), "no name"),
        (lambda: Partition("1G", name="x" * 40), "no name"),
        (lambda: Partition("1G", mount="/a", volumes=[Volume(mount="/b")]), "its volumes are mounted"),
        (lambda: Partition("1G", volumes=[Volume("1G", mount="/b")]), "room for LVM's metadata"),
        (lambda: Partition("1G", volumes=[Volume(mount="/b"), Volume(mount="/c")]), "only one volume can take"),
        (lambda: Disk("1G", layout=[Partition("1G")]), "leave no room for the system"),
        (
            lambda: Disk("9G", layout=[Partition("1G", mount="/a"), Partition("1G", mount="/a")]),
            "'a' stands there twice",
        ),
        (
            lambda: Disk("9G", [Partition("1G", mount="/a"), Partition("1G", name="v", volumes=[Volume(mount="/a")])]),
            "mount point '/a' stands there twice",
        ),
        (lambda: Disk("9G", layout=["1G"]), "no partition"),  # type: ignore[list-item]  # what a slip looks like
        (lambda: Nspawn(base=Debian("bookworm"), disk=Disk("9G")), "takes a size alone"),  # type: ignore[arg-type]
        (lambda: Qemu(base=Debian("bookworm"), disks=Disk("9G")), "not a list of disks"),  # type: ignore[arg-type]
        (lambda: Qemu(base=Debian("bookworm"), disks=["9G"]), "not a list of disks"),  # type: ignore[arg-type]
        (lambda: Qemu(base=Debian("bookworm"), disks=(Disk("1G"),) * 5), "at most 4"),
        (
            lambda: Qemu(
                base=Debian("bookworm"),
                disk=Disk("9G", [Partition("1G", mount="/a")]),
                disks=(Disk("9G", [Partition("1G", name="b", mount="/a")]),),
            ),
            "mount point '/a' stands there twice",
        ),
        (lambda: VirtualBox(base=Debian("bookworm"), disk=Disk("9G")), "size"),  # type: ignore[arg-type]
    ],
)
def test_what_could_never_be_made_is_refused(make: Callable[[], object], what: str) -> None:
    with pytest.raises(ImagefileError) as refused:
        make()
    assert what in str(refused.value)
