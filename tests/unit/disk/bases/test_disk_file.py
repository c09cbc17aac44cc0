"""Packed disks that are damaged are told as that, however their library says it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.disk.bases.disk_file import unpack
from bakery.errors import PreflightError
from bakery.util.context import WorkContext

DISK = random.Random(7).randbytes(50_000)  # what does not shrink: a change anywhere is a change of content


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)], ids=["gz", "bz2", "xz"]
)
@pytest.mark.parametrize("damage", ["inside", "cut off", "no such format"])
def test_a_damaged_disk_is_an_error_of_its_file_and_leaves_nothing(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes], damage: str
) -> None:
    good = pack(DISK)
    bad = {"inside": good[:40] + bytes(60) + good[100:], "cut off": good[:20_000], "no such format": bytes(1000)}
    packed = tmp_path / f"disk.{ending}"
    packed.write_bytes(bad[damage])
    with pytest.raises(PreflightError, match=f"disk.{ending} cannot be unpacked"):
        unpack(packed, tmp_path / "disk", WorkContext(cache=tmp_path))
    assert list(tmp_path.iterdir()) == [packed]
