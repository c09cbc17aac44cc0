"""Finished images as files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bakery.disk import image_files
from bakery.model import Artifact, Resource


@pytest.fixture
def image(tmp_path: Path) -> Artifact:
    path = tmp_path / ".web.0123.qcow2"
    path.write_bytes(b"new")
    info = path.stat()
    return Artifact(
        driver="qemu",
        id=str(path),
        name="web",
        format="qcow2",
        size=3,
        sha256=hashlib.sha256(b"new").hexdigest(),
        data={"mtime": info.st_mtime_ns},
    )


def test_a_kept_image_takes_the_place_of_the_old_one(image: Artifact) -> None:
    old = image.path.with_name("web.qcow2")
    old.write_bytes(b"old")
    kept = image_files.keep(image, "web")
    assert kept.path == old
    assert old.read_bytes() == b"new"
    assert not image.path.exists()
    assert image_files.intact(kept)


def test_destroying_the_temporary_file_of_a_kept_image_does_nothing_to_it(image: Artifact) -> None:
    record = Resource(driver="qemu", kind=image_files.KIND, key=image.id)
    kept = image_files.keep(image, "web")
    image_files.destroy(record)
    assert image_files.intact(kept)


def test_an_image_that_was_not_kept_is_destroyed_from_its_record_twice(image: Artifact) -> None:
    record = Resource(driver="qemu", kind=image_files.KIND, key=image.id)
    image_files.destroy(record)
    image_files.destroy(record)
    assert not image.path.exists()


def test_an_image_with_another_date_is_read_and_found_unchanged(image: Artifact) -> None:
    os.utime(image.path, ns=(1, 1))
    assert image_files.intact(image)


def test_a_flipped_byte_is_found_when_the_date_changed(image: Artifact) -> None:
    image.path.write_bytes(b"nev")
    os.utime(image.path, ns=(1, 1))
    assert not image_files.intact(image)


def test_a_longer_file_is_not_the_image(image: Artifact) -> None:
    image.path.write_bytes(b"newer")
    assert not image_files.intact(image)


def test_an_image_that_is_gone_is_not_intact_and_can_be_deleted_again(image: Artifact) -> None:
    image_files.delete(image)
    image_files.delete(image)
    assert not image_files.intact(image)


# ---- an image of several disks ---------------------------------------------------------------------------------------


@pytest.fixture
def several(image: Artifact) -> Artifact:
    """An image under its temporary name, with a disk beside the first."""
    path = image_files.disk_path(image.path, "disk2")
    path.write_bytes(b"data")
    told = {"name": "disk2", "size": 4, "sha256": hashlib.sha256(b"data").hexdigest()}
    return replace(image, data={**image.data, "disks": [{**told, "mtime": path.stat().st_mtime_ns}]})


def files(image: Artifact) -> list[str]:
    return sorted(path.name for path in image.path.parent.iterdir())


def test_all_disks_of_an_image_are_kept_and_deleted_together(several: Artifact) -> None:
    kept = image_files.keep(several, "web")
    assert files(kept) == ["web.disk2.qcow2", "web.qcow2"]
    assert image_files.disks_of(kept) == {"disk2": kept.path.with_name("web.disk2.qcow2")}
    assert image_files.intact(kept)
    image_files.destroy(Resource(driver="qemu", kind=image_files.KIND, key=several.id))
    assert image_files.intact(kept)
    image_files.delete(kept)
    assert files(kept) == []


@pytest.mark.parametrize("change", ["gone", "longer", "another"])
def test_an_image_with_another_second_disk_is_changed(several: Artifact, change: str) -> None:
    disk = image_files.disks_of(several)["disk2"]
    if change == "gone":
        disk.unlink()
    else:
        disk.write_bytes(b"datum" if change == "longer" else b"dato")
        os.utime(disk, ns=(1, 1))
    assert not image_files.intact(several)


def test_all_disks_of_an_image_that_was_not_kept_are_destroyed_from_its_record(several: Artifact) -> None:
    other = several.path.with_name(".web.0124.disk2.qcow2")
    other.touch()  # of another try
    image_files.destroy(Resource(driver="qemu", kind=image_files.KIND, key=several.id))
    assert files(several) == [other.name]
