"""Who can read an image: which compression a source asks for, and how one is recognised."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bakery.disk.qemuimg import COMPRESSION_TYPE, is_zstd
from bakery.drivers.nspawn.source import Nspawn
from bakery.drivers.qemu.machine_spec import MachineSpec, compression
from bakery.drivers.qemu.source import Qemu
from bakery.errors import DriverError, ImagefileError
from bakery.model import from_json


def header(folder: Path, version: int, kind: bytes) -> Path:
    path = folder / "image"
    path.write_bytes(b"QFI\xfb" + struct.pack(">I", version) + bytes(COMPRESSION_TYPE - 8) + kind)
    return path


def test_an_image_that_needs_zstd_is_recognised(tmp_path: Path) -> None:
    assert is_zstd(header(tmp_path, 3, b"\1"))
    assert not is_zstd(header(tmp_path, 3, b"\0"))
    assert not is_zstd(header(tmp_path, 3, b""))
    assert not is_zstd(header(tmp_path, 2, b"\1"))  # what stands there in version 2 is something else
    (tmp_path / "raw").write_bytes(bytes(1000))
    assert not is_zstd(tmp_path / "raw")


@pytest.mark.parametrize("source", [Qemu, Nspawn])
def test_every_local_source_offers_the_choice_and_refuses_others(source: type[Qemu | Nspawn]) -> None:
    with pytest.raises(ImagefileError, match="no such choice"):
        source(base=None, compression="lzma")  # type: ignore[arg-type]  # what users do
    assert source(base=None, compression="zlib").compression == "zlib"


def test_a_machine_remembers_it_for_its_images() -> None:
    shape = from_json(MachineSpec, MachineSpec.of(Qemu(base=None, compression="zlib"), "nocloud").to_json())
    assert compression(shape) == "zlib"
    assert compression(from_json(MachineSpec, {})) == "zstd"
    assert Nspawn(base=None, compression="none").shape("nocloud").compression == "none"
    with pytest.raises(DriverError, match="cannot be compressed"):
        compression(MachineSpec(compression="lz4"))
