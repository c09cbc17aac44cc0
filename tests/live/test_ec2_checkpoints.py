"""Checkpoints of real guests on EC2: images of a running machine, found by their tags from another host, and pruned."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.testing.aws import Aws, aws
from bakery.testing.aws.tiny import tiny_guest

pytestmark = [pytest.mark.live, pytest.mark.all]

IMAGEFILE = """
import bakery
from bakery.drivers import Ec2


@bakery.source
def aws() -> Ec2:
    return Ec2(base="ami-0000000000000ba5e", region="us-east-1", instance_type="t3.micro", poll=0.2,
               keep_checkpoints=1)


@bakery.task
def first(m) -> None:
    m.put("site.conf", "/etc/site.conf")


@bakery.task(checkpoint=True)
def second(m) -> None:
    m.run("cat /etc/site.conf > /etc/second; echo ran >> /etc/times")


@bakery.task
def third(m) -> None:
    m.run("echo third > /etc/third")


@bakery.test
def all_of_them(host) -> None:
    assert host.file("/etc/second").content_string == "one\\n"
    assert host.file("/etc/times").content_string == "ran\\n"
    assert host.file("/etc/third").exists


@bakery.image(builtin_tests=False)
def web() -> None: ...
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with aws(tmp_path_factory.mktemp("aws"), base=disk) as running:
        yield running


def bake(folder: Path, cloud: Aws, text: str = IMAGEFILE) -> str:
    """Bake in a folder as on a host that has never seen the project, and return what was told."""
    folder.mkdir(exist_ok=True)
    (folder / "imagefile.py").write_text(text)
    (folder / "site.conf").write_text("one\n")
    done = subprocess.run(
        [sys.executable, "-m", "bakery", "-C", str(folder), "build"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **cloud.environment, "BAKERY_CACHE_DIR": f"{folder}-cache", "NO_COLOR": "1"},
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def ran(told: str) -> list[str]:
    return [name for name in ("first", "second", "third") if f"{name}: ok" in told]


def steps(cloud: Aws) -> list[str]:
    found = cloud.client().describe_images(Owners=["self"])["Images"]
    return [image["Name"] for image in found if image["Name"].startswith("bakery-step-")]


def test_another_host_goes_on_from_a_checkpoint_and_only_the_newest_stay(cloud: Aws, tmp_path: Path) -> None:
    assert ran(bake(tmp_path / "here", cloud)) == ["first", "second", "third"]
    kept = steps(cloud)
    assert len(kept) == 1
    assert ran(bake(tmp_path / "there", cloud)) == ["third"]
    assert steps(cloud) == kept

    changed = IMAGEFILE.replace("cat /etc/site.conf", "cat  /etc/site.conf")
    assert ran(bake(tmp_path / "there", cloud, changed)) == ["first", "second", "third"]
    assert len(steps(cloud)) == 1
    assert steps(cloud) != kept
