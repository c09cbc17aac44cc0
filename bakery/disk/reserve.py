"""Adding partitions at the end of a disk that nothing runs on yet, so that the root grows no further than to them.

The table is edited as a sparse file of the disk's size, of which only the first and the last MiB are real. Needs no
root and no loop device.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bakery.disk.partitions import MIB, Partition
from bakery.errors import DriverError
from bakery.util.context import WorkContext
from bakery.util.tools import run
from bakery.util.units import format_size

SECTOR: Final = 512
PACKAGES: Final = {"qemu-io": "qemu-utils", "sfdisk": "fdisk"}
_LINUX: Final = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_LVM: Final = "E6D6D379-F507-44C2-A23C-238F2A3DF928"
_LUKS: Final = "CA7D7CCB-63ED-4C53-861C-1742536059CC"
"""Partition types, as sfdisk(8) has them. Not that of swap, for systemd would use it before it is made."""


def reserve(disk: Path, size: int, layout: Sequence[Partition], work: WorkContext) -> None:
    """Add partitions to a qcow2 disk.

    Args:
        disk: the file, which nobody writes to.
        size: the bytes that a guest sees of it.
        layout: what to add, in order.
        work: can cancel it.

    Raises:
        DriverError: it has no GPT, or no room.
    """
    last = size // MIB * MIB - MIB
    with tempfile.TemporaryDirectory(prefix="bakery-table-") as name:
        folder = Path(name)
        table = folder / "table"
        words = ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=1M", "count=1", f"if={disk}", f"of={folder}/head"]
        run(words, work, what="reading the partition table")
        head = (folder / "head").read_bytes()
        if head[SECTOR : SECTOR + 8] != b"EFI PART":
            raise DriverError(
                "the base's disk has no GPT, so no partitions can be added",
                hint="a base with one, such as Debian(...) or Ubuntu(...); or leave out layout=",
            )
        with table.open("wb") as file:
            file.truncate(size)
            file.write(head)
        quiet = ("--quiet", "--no-tell-kernel", "--no-reread")
        run(["sfdisk", *quiet, "--relocate", "gpt-bak-std", str(table)], work, what="moving the table's second copy")
        script = _script(layout, last, _end(table, work))
        run(["sfdisk", *quiet, "--append", str(table)], work, what="adding partitions", stdin=script.encode())
        _write_back(disk, table, size, folder, work)


def label(disk: Path, size: int, layout: Sequence[Partition], work: WorkContext) -> None:
    """Write a GPT with these partitions onto an empty qcow2 disk.

    Args:
        disk: the file, which nobody writes to.
        size: the bytes that a guest sees of it.
        layout: the partitions, in order; the last one ends where the disk does.
        work: can cancel it.

    Raises:
        DriverError: there is no room.
    """
    with tempfile.TemporaryDirectory(prefix="bakery-table-") as name:
        table = Path(name) / "table"
        with table.open("wb") as file:
            file.truncate(size)
        script = "label: gpt\n" + _script(layout, size // MIB * MIB - MIB, MIB)
        words = ["sfdisk", "--quiet", "--no-tell-kernel", "--no-reread", str(table)]
        run(words, work, what="writing the partition table", stdin=script.encode())
        _write_back(disk, table, size, Path(name), work)


def _script(layout: Sequence[Partition], last: int, used: int) -> str:
    """Return the new partitions as sfdisk reads them, the last one ending where the disk does."""
    total = sum(part.bytes for part in layout)
    start = last - total
    if start < used:
        raise DriverError(
            f"there is no room for {format_size(total)} of partitions",
            why=f"the base's end at {format_size(used)}, the disk at {format_size(last)}",
            hint="a larger Disk(...)",
        )
    lines: list[str] = []
    for part in layout:
        kind = _LUKS if part.encrypted_by else _LVM if part.volumes else _LINUX
        lines.append(f'start={start // SECTOR}, size={part.bytes // SECTOR}, type={kind}, name="{part.name}"\n')
        start += part.bytes
    return "".join(lines)


def _end(table: Path, work: WorkContext) -> int:
    """Return the byte behind the last partition."""
    told = json.loads(run(["sfdisk", "--json", str(table)], work, what="reading the partition table"))
    parts = told["partitiontable"].get("partitions", [])
    return max(((part["start"] + part["size"]) * SECTOR for part in parts), default=MIB)


def _write_back(disk: Path, table: Path, size: int, folder: Path, work: WorkContext) -> None:
    """Write what has changed: the first MiB, and the last sectors."""
    tail = size - MIB
    with table.open("rb") as file:
        (folder / "first").write_bytes(file.read(MIB))
        file.seek(tail)
        (folder / "last").write_bytes(file.read(MIB))
    orders = [f"write -q -s {folder}/first 0 {MIB}", f"write -q -s {folder}/last {tail} {MIB}"]
    words = ["qemu-io", "-f", "qcow2", *(word for order in orders for word in ("-c", order)), str(disk)]
    run(words, work, what="writing the partition table")
