"""What a container stands on and is captured as, as far as nothing must be run to know it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from bakery.disk.bases.cloud_image import CloudImage
from bakery.drivers.nspawn import base_template, base_trees, disk_to_tree
from bakery.drivers.nspawn.capture import layout_of
from bakery.errors import DriverError
from bakery.model import Artifact
from bakery.util.context import WorkContext

DIGEST = "0123456789abcdef" * 4


def test_a_disk_has_the_identity_of_its_bases_disk_whatever_its_size() -> None:
    small, large = layout_of(DIGEST, (1 << 30) + 1), layout_of(DIGEST, 8 << 30)
    assert small.identity == large.identity == UUID(DIGEST[:32])
    assert small.size == (1 << 30) + (1 << 20)
    assert layout_of("sha256:" + DIGEST, 8 << 30).identity == layout_of("sha256:" + DIGEST, 8 << 30).identity
    assert layout_of("sha256:" + DIGEST, 8 << 30).identity != large.identity


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_template, "root", lambda: ())
    monkeypatch.setattr(base_template, "alone", lambda: ("unshare",))
    monkeypatch.setattr(base_template, "missing", lambda _: ())
    monkeypatch.setattr(base_template, "LOOP", Path("/"))
    monkeypatch.setattr(base_template, "_file_system", lambda _: "ext4")
    monkeypatch.setattr(base_template, "_kernel", lambda: (6, 1))


@pytest.mark.usefixtures("as_root")
def test_a_machine_that_changed_grub_gets_a_disk_made_from_the_start(tmp_path: Path) -> None:
    assert base_template.unusable([tmp_path], tmp_path) == ""
    changed = tmp_path / "layer" / "usr/bin/grub-mkimage"
    changed.parent.mkdir(parents=True)
    changed.write_text("another one")
    assert base_template.unusable([tmp_path, tmp_path / "layer"], tmp_path) == "the boot loader was changed"


@pytest.mark.usefixtures("as_root")
def test_a_machine_that_changed_much_gets_a_disk_made_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 256)
    monkeypatch.setattr(base_template, "LARGEST", 1000)
    assert base_template.unusable([tmp_path], tmp_path) == "much was changed"


def test_whoever_is_not_root_gets_a_disk_made_from_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(base_template, "root", lambda: ("unshare",))
    assert base_template.unusable([], tmp_path) == "only root can mount a disk"


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("kind", ["fuse.sshfs", "fuseblk", "9p", "virtiofs", "nfs4", "cifs"])
def test_no_disk_is_mounted_from_a_folder_that_a_process_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(base_template, "_file_system", lambda _: kind)
    assert base_template.unusable([], tmp_path) == f"{tmp_path} is on a file system of type {kind}"


@pytest.mark.usefixtures("as_root")
def test_no_disk_is_mounted_where_the_kernel_keeps_failed_writes_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_template, "_kernel", lambda: (5, 4))
    assert "does not tell of failed writes" in base_template.unusable([], tmp_path)


def test_a_disk_is_mounted_where_it_hides_nothing_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "mnt", tmp_path / "media"
    for folder in (first, second):
        folder.mkdir()
    monkeypatch.setattr(base_template, "POINTS", (tmp_path / "nowhere", first, second))
    assert base_template.mount_point([tmp_path / "x"]) == first
    assert base_template.mount_point([first / "project/layer"]) == second
    with pytest.raises(DriverError, match="no place to mount"):
        base_template.mount_point([first / "project", second / "venv"])


@pytest.mark.parametrize("base", ["debian.qcow2", None, 7])
def test_what_a_container_cannot_stand_on_is_named_with_what_it_can(base: object, tmp_path: Path) -> None:
    (problem,) = base_trees.check(base)
    assert "an @bakery.image function" in problem.hint
    with pytest.raises(DriverError, match="Nspawn cannot start from"):
        base_trees.tree(base, WorkContext(cache=tmp_path))


@pytest.mark.parametrize(
    "base",
    [
        CloudImage("https://example.org/a.qcow2", f"sha256:{DIGEST}"),
        Artifact(driver="qemu", id="/nowhere/a.qcow2", name="a", format="qcow2"),
    ],
)
def test_somebody_who_is_not_root_is_told_so_before_a_build_on_a_disk(
    base: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_to_tree, "root", lambda: ("unshare",))
    assert "only root can build in a container on an image" in [problem.what for problem in base_trees.check(base)]


def test_an_image_of_a_provider_is_no_disk_of_this_host() -> None:
    image = Artifact(driver="ec2", id="ami-0123", name="far", format="ami")
    assert "the image far is gone or was changed" in [problem.what for problem in base_trees.check(image)]
