"""VDI files, as far as differencing ones need it, which QEMU cannot open: a chain read as one disk, and written back.

The layout is from VirtualBox's VDICore.h, version 1.1: a header, a map of blocks, and blocks of one MiB in any order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

SIGNATURE = 0xBEDA107F
ABSENT, ZERO = 0xFFFFFFFF, 0xFFFFFFFE
"""In the map: a block that the parent has, and one that is empty."""
_DIFFERENCING = 4


class Vdi:
    """One file of a chain.

    Args:
        path: the file.
        writable: whether blocks are written to it.

    Raises:
        ValueError: it is no VDI file.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._file: BinaryIO = path.open("r+b" if writable else "rb")
        if self._number(0x40) != SIGNATURE:
            self.close()
            raise ValueError(f"{path} is no VDI file")
        self._map_at, self._data_at = self._number(0x154), self._number(0x158)
        self.size = struct.unpack("<Q", self._read(0x170, 8))[0]
        self.block = self._number(0x178)
        self._allocated = self._number(0x184)
        count = self._number(0x180)
        self.map = list(struct.unpack(f"<{count}I", self._read(self._map_at, 4 * count)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, number: int) -> bytes | None:
        """Return a block; None where the parent has it."""
        place = self.map[number]
        if place == ABSENT:
            return None
        return bytes(self.block) if place == ZERO else self._read(self._data_at + place * self.block, self.block)

    def write(self, number: int, data: bytes) -> None:
        """Write a block, at the end of the file where it has none so far."""
        if self.map[number] >= ZERO:
            self.map[number] = self._allocated
            self._allocated += 1
            self._write(0x184, struct.pack("<I", self._allocated))
            self._write(self._map_at + 4 * number, struct.pack("<I", self.map[number]))
        self._write(self._data_at + self.map[number] * self.block, data)

    def _number(self, at: int) -> int:
        return int(struct.unpack("<I", self._read(at, 4))[0])

    def _read(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)

    def _write(self, at: int, data: bytes) -> None:
        self._file.seek(at)
        self._file.write(data)


def differencing(path: Path) -> bool:
    """Say whether a file stands on another one."""
    with path.open("rb") as file:
        head = file.read(0x50)
    return len(head) == 0x50 and struct.unpack_from("<I", head, 0x4C)[0] == _DIFFERENCING  # noqa: PLR2004  as read


def flatten(chain: Sequence[Path], to: Path) -> None:
    """Write what a chain shows as one raw file, with holes for empty blocks.

    Args:
        chain: the uppermost first.
        to: the file to make.
    """
    files = [Vdi(path) for path in chain]
    with ExitStack() as stack, to.open("wb") as out:
        for file in files:
            stack.callback(file.close)
        out.truncate(files[0].size)
        for number in range(len(files[0].map)):
            data = _shown(files, number)
            if data.strip(b"\0"):
                out.seek(number * files[0].block)
                out.write(data[: files[0].size - number * files[0].block])


def write_back(raw: Path, chain: Sequence[Path]) -> None:
    """Write into a chain's uppermost file whatever a raw file shows differently.

    Args:
        raw: as `flatten` made it, and a guest changed it.
        chain: the same as then.
    """
    files = [Vdi(path, writable=path == chain[0]) for path in chain]
    top = files[0]
    with ExitStack() as stack, raw.open("rb") as changed:
        for file in files:
            stack.callback(file.close)
        for number in range(len(top.map)):
            data = changed.read(top.block).ljust(top.block, b"\0")
            if data != _shown(files, number):
                top.write(number, data)


def _shown(files: Sequence[Vdi], number: int) -> bytes:
    blocks = (file.read(number) for file in files)
    return next((data for data in blocks if data is not None), bytes(files[0].block))
