"""`bake` on a real OpenStack: beside QEMU from one imagefile, replaced by name, killed at the lines of its journal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import keep
from bakery.errors import SmokeError
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.kill import KillMatrix
from tests.live import openstackrig as rig

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(7200)]

IMAGEFILE = """
import bakery
from bakery import Artifact
from bakery.drivers import OpenStack, Qemu

SHOW = {show!r}

@bakery.source
def cloud() -> OpenStack:
    return OpenStack(
        base={base!r}, flavor={flavor!r}, network={inside!r}, floating_network={network!r}, host_key="console",
        user_data=SHOW, tags=("web",), properties={{"os_distro": "tiny"}},
    )

{laptop}

@bakery.task
def hello(m):
    m.write("/etc/hello", "hello")

@bakery.test
def said_hello(host):
    assert host.file("/etc/hello").contains("hello")

@bakery.image
def {name}():
    pass
"""
LAPTOP = """
@bakery.source
def laptop() -> Qemu:
    disk = Artifact(driver="qemu", id={disk!r}, name="tiny", format="qcow2")
    return Qemu(base=disk, memory="256M", user_data=SHOW, host_key="console")
"""


@pytest.fixture
def cloud() -> OpenStackCloud:
    return rig.cloud()


def write(folder: Path, name: str, laptop: str = "") -> None:
    text = IMAGEFILE.format(
        show=rig.SHOW_HOST_KEY,
        base=rig.BASE,
        flavor=rig.FLAVOR,
        inside=rig.INSIDE,
        network=rig.NETWORK,
        laptop=laptop,
        name=name,
    )
    (folder / "imagefile.py").write_text(text, encoding="utf-8")


def bake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bakery", "-C", str(folder), *words],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "BAKERY_CACHE_DIR": str(folder / "cache")},
    )


def test_one_imagefile_bakes_through_qemu_and_openstack_in_one_run(tmp_path: Path, cloud: OpenStackCloud) -> None:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    write(tmp_path, "both", LAPTOP.format(disk=str(disk)))
    before = rig.left(cloud)
    done = bake(tmp_path, "build", "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    new = rig.left(cloud) - before
    assert [thing.rpartition(" ")[0] for thing in new] == ["image both"]
    image = resources.get(cloud, "image", new.pop().split()[-1])
    assert image is not None
    assert (image.tags, image.os_distro, image.properties["bakery:image"]) == (["web"], "tiny", "both")
    assert "bakery:expires" not in image
    assert "bakery:run" not in image
    assert list((tmp_path / ".bakery" / "images").glob("laptop/both.qcow2"))
    resources.delete(cloud, "image", image.id)


def test_a_second_build_takes_the_name_over_and_hides_the_first(tmp_path: Path, cloud: OpenStackCloud) -> None:
    write(tmp_path, "swap")
    for _ in range(2):
        done = bake(tmp_path, "build", "--no-cache", "--no-test")
        assert done.returncode == 0, done.stdout + done.stderr
    shown = [one for one in resources.list_all(cloud, "image", name="swap") if not one.is_hidden]
    hidden = resources.list_all(cloud, "image", name="swap", is_hidden=True)
    assert (len(shown), len(hidden)) == (1, 1)
    assert keep.users(cloud, shown[0].id) == []
    for one in (*shown, *hidden):
        resources.delete(cloud, "image", one.id)


PUBLISHED = """
@bakery.source
def there() -> bakery.publish.OpenStack:
    return bakery.publish.OpenStack(
        base=laptop, flavor={flavor!r}, network={network!r}, host_key="console", user_data=SHOW,
    )

@bakery.test(only=[there])
def runs_there(host):
    assert host.file("{place}").exists

@bakery.image(sources=[laptop, there], builtin_tests=False)
def published():
    pass
"""


def publishing(folder: Path, place: str) -> None:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    write(folder, "published", LAPTOP.format(disk=str(disk)))
    head = (folder / "imagefile.py").read_text(encoding="utf-8").rpartition("@bakery.image")[0]
    tail = PUBLISHED.format(flavor=rig.FLAVOR, network=rig.NETWORK, place=place)
    (folder / "imagefile.py").write_text(head + tail, encoding="utf-8")


def test_an_image_made_here_is_published_tested_there_and_kept_in_both_places(
    tmp_path: Path, cloud: OpenStackCloud
) -> None:
    publishing(tmp_path, "/etc/hello")
    before = rig.left(cloud)
    done = bake(tmp_path, "build")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[published@there] smoke, 2 of 2 tests passed: ok" in done.stderr
    new = rig.left(cloud) - before
    assert [thing.rpartition(" ")[0] for thing in new] == ["image published"]
    assert re.search(r"published@there +up to date", bake(tmp_path, "build").stderr)
    resources.delete(cloud, "image", new.pop().split()[-1])


def test_what_fails_its_tests_there_is_kept_here_alone(tmp_path: Path, cloud: OpenStackCloud) -> None:
    publishing(tmp_path, "/etc/none")
    before = rig.left(cloud)
    done = bake(tmp_path, "build")
    assert done.returncode == SmokeError.exit_code, done.stdout + done.stderr
    assert rig.left(cloud) == before
    assert list((tmp_path / ".bakery" / "images").glob("laptop/published.qcow2"))


SECOND = """
@bakery.task
def second(m):
    m.run("echo begun; {wait}; echo second >> /etc/second")
"""


def test_a_server_outlives_a_bake_that_is_killed_and_is_gone_on_with(tmp_path: Path, cloud: OpenStackCloud) -> None:
    write(tmp_path, "resumed")
    before, file = rig.left(cloud), tmp_path / "imagefile.py"
    first = file.read_text().replace("@bakery.test", SECOND.format(wait="sleep 4000") + "\n@bakery.test")
    file.write_text(first)
    words = [sys.executable, "-m", "bakery", "-C", str(tmp_path), "--verbose", "build", "--no-cache"]
    environ = {**os.environ, "BAKERY_CACHE_DIR": str(tmp_path / "cache")}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environ) as killed:
        assert killed.stderr is not None
        assert any("begun" in line and "echo" not in line for line in killed.stderr)
        killed.kill()
    (server,) = [thing for thing in rig.left(cloud) - before if thing.startswith("server")]
    file.write_text(first.replace("sleep 4000", "true"))
    done = bake(tmp_path, "build", "--resume", "--no-cache")
    assert done.returncode == 0, done.stderr
    assert "continues after hello, on the machine that still runs" in done.stderr
    (left,) = rig.left(cloud) - before
    assert left.startswith("image resumed "), (left, server)
    resources.delete(cloud, "image", left.split()[-1])


POINTS = os.environ.get("BAKERY_OPENSTACK_KILL", "3 9 15 21 27 33 39 45")


def test_a_build_killed_at_the_lines_of_its_journal_leaves_nothing_that_gc_does_not_take(
    tmp_path: Path, cloud: OpenStackCloud
) -> None:
    """BAKERY_OPENSTACK_KILL names the points; `all` is every one of them."""
    write(tmp_path, "killed")
    matrix = KillMatrix(
        project=tmp_path,
        exists=lambda: rig.left(cloud),
        words=("--no-cache",),
        timeout=1200,
        image=lambda thing: thing.startswith("image killed "),
        environ={"BAKERY_CACHE_DIR": str(tmp_path / "cache")},
    )
    points = None if POINTS == "all" else iter([int(word) for word in POINTS.split()])
    try:
        results = []
        for killed in matrix.run(points):
            print(killed.point, killed.place, killed.exit_code, killed.gc_code, killed.left, flush=True)  # noqa: T201  takes hours
            results.append(killed)
        assert [one for one in results if one.left or one.gc_code] == []
        assert all(one.exit_code == -9 for one in results)
    finally:
        for one in resources.list_all(cloud, "image", name="killed"):
            resources.delete(cloud, "image", one.id)
        for one in resources.list_all(cloud, "image", name="killed", is_hidden=True):
            resources.delete(cloud, "image", one.id)
