"""Whole builds on EC2 as users make them: `bake`, moto's server, and a real guest behind every instance."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.testing.aws import Aws, aws
from bakery.testing.aws.cloud import REGION
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.kill import KillMatrix

pytestmark = pytest.mark.live

IMAGEFILE = """
import bakery
from bakery import Host, Machine
from bakery.drivers import Debian, Ec2, Qemu


@bakery.source
def laptop() -> Qemu:
    return Qemu(base=Debian("bookworm"))


@bakery.source
def aws() -> Ec2:
    return Ec2(base="ami-0000000000000ba5e", region="us-east-1", instance_type="t3.micro", poll=0.2,
               copy_to=("eu-central-1",))


@bakery.task
def marker(m: Machine) -> None:
    m.run("echo baked > /etc/marker")


@bakery.test
def marker_is_there(host: Host) -> None:
    assert host.file("/etc/marker").content_string == "baked\\n"


@bakery.image(sources=[laptop, aws], tasks=[marker], tests=[marker_is_there])
def web() -> None: ...
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with aws(tmp_path_factory.mktemp("aws"), base=disk) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "imagefile.py").write_text(IMAGEFILE)
    return tmp_path


def bake(project: Path, cloud: Aws, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bakery", "-C", str(project), *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **cloud.environment},
        timeout=900,
    )


def things(cloud: Aws) -> set[str]:
    regions = (REGION, "eu-central-1")
    return {f"{kind} {name}" for region in regions for kind, names in cloud.left(region).items() for name in names}


@pytest.mark.all
def test_one_imagefile_bakes_the_same_tasks_here_and_on_ec2_at_once(cloud: Aws, project: Path) -> None:
    done = bake(project, cloud, "build", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = sorted(thing.split()[0] for thing in things(cloud))
    assert kinds == ["image", "image", "snapshot", "snapshot"]


@pytest.mark.all
def test_a_build_killed_at_any_point_leaves_nothing_after_gc(cloud: Aws, project: Path) -> None:
    """At some points; `BAKERY_KILL_POINTS=all` tries every one, `3,9` those two."""
    matrix = KillMatrix(
        project=project,
        exists=lambda: things(cloud),
        words=("--only", "aws", "--no-cache"),
        image=lambda thing: thing.startswith(("image ", "snapshot ")) and kept(cloud, thing),
        environ=cloud.environment,
        timeout=900,
    )
    places = matrix.places()
    chosen = os.environ.get("BAKERY_KILL_POINTS", f"4,9,{len(places) // 2},{len(places) - 8}")
    points = [int(word) for word in chosen.split(",")] if chosen != "all" else range(1, len(places) + 1)
    for killed in matrix.run(iter(points)):
        print(killed.point, len(places), killed.place, killed.exit_code, killed.gc_code, killed.left)  # noqa: T201  figures
        assert killed.left == (), killed.output


def kept(cloud: Aws, thing: str) -> bool:
    """Whether it carries the tag of something handed over, and none of something temporary."""
    name = thing.split()[1]
    for region in (REGION, "eu-central-1"):
        found = cloud.client(region=region).describe_tags(Filters=[{"Name": "resource-id", "Values": [name]}])["Tags"]
        keys = {tag["Key"] for tag in found}
        if keys:
            return "bakery:image" in keys and "bakery:expires" not in keys
    return False


TWO = """
@bakery.task
def second(m: Machine) -> None:
    m.run("echo begun; {wait}; echo second >> /etc/second")


@bakery.image(sources=[aws], tasks=[marker, second], tests=[marker_is_there], builtin_tests=False)
def two() -> None: ...
"""


@pytest.mark.all
def test_an_instance_outlives_a_bake_that_is_killed_and_is_gone_on_with(cloud: Aws, project: Path) -> None:
    before, file = things(cloud), project / "imagefile.py"
    file.write_text(IMAGEFILE.partition("@bakery.image")[0] + TWO.format(wait="sleep 4000"))
    words = [sys.executable, "-m", "bakery", "-C", str(project), "--verbose", "build", "two", "--no-cache"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, **cloud.environment}) as killed:
        assert killed.stderr is not None
        assert any("begun" in line and "echo" not in line for line in killed.stderr)
        killed.kill()
    assert any(thing.startswith("instance") for thing in things(cloud) - before)
    file.write_text(file.read_text().replace("sleep 4000", "true"))
    done = bake(project, cloud, "build", "two", "--resume", "--no-cache")
    assert done.returncode == 0, done.stderr
    assert "continues after marker, on the machine that still runs" in done.stderr
    assert {thing.split()[0] for thing in things(cloud) - before} <= {"image", "snapshot"}
