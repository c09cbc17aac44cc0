"""The project's folder as one file."""

from __future__ import annotations

import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bakery.build.cluster import archive
from bakery.build.cluster.archive import pack, unpack
from bakery.errors import PreflightError, UsageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "files").mkdir(parents=True)
    (folder / "imagefile.py").write_text("x = 1\n")
    (folder / "files" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "files" / "run.sh").chmod(0o755)
    return folder


def names(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return set(tar.getnames())


def test_it_comes_out_as_it_went_in(project: Path, tmp_path: Path) -> None:
    (project / "link").symlink_to("files/run.sh")
    (project / "empty").mkdir()
    packed = pack(project, tmp_path / "p.tar")
    unpack(packed.path, tmp_path / "there")
    assert (tmp_path / "there/link").readlink() == Path("files/run.sh")
    assert os.access(tmp_path / "there/files/run.sh", os.X_OK)
    assert (tmp_path / "there/empty").is_dir()


def test_the_same_content_has_the_same_digest_and_another_has_another(project: Path, tmp_path: Path) -> None:
    first, again = pack(project, tmp_path / "1.tar"), pack(project, tmp_path / "2.tar")
    (project / "imagefile.py").write_text("x = 2\n")
    assert first.digest == again.digest != pack(project, tmp_path / "3.tar").digest


def test_what_is_ours_what_is_secret_and_what_the_user_names_stays(project: Path, tmp_path: Path) -> None:
    for name in (".bakery/runs/x", ".git/config", "__pycache__/a.pyc", "venv/pyvenv.cfg", "secret.txt", "dist/big.iso"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("no")
    (project / ".bakeryignore").write_text("# large\n*.iso\n")
    packed = pack(project, tmp_path / "p.tar", without=[project / "secret.txt"])
    assert names(packed.path) == {".bakeryignore", "dist", "files", "files/run.sh", "imagefile.py"}


def test_a_folder_that_is_too_large_is_refused_with_its_largest_files(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST", 15)
    with pytest.raises(UsageError) as raised:
        pack(project, tmp_path / "p.tar")
    assert "files/run.sh" in raised.value.why
    assert ".bakeryignore" in raised.value.hint


def test_a_link_that_leads_out_of_the_project_is_refused_where_it_is_unpacked(project: Path, tmp_path: Path) -> None:
    (project / "out").symlink_to("/etc/passwd")
    packed = pack(project, tmp_path / "p.tar")
    with pytest.raises(PreflightError, match="cannot be unpacked"):
        unpack(packed.path, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_builds_that_unpack_a_project_at_the_same_time_do_not_hinder_each_other(project: Path, tmp_path: Path) -> None:
    for number in range(200):
        (project / "files" / str(number)).write_text("x")
    packed = pack(project, tmp_path / "p.tar")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: unpack(packed.path, tmp_path / "there" / "p"), range(8)))
    assert len(list((tmp_path / "there/p/files").iterdir())) == 201
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["p"]
