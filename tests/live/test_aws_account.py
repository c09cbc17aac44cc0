"""A real account: one build and one upload, tagged, deleted and swept. `make test-aws`; docs/aws.md says what it costs.

`BAKERY_TEST_AWS=yes` says that it may. Region and credentials are the SDK's own. `BAKERY_TEST_AWS_OWNER` and
`BAKERY_TEST_AWS_NAME` name another base than Debian's, `BAKERY_TEST_AWS_TYPES` other instance types.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.drivers.ec2.api.account import Ec2Account, Ec2Clouds
from bakery.drivers.ec2.driver import Ec2Driver
from bakery.drivers.ec2.publish.blocks import SIZE
from bakery.model import Artifact, Resource, Where
from bakery.publish import Ec2 as Publish
from tests.contract.ec2life import Life

pytestmark = [
    pytest.mark.aws,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        os.environ.get("BAKERY_TEST_AWS") != "yes", reason="costs money: BAKERY_TEST_AWS=yes says that it may"
    ),
]

IMAGEFILE = """
import os

import bakery
from bakery.drivers import Ec2, Newest


@bakery.source
def aws() -> Ec2:
    owner = os.environ.get("BAKERY_TEST_AWS_OWNER", "136693071363")
    name = os.environ.get("BAKERY_TEST_AWS_NAME", "debian-12-amd64-*")
    types = os.environ.get("BAKERY_TEST_AWS_TYPES", "t3.micro t3a.micro t2.micro")
    return Ec2(base=Newest(owner=owner, name=name), instance_type=tuple(types.split()), spot=False,
               tags={"purpose": "bakery's own test"}, run_tags={"purpose": "bakery's own test"})


@bakery.task
def marker(m) -> None:
    m.run("echo baked >/etc/marker")


@bakery.test
def marker_is_there(host) -> None:
    assert host.file("/etc/marker").content_string == "baked\\n"


@bakery.image
def bakery_own_test() -> str:
    return "bakery-own-test"
"""
MINUTES = 40
"""After which the build ends itself, so that it cannot cost more."""


@pytest.fixture
def account() -> Ec2Account:
    """The account and region of the environment, without a guess."""
    cloud = Ec2Clouds().get(Ec2Account())
    cloud.call("get_caller_identity", "say who we are", service="sts")
    assert cloud.account.region, "AWS_REGION, or a profile with a region"
    return cloud.account


@pytest.fixture
def project(tmp_path: Path, account: Ec2Account) -> Iterator[Path]:
    """A project; whatever its runs leave is destroyed, and is a failure."""
    (tmp_path / "imagefile.py").write_text(IMAGEFILE)
    yield tmp_path
    swept = [thing for run in (tmp_path / ".bakery" / "runs").glob("*") for thing in sweep(run.name, account)]
    assert swept == [], "a run left things behind; they are destroyed now"


def sweep(run: str, account: Ec2Account) -> list[str]:
    driver, where = Ec2Driver(), Where(run=run, settings={"region": account.region})
    found: list[Resource] = list(driver.find(where))
    for thing in reversed(found):
        driver.destroy(thing)
    return [str(thing) for thing in found]


def bake(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bakery", "-C", str(project), *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "BAKERY_CACHE_DIR": str(project / "cache"), "NO_COLOR": "1"},
    )


def test_a_whole_build(project: Path) -> None:
    done = bake(project, "build", "--deadline", f"{MINUTES}m")
    print(done.stderr)  # noqa: T201  where the time went
    assert done.returncode == 0, done.stderr
    again = bake(project, "build", "--deadline", f"{MINUTES}m")
    assert "up to date" in again.stderr
    assert bake(project, "rm", "--yes", "bakery-own-test").returncode == 0
    image = Ec2Clouds().get(Ec2Account()).images.now(done.stdout.strip())
    assert image is None or image["State"] != "available", "AWS may go on describing what is deregistered"


def test_a_disk_by_the_ebs_direct_apis(tmp_path: Path, account: Ec2Account) -> None:
    """EBS compares our digests, refuses what we must not ask, and takes a difference against the snapshot before."""
    disk = tmp_path / "disk.raw"
    publisher = Publish(region=account.region, tags={"purpose": "bakery's own test"})
    life = Life(publisher, tmp_path, number=os.getpid())
    kept: list[Artifact] = []
    try:
        for content in (b"first", b"second"):
            with disk.open("wb") as file:
                file.truncate(4 * SIZE)
                file.write(content)
            local = Artifact(driver="qemu", id=str(disk), name="bakery-own-test", format="raw")
            made = publisher.publish(local, "bakery-own-test", life.claim(f"image-{content.decode()}"))
            kept.append(life.driver.keep(made, "bakery-own-test", life.claim(f"keep-{content.decode()}")))
        assert len({snapshot for image in kept for snapshot in image.data["snapshots"][account.region]}) == 2
    finally:
        life.ledger.undo(Ec2Driver())
        for image in kept:
            life.driver.delete(image)
        assert sweep(life.run, account) == []
