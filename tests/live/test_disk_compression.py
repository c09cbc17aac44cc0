"""qcow2 files as qemu-img really writes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bakery.disk import qemuimg
from bakery.util.context import WorkContext

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("compression", "expected"), [("zstd", "zstd"), ("zlib", "zlib"), ("none", "zlib")])
def test_an_image_is_compressed_as_was_asked_for(
    tmp_path: Path, compression: qemuimg.Compression, expected: str
) -> None:
    disk, image = tmp_path / "disk", tmp_path / "image"
    disk.write_bytes(b"compressible " * 100_000 + bytes(-1_300_000 % 512))
    source = {"driver": "raw", "file": {"driver": "file", "filename": str(disk)}}
    qemuimg.convert(source, image, format="qcow2", work=WorkContext(cache=tmp_path), compression=compression)
    said = subprocess.run(["qemu-img", "info", "--output=json", image], capture_output=True, check=True).stdout
    assert json.loads(said)["format-specific"]["data"]["compression-type"] == expected
    assert qemuimg.is_zstd(image) is (compression == "zstd")
    assert (image.stat().st_size > disk.stat().st_size // 2) is (compression == "none")


def test_this_hosts_qemu_img_writes_zstd() -> None:
    assert list(qemuimg.check("qcow2", "zstd")) == []


def test_a_qemu_img_without_zstd_is_told_in_pre_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "qemu-img"
    tool.write_text("#!/bin/sh\necho \"qemu-img: Invalid parameter 'zstd'\" >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (problem,) = qemuimg.check("qcow2", "zstd")
    assert problem.fatal
    assert 'compression="zlib"' in problem.hint
    assert list(qemuimg.check("qcow2", "zlib")) == []
    assert list(qemuimg.check("raw", "zstd")) == []
