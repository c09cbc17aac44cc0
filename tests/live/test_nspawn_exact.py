"""Files that are easily lost: through a checkpoint, a restored container, and both ways of capture."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.disk.layout import MIB
from bakery.drivers.nspawn import base_template, host
from bakery.util import inode_flags
from bakery.util.context import WorkContext
from bakery.util.tools import run
from tests.live.test_nspawn_driver import Machine, launch

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}"),
]
__all__ = ["launch"]  # the fixture

BEFORE = """
set -e
truncate -s 3G /srv/sparse
dd if=/dev/zero of=/srv/swap bs=1M count=40 status=none
fallocate -l 30M /srv/reserved
echo late >/srv/late; touch -d '2040-01-01 00:00:00.123456789' /srv/late
ln -s late /srv/link; ln /srv/link /srv/other
chattr +i /etc/motd
chattr +A /srv/late
"""
AFTER = "echo more >/srv/more; touch -d '2041-02-03 04:05:06.7' /srv/more; chmod 751 /srv"
IN_2040 = 2_208_988_800_123_456_789


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    raw, point, work = folder / "raw", folder / "point", WorkContext(cache=folder)
    run(["qemu-img", "convert", "-O", "raw", image, raw], work, what="unpacking")
    point.mkdir()
    run(["mount", "-o", f"ro,noload,loop,offset={64 * MIB}", raw, point], work, what="mounting")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)
        raw.unlink()


def facts(root: Path) -> dict[str, object]:
    blocks = {name: (root / "srv" / name).stat().st_blocks * 512 for name in ("sparse", "swap", "reserved")}
    return {
        "holes": blocks["sparse"] < MIB,
        "no holes": blocks["swap"] >= 40 * MIB and blocks["reserved"] >= 30 * MIB,
        "sizes": [(root / "srv" / name).stat().st_size // MIB for name in ("sparse", "swap", "reserved")],
        "date": (root / "srv/late").stat().st_mtime_ns,
        "links": (root / "srv/link").lstat().st_nlink,
        "flags": [inode_flags.shown(inode_flags.read(root / name)) for name in ("etc/motd", "srv/late")],
        "mode": oct((root / "srv").stat().st_mode & 0o7777),
        "more": (root / "srv/more").stat().st_mtime_ns,
    }


@pytest.mark.all
@pytest.mark.timeout(600)
def test_what_is_easily_lost_is_kept_by_a_checkpoint_and_by_both_ways_of_capture(
    launch: Callable[..., Machine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = launch()
    machine.run(BEFORE)
    saved = machine.saved("1", tmp_path)
    layer = tmp_path / "1" / "layer"
    assert sum(path.lstat().st_blocks * 512 for path in layer.rglob("*") if path.is_file()) < 200 * MIB
    restored = launch(saved)
    assert "----i" in restored.run("lsattr -d /etc/motd")
    assert restored.transport.run("echo x >/etc/motd").failed
    restored.run(AFTER)
    handle = restored.handle
    quick = restored.driver.capture(handle, "quick", restored.claim)
    raw = restored.driver.capture(replace(handle, settings={**handle.settings, "format": "raw"}), "raw", restored.claim)
    monkeypatch.setattr(base_template, "unusable", lambda *_: "it shall be made from the start")
    scratch = restored.driver.capture(handle, "scratch", restored.claim)
    seen = []
    for artifact in (quick, raw, scratch):
        with mounted(artifact.path, tmp_path / artifact.name) as root:
            seen.append(facts(root))
        artifact.path.unlink()
    assert seen[0] == {
        "holes": True, "no holes": True, "sizes": [3072, 40, 30], "date": IN_2040, "links": 2, "flags": ["i", "A"],
        "mode": "0o751", "more": seen[0]["more"],
    }  # fmt: skip
    assert seen[1:] == [seen[0]] * 2
