"""`bake` with VirtualBox: beside QEMU from one imagefile, imported elsewhere, published, killed at any line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.testing.kill import KillMatrix
from bakery.testing.virtualbox.root import Home
from tests.live import virtualboxrig as rig
from tests.live.killing import Figures, sync, tell

pytestmark = [pytest.mark.live, pytest.mark.virtualbox, pytest.mark.timeout(7200)]
MARKER = "hello-of-both-51c2"
HEAD = """
import bakery
from bakery import Artifact
from bakery.drivers import Qemu, VirtualBox

SHOW = {show!r}
TINY = Artifact(driver="qemu", id={disk!r}, name="tiny", format="qcow2")
"""
BOX = """
@bakery.source
def box() -> VirtualBox:
    return VirtualBox(
        base=TINY, memory="128M", cpus=1, controller="ide", user_data=SHOW, host_key="console",
        product={{"vendor": "Example"}},
    )
"""
LAPTOP = """
@bakery.source
def laptop() -> Qemu:
    return Qemu(base=TINY, memory="128M", user_data=SHOW, host_key="console")
"""
TASKS = """
@bakery.task
def hello(m):
    m.write("/etc/hello", "{marker}")

@bakery.test
def said_hello(host):
    assert host.file("/etc/hello").contains("{marker}")

@bakery.image(builtin_tests=False)
def {name}():
    pass
"""
PUBLISHED = """
@bakery.source
def there() -> bakery.publish.VirtualBox:
    return bakery.publish.VirtualBox(
        base=laptop, memory="128M", cpus=1, controller="ide", user_data=SHOW, host_key="console", format="ova",
    )
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with rig.registry(tmp_path / "home") as home:
        yield home
        assert rig.left(home) == set()


def write(folder: Path, name: str, *parts: str) -> None:
    text = "".join((HEAD, *parts, TASKS)).format(show=rig.SHOW_HOST_KEY, disk=rig.tiny().id, marker=MARKER, name=name)
    (folder / "imagefile.py").write_text(text, encoding="utf-8")


def test_one_imagefile_bakes_through_qemu_and_virtualbox_in_one_run(tmp_path: Path, home: Home) -> None:
    write(tmp_path, "both", BOX, LAPTOP)
    done = rig.bake(home, tmp_path, "build", "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    images = tmp_path / ".bakery" / "images"
    assert sorted(path.relative_to(images).as_posix() for path in images.glob("*/*")) == [
        "box/both.ova",
        "laptop/both.qcow2",
    ]
    assert rig.left(home) == set()
    rig.imports_into_a_fresh_registry(images / "box" / "both.ova", tmp_path, memory=128)
    raw = rig.raw_disk(images / "box" / "both.ova", tmp_path / "unpacked")
    rig.boots_bare_in_qemu(raw, tmp_path, memory=128, until=b"rig-guest-ready")
    assert MARKER.encode() in raw.read_bytes()


def test_an_image_made_here_is_published_as_an_appliance_and_tested_as_one(tmp_path: Path, home: Home) -> None:
    write(tmp_path, "published", LAPTOP, PUBLISHED)
    done = rig.bake(home, tmp_path, "build")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[published@there] smoke, 1 of 1 tests passed: ok" in done.stderr
    assert (tmp_path / ".bakery" / "images" / "there" / "published.ova").exists()
    assert rig.left(home) == set()
    assert "up to date" in rig.bake(home, tmp_path, "build").stderr


SECOND = """
@bakery.task
def second(m):
    m.run("cat /etc/hello; echo {word} >/etc/second; sync")
"""


def test_a_build_goes_on_after_the_tasks_that_have_not_changed(tmp_path: Path, home: Home) -> None:
    write(tmp_path, "stepped", BOX)
    file = tmp_path / "imagefile.py"
    # The tiny guest drops the comments of keys, by which the seal knows those of the run that made the checkpoint.
    first = file.read_text(encoding="utf-8").replace("builtin_tests=False", "builtin_tests=False, hygiene=False")
    for word in ("one", "two"):
        head, mark, tail = first.partition("@bakery.test")
        file.write_text(head + SECOND.format(word=word) + mark + tail, encoding="utf-8")
        done = rig.bake(home, tmp_path, "--verbose", "build", "--no-test")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("hello, nothing changed: cached" in done.stderr) == (word == "two"), done.stderr
    raw = rig.raw_disk(tmp_path / ".bakery" / "images" / "box" / "stepped.ova", tmp_path / "unpacked").read_bytes()
    assert MARKER.encode() in raw
    assert rig.left(home) == set()


def test_a_host_without_virtualbox_is_told_before_anything_is_made(tmp_path: Path, home: Home) -> None:
    write(tmp_path, "none", BOX)
    (home.path / "bin" / "VBoxManage").unlink()
    done = rig.bake(home, tmp_path, "build")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "VBoxManage" in done.stderr
    assert "Traceback" not in done.stderr


POINTS = os.environ.get("BAKERY_VIRTUALBOX_KILL", "4 7 10 13")


def test_a_build_killed_at_the_lines_of_its_journal_leaves_nothing_that_gc_does_not_take(
    tmp_path: Path, home: Home
) -> None:
    """BAKERY_VIRTUALBOX_KILL names the points; `all` is every one of them."""
    write(tmp_path, "killed", BOX)
    images = tmp_path / ".bakery" / "images"

    def exists() -> set[str]:
        files = {
            f"file {path}" for path in (*tmp_path.glob(".bakery/runs/*/machines/*/virtualbox"), *images.glob("*/*"))
        }
        return rig.left(home) | files

    figures = Figures()
    matrix = KillMatrix(
        project=tmp_path,
        exists=exists,
        words=("--no-cache",),
        timeout=1800,
        image=lambda thing: thing.endswith("/killed.ova"),
        environ=rig.environ(home, tmp_path / "cache"),
        after_kill=lambda: figures.syncs.append(sync()),
    )
    results = []
    for killed in matrix.run(None if POINTS == "all" else iter([int(word) for word in POINTS.split()])):
        print(killed.point, killed.place, killed.exit_code, killed.gc_code, killed.left, flush=True)  # noqa: T201  slow
        results.append(killed)
        figures.roles["bake"] += 1
        figures.codes[killed.exit_code] += 1
    assert [one for one in results if one.left or one.gc_code] == []
    assert [one.output for one in results if one.exit_code != -9] == []
    assert figures.slow <= len(results) // 10, str(figures)
    tell(figures)
