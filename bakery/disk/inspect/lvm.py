"""Logical volumes of LVM2 inside a disk, read from the metadata that every physical volume carries.

Nothing is activated: a group of the same name on this host would be in the way, and root would be needed. A volume in
one piece, as installers and image builders make them, is a range of bytes of the disk and can be read like a partition.
Source of the layout: lib/format_text/layout.h and lib/label/label.h of LVM2.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SECTOR: Final = 512
_LABEL: Final = struct.Struct("<8s Q I I 8s")
_LABEL_ID: Final = b"LABELONE"
_LABELS_IN: Final = 4
"""Sectors at the beginning of which one holds the label."""
_MDA: Final = struct.Struct("<I 16s I Q Q")
_MAGIC: Final = b" LVM2 x[5A%r0N*>"
_LOCATION: Final = struct.Struct("<Q Q I I")
_MDA_HEADER: Final = 512
_MOST: Final = 16 << 20
"""Bytes of metadata; LVM's own areas have one or four MiB."""
_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|(-?\d+)|([A-Za-z0-9_.+-]+)|([{}=\[\],])|#[^\n]*|\s+')


@dataclass(frozen=True, kw_only=True)
class LogicalVolume:
    """A volume of a group.

    Args:
        group: the group's name.
        name: the volume's.
        start: its first byte on the disk; None where it is in several pieces, or not on this disk alone.
        size: bytes.
    """

    group: str
    name: str
    start: int | None
    size: int

    @property
    def devices(self) -> tuple[str, str]:
        """What fstab may call it. A dash in a name is doubled by the device mapper."""
        return (
            f"/dev/{self.group}/{self.name}",
            f"/dev/mapper/{self.group.replace('-', '--')}-{self.name.replace('-', '--')}",
        )


def logical_volumes(disk: Path, start: int) -> tuple[LogicalVolume, ...]:
    """Read which volumes are on a physical volume.

    Args:
        disk: the raw image.
        start: the physical volume's first byte in it.

    Raises:
        ValueError: the metadata are damaged, or of a kind that we do not know.
    """
    with disk.open("rb", buffering=0) as file:
        identity, text = _metadata(file.fileno(), start)
    return tuple(_volumes(_parsed(text), identity, start))


def _metadata(file: int, start: int) -> tuple[str, str]:
    """Return the physical volume's id and the group's metadata."""
    head = os.pread(file, _LABELS_IN * SECTOR, start)
    labels = (at for at in range(0, len(head), SECTOR) if head.startswith(_LABEL_ID, at))
    at = next(labels, None)
    if at is None:
        raise ValueError("it has no label")
    try:
        pv = at + _LABEL.unpack_from(head, at)[3]
        identity = head[pv : pv + 32].decode("ascii")
        areas = [*_areas(head, pv + 40)]
        offset, _ = areas[areas.index((0, 0)) + 1]  # data areas come first, then those of metadata
        header = os.pread(file, _MDA_HEADER, start + offset)
        _, magic, _, area, size = _MDA.unpack_from(header)
        where, length, _, _ = _LOCATION.unpack_from(header, _MDA.size)
    except (struct.error, ValueError, IndexError) as error:
        raise ValueError("its header is damaged") from error
    if magic != _MAGIC or not 0 < length <= min(size, _MOST):
        raise ValueError("its metadata are not of the format that we know")
    text = os.pread(file, min(length, size - where), start + area + where)
    text += os.pread(file, length - len(text), start + area + _MDA_HEADER)  # the area is a ring
    return identity, text.decode(errors="replace").rstrip("\0")


def _areas(head: bytes, at: int) -> Iterator[tuple[int, int]]:
    while at + 16 <= len(head):
        offset, size = struct.unpack_from("<QQ", head, at)
        yield offset, size
        at += 16


def _volumes(data: Mapping[str, Any], identity: str, start: int) -> Iterator[LogicalVolume]:
    for group, content in data.items():
        if not isinstance(content, dict) or "extent_size" not in content:
            continue
        extent = int(content["extent_size"]) * SECTOR
        ours = {
            name: int(pv["pe_start"]) * SECTOR
            for name, pv in content.get("physical_volumes", {}).items()
            if pv["id"].replace("-", "") == identity
        }
        for name, volume in content.get("logical_volumes", {}).items():
            segments = [part for part in volume.values() if isinstance(part, dict) and "extent_count" in part]
            size = sum(int(segment["extent_count"]) for segment in segments) * extent
            yield LogicalVolume(group=group, name=name, size=size, start=_start(segments, ours, extent, start))


def _start(segments: list[dict[str, Any]], ours: Mapping[str, int], extent: int, start: int) -> int | None:
    """Return the first byte of a volume in one piece."""
    if len(segments) != 1 or segments[0].get("type") != "striped" or int(segments[0].get("stripe_count", 0)) != 1:
        return None
    name, first = segments[0]["stripes"]
    return start + ours[name] + int(first) * extent if name in ours else None


def _parsed(text: str) -> dict[str, Any]:
    """Read LVM's configuration syntax: sections in braces, `name = value`, lists in brackets."""
    tokens: list[str | int] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"its metadata cannot be read: {text[at : at + 20]!r}")
        at = match.end()
        quoted, number, word, mark = match.groups()
        if quoted is not None:
            tokens.append(f'"{quoted}')
        elif number is not None and match[0] == number:
            tokens.append(int(number))
        elif word or mark:
            tokens.append(word or mark)
    try:
        return _section(iter([*tokens, "}"]))
    except (StopIteration, TypeError, AttributeError) as error:
        raise ValueError("its metadata are damaged") from error


def _section(tokens: Iterator[str | int]) -> dict[str, Any]:
    section: dict[str, Any] = {}
    for name in tokens:
        if name == "}":
            return section
        mark = next(tokens)
        section[str(name)] = _section(tokens) if mark == "{" else _value(tokens)
    raise ValueError("its metadata end too early")


def _value(tokens: Iterator[str | int]) -> Any:
    value = next(tokens)
    if value != "[":
        return value.removeprefix('"') if isinstance(value, str) else value
    items: list[str | int] = []
    for item in tokens:
        if item == "]":
            return items
        if item != ",":
            items.append(item.removeprefix('"') if isinstance(item, str) else item)
    raise ValueError("its metadata end too early")
