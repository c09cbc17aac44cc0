"""Where the user tells us to write: nothing that is wanted is written over, and it is told before the start."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from bakery.disk.signatures import SIGNATURES

from .conftest import Place

IMAGEFILE = """import bakery
from bakery import Artifact
from bakery.testing.folder.driver import Folder


@bakery.source
def laptop() -> Folder:
    return Folder(cloud={cloud!r}, disk="qcow2")


@bakery.source
def cloud() -> Folder:
    return Folder(cloud={cloud!r})


@bakery.image(sources=[laptop, cloud], builtin_tests=False)
def web() -> None: ...
"""
EVERY = ["-o", "--depfile", "--junit"]


@pytest.fixture
def project(empty: Place, tmp_path: Path) -> Place:
    """A project with all kinds of things in it that no image may be written over."""
    empty.write(IMAGEFILE.format(cloud=str(tmp_path / "cloud")))
    empty.write("all:\n\tbake\n", "Makefile")
    empty.write("important: yes\n", "data.yaml")
    empty.write("important", "data.qcow2")
    (empty.folder / "out.qcow2").mkdir()
    os.mkfifo(empty.folder / "pipe.qcow2")
    (empty.folder / "to-device.qcow2").symlink_to("/dev/full")
    (empty.folder / "loop.qcow2").symlink_to("loop.qcow2")
    (empty.folder / "dangling.qcow2").symlink_to("no/such/file")
    return empty


def looks(project: Place) -> set[tuple[Path, int, int, int]]:
    found = ((path, path.lstat()) for path in project.folder.rglob("*"))
    return {(path, info.st_ino, info.st_size, info.st_mtime_ns) for path, info in found}


def refused(project: Place, *words: str) -> str:
    """Run a build that must not start, and return what it said."""
    before = looks(project)
    done = project.bake("build", "web", "--only", "laptop", "--no-test", *words)
    assert (done.code, done.out) == (2, ""), done.err
    assert looks(project) == before
    assert "hint: " in done.err
    return done.err


UNFIT = {
    "/dev/full": "no place for a file",
    "/dev/loop0": "no place for a file",
    "/dev/not-there.qcow2": "no place for a file",
    "/dev/stdout": "no place for a file",
    "/proc/self/web.qcow2": "no place for a file",
    "to-device.qcow2": "no place for a file",
    "dangling.qcow2": "is a link to no/such/file, which does not exist",
    "loop.qcow2": "Too many levels of symbolic links",
    "out.qcow2": "is a folder",
    "new/": "is a folder",
    ".": "is a folder",
    "pipe.qcow2": "is a named pipe",
    "socket.qcow2": "is a socket",
    "imagefile.py": "exists and is not",
    "Makefile": "exists and is not",
    "data.yaml": "exists and is not",
    "data.qcow2": "exists and is not",
    "Makefile/web.qcow2": "Makefile is not a folder",
    ".bakery/images/laptop/web.qcow2": "where bakery keeps its own files",
}


@pytest.mark.parametrize("option", EVERY)
@pytest.mark.parametrize("path", UNFIT)
def test_what_is_no_place_for_a_file_is_refused(project: Place, option: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.qcow2")
        text = refused(project, option, path)
    assert f"{option} {path}: it " in text
    assert UNFIT[path] in text


def test_what_would_do_is_said(project: Place) -> None:
    assert "-o out.qcow2/web.qcow2" in refused(project, "-o", "out.qcow2")
    assert "-o web.qcow2" in refused(project, "-o", "/dev/full")


SUFFIXES = {
    "web.vmdk": "web.qcow2",
    "web.raw": 'web.qcow2, or format="raw" in the source',
    "web.qcow2.tmp": "web.qcow2",
    "web": "web.qcow2",
    "web-1.4": "web-1.4.qcow2",
    "out/web.VHD": "out/web.qcow2",
    "web.tar.gz": "web.tar.qcow2",
}


@pytest.mark.parametrize("name", SUFFIXES)
def test_a_name_that_says_another_format_is_refused(project: Place, name: str) -> None:
    text = refused(project, "-o", name)
    assert "the image is qcow2" in text
    assert f"write -o {SUFFIXES[name]}" in text


def test_an_image_that_is_no_file_is_refused_before_it_is_made(project: Place) -> None:
    done = project.bake("build", "web", "--only", "cloud", "-o", "web.qcow2")
    assert done.code == 2
    assert "web is no file on this host" in done.err


def test_two_options_may_not_name_one_file(project: Place) -> None:
    text = refused(project, "-o", "web.qcow2", "--depfile", "./web.qcow2")
    assert "-o and --depfile name the same file" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_refused(project: Place) -> None:
    (project.folder / "locked").mkdir(mode=0o500)
    assert "cannot be written to" in refused(project, "-o", "locked/web.qcow2")


def test_the_base_is_not_written_over(project: Place, tmp_path: Path) -> None:
    base = project.folder / "base.qcow2"
    base.write_bytes(b"QFI\xfb" + bytes(100))
    text = (project.folder / "imagefile.py").read_text()
    artifact = f'Artifact(driver="folder", id={str(base)!r}, name="base", settings={{"image": "i"}})'
    project.write(text.replace('disk="qcow2")', f'disk="qcow2", base={artifact})'))
    assert "web@laptop stands on that file" in refused(project, "-o", "base.qcow2")


def test_an_older_image_is_replaced_whole_and_through_a_link(project: Place) -> None:
    (project.folder / "store").mkdir()
    (project.folder / "web.qcow2").symlink_to("store/web.img")
    (project.folder / "store/web.img").touch()
    words = (
        "build",
        "web",
        "--only",
        "laptop",
        "--no-test",
        "-o",
        "web.qcow2",
        "--depfile",
        "d/web.d",
        "--junit",
        "d/junit.xml",
    )
    for _ in range(2):
        done = project.bake(*words)
        assert done.code == 0, done.err
        kept = Path(json.loads(project.bake("images", "--json").out)["images"][0]["id"])
        assert (project.folder / "web.qcow2").is_symlink()
        assert (project.folder / "store/web.img").read_bytes() == kept.read_bytes()
        assert not (project.folder / "store/web.img").samefile(kept)
        project.write(
            IMAGEFILE.format(cloud="x").replace("cloud='x'", f"cloud={str(project.folder.parent / 'cloud')!r}")
        )
    left = [path.name for path in project.folder.rglob("*.part")]
    assert left == []
    assert {path.name for path in (project.folder / "d").iterdir()} == {"web.d", "junit.xml"}


@pytest.mark.parametrize(("offset", "mark"), SIGNATURES)
def test_disk_images_of_all_kinds_may_be_replaced(project: Place, offset: int, mark: bytes) -> None:
    path = project.folder / "old.qcow2"
    with path.open("wb") as file:
        file.seek(offset)
        file.write(mark)
    words = ("build", "web", "--only", "laptop", "--no-test", "-o", "old.qcow2", "--limit", "nothing:1")
    assert "nothing" in project.bake(*words).err  # so far it came: the next look is at the limits
    assert stat.S_ISREG(path.stat().st_mode)


def test_bake_test_looks_at_its_report_too(project: Place) -> None:
    done = project.bake("test", "web", "--junit", "Makefile")
    assert done.code == 2
    assert "--junit Makefile: it exists and is not a JUnit report" in done.err
