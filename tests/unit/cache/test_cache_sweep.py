"""What was half made in the cache when its maker was killed."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock

from bakery.cache.bases import sweep


def base(cache: Path, name: str, *files: str) -> Path:
    folder = cache / "bases" / name
    for file in ("lock", *files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")
    os.utime(folder / "lock", (1000, 1000))
    return folder


def test_what_was_never_finished_goes_and_what_was_stays(tmp_path: Path) -> None:
    base(tmp_path, "disk-1", "disk/image.qcow2", ".new/disk.raw")
    base(tmp_path, "debian-1", "abc/tree/etc/passwd", "abc/disk.part", "abc/.disk-x/table", ".new/tree.tar")
    base(tmp_path, "image-1", "tree/etc/passwd", ".inspect-y/disk.raw")
    base(tmp_path, "image-2", "tree/etc/passwd", "ready.json")
    wanted = ["bases/debian-1/.new", "bases/debian-1/abc/.disk-x", "bases/debian-1/abc/disk.part"]
    wanted += ["bases/disk-1/.new", "bases/image-1/.inspect-y", "bases/image-1/tree"]
    assert sweep(tmp_path, dry_run=True) == wanted
    assert sweep(tmp_path) == wanted
    files = {str(path.relative_to(tmp_path / "bases")) for path in tmp_path.rglob("*") if path.is_file()}
    locks = {f"{name}/lock" for name in ("disk-1", "debian-1", "image-1", "image-2")}
    whole = {"disk-1/disk/image.qcow2", "debian-1/abc/tree/etc/passwd", "image-2/tree/etc/passwd", "image-2/ready.json"}
    assert files == locks | whole
    assert sweep(tmp_path) == []


def test_the_date_of_the_last_use_stays(tmp_path: Path) -> None:
    folder = base(tmp_path, "disk-1", ".new/disk.raw")
    sweep(tmp_path)
    assert (folder / "lock").stat().st_mtime == 1000


def test_what_somebody_works_on_is_left_alone(tmp_path: Path) -> None:
    folder = base(tmp_path, "disk-1", ".new/disk.raw")
    with FileLock(folder / "lock"):
        assert sweep(tmp_path) == []
    assert (folder / ".new/disk.raw").exists()


def test_an_empty_cache_has_nothing_unfinished(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere") == []
