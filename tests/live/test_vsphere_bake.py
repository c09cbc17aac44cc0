"""Whole builds in a vCenter as users make them: `bake`, vcsim over TLS, and a real guest behind every machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyVmomi import vim

from bakery.drivers.vsphere.api import marks
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.kill import KillMatrix
from tests.contract.vcsim import VCenterStandIn
from tests.contract.vcsimlibrary import LibraryHand
from tests.live.baking import TINY

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(3600)]

BOTH = (
    TINY.replace("import Qemu", "import Qemu, VSphere").replace(
        "@bakery.task",
        """@bakery.source
def center() -> VSphere:
    return VSphere(base="/DC0/vm/tiny", cluster="DC0_C0", folder="built", notes="Made by a test.", poll=0.2)


@bakery.source
def published() -> bakery.publish.VSphere:
    return bakery.publish.VSphere(base=here, cluster="DC0_C0", folder="published", network="VM Network", poll=0.2)


@bakery.task""",
    )
).replace("@bakery.image(builtin_tests=False)", "@bakery.image(sources=[here, center, published], builtin_tests=False)")
"""The same task and test, here and in the vCenter; and the image that was made here, imported there."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenterStandIn]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with VCenterStandIn(tmp_path_factory.mktemp("vcsim") / "front", guests=disk) as front:
        yield front


@pytest.fixture(scope="module")
def library(front: VCenterStandIn) -> LibraryHand:
    return LibraryHand(front, "images")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "imagefile.py").write_text(BOTH)
    return tmp_path


IMPORTED = (
    TINY.replace("import Qemu", "import Appliance, Qemu, VSphere")
    .replace(
        "@bakery.task",
        """@bakery.source
def imported() -> VSphere:
    return VSphere(
        base=Appliance(str(Path(__file__).with_name("tiny.ova"))),
        cluster="DC0_C0",
        folder="imported",
        network="VM Network",
        poll=0.2,
    )


@bakery.task""",
    )
    .replace("@bakery.image(builtin_tests=False)", "@bakery.image(sources=[imported], builtin_tests=False)")
)
"""The same task and test on a machine that an OVA was imported as."""


def environ(project: Path, front: VCenterStandIn) -> dict[str, str]:
    cache = os.environ.get("BAKERY_TEST_CACHE", str(project / "cache"))
    return {"BAKERY_CACHE_DIR": cache, "NO_COLOR": "1", **front.environment}


def bake(project: Path, front: VCenterStandIn, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bakery", "-C", str(project), *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environ(project, front)},
        timeout=900,
    )


def there(front: VCenterStandIn) -> set[str]:
    """All there is, but files, which `exists` has too."""
    return {thing for thing in front.exists() if not thing.startswith(("file ", "guest "))}


def test_one_imagefile_bakes_the_same_task_here_and_in_a_vcenter(front: VCenterStandIn, project: Path) -> None:
    before = there(front)
    done = bake(project, front, "build", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    new = {thing.rpartition(" ")[0] if thing.startswith("template") else thing for thing in there(front) - before}
    places = {"built", "published"}
    assert new == {f"template /DC0/vm/{place}/tiny" for place in places} | {
        f"folder /DC0/vm/{place}" for place in places
    }
    began = time.monotonic()
    again = bake(project, front, "build", "--only", "center")
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - began < 10, "nothing has changed: " + again.stderr
    gone = bake(project, front, "rm", "--yes", "tiny@center", "tiny@published")
    assert gone.returncode == 0, gone.stderr
    assert there(front) - before == {"folder /DC0/vm/built", "folder /DC0/vm/published"}, gone.stderr


@pytest.mark.parametrize("image", ["ova", "library-ovf", "library-template"])
def test_an_image_that_leaves_the_inventory_is_tested_as_what_it_is(
    front: VCenterStandIn, library: LibraryHand, project: Path, image: str
) -> None:
    """Exported, or written into a content library, it is imported or deployed again, and a guest boots from that."""
    del library  # it is there
    before = there(front)
    more = "" if image == "ova" else ', library="images"'
    text = BOTH.replace("poll=0.2)", f'image="{image}", network="VM Network", poll=0.2{more})', 1)
    (project / "imagefile.py").write_text(text)
    words = ("-o", str(project / "out" / "tiny.ova")) if image == "ova" else ()
    done = bake(project, front, "build", "--only", "center", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    new = {thing.rpartition(" ")[0] for thing in there(front) - before if thing.startswith("item")}
    assert new == (set() if image == "ova" else {"item tiny of images"})
    if image == "ova":
        with tarfile.open(project / "out" / "tiny.ova") as archive:
            assert archive.getnames() == ["tiny.ovf", "tiny.mf", "tiny-disk1.vmdk"]
        other = project / "other"  # which stands on what was exported
        other.mkdir()
        (project / "out" / "tiny.ova").rename(other / "tiny.ova")
        (other / "imagefile.py").write_text(IMPORTED)
        built = bake(other, front, "build")
        assert built.returncode == 0, built.stdout + built.stderr
        assert bake(other, front, "rm", "--yes", "tiny@imported").returncode == 0
    gone = bake(project, front, "rm", "--yes", "tiny@center")
    assert gone.returncode == 0, gone.stderr
    assert there(front) - before <= {"folder /DC0/vm/built", "folder /DC0/vm/imported"}, gone.stderr


def test_a_build_killed_at_any_point_leaves_nothing_after_gc(front: VCenterStandIn, project: Path) -> None:
    """At some points; `BAKERY_KILL_POINTS=all` tries every one, `3,9` those two."""
    matrix = KillMatrix(
        project=project,
        exists=lambda: temporary(front),
        words=("--only", "center", "--no-cache"),
        environ=environ(project, front),
        timeout=900,
    )
    places = matrix.places()
    chosen = os.environ.get("BAKERY_KILL_POINTS", f"4,{len(places) // 2},{len(places) - 8}")
    points = [int(word) for word in chosen.split(",")] if chosen != "all" else range(1, len(places) + 1)
    for killed in matrix.run(iter(points)):
        print(killed.point, len(places), killed.place, killed.exit_code, killed.gc_code, killed.left)  # noqa: T201  figures
        assert killed.left == (), killed.output


def temporary(front: VCenterStandIn) -> set[str]:
    """All there is but finished images, with their files and the folder that they are in.

    A build that is killed between its new image and the end of the old one leaves both: the old one, which stepped
    aside, goes with the next build. Without a new one the old one has its name.
    """
    things = front.exists()
    finished: set[str] = set()
    read = marks.Reader(front.center)
    for machine, values in front.center.all({vim.VirtualMachine: ("name", *marks.PATHS, "config.files")}):
        carried = read.of(values)
        if carried.get(marks.IMAGE) != "tiny" or marks.EXPIRES in carried:
            continue
        finished.add(str(values["name"]))
        files = values["config.files"].vmPathName.partition("] ")[2].partition("/")[0]
        own = machine._GetMoId()
        things = {
            thing
            for thing in things
            if not thing.startswith((f"file {files}/", f"guest {own}.", "folder /DC0/vm/built"))
            and thing != f"file {files}"
            and not thing.endswith(f" {own}")
        }
    return things if "tiny" in finished or not finished else {*things, f"no image has the name, but {finished}"}
