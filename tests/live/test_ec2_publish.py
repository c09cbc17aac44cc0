"""An image made by QEMU here, taken to EC2 block by block, booted there from those blocks, tested and kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.testing.aws import Aws, Fault, Proxy, aws
from bakery.testing.aws.tiny import tiny_guest
from bakery.testing.kill import KillMatrix
from tests.live.baking import TINY, Project, is_kept

pytestmark = pytest.mark.live

PUBLISHED = TINY.replace(
    "@bakery.task",
    """@bakery.source
def there() -> bakery.publish.Ec2:
    return bakery.publish.Ec2(base=here, region="us-east-1", instance_type="t3.micro", poll=0.2)


@bakery.task""",
).replace(
    "@bakery.image",
    """@bakery.test(only=[there])
def runs_there(host):
    assert host.file("/root/hello").exists


@bakery.image""",
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    disk = tiny_guest(Path.home() / ".cache" / "bakery-tests")
    with aws(tmp_path_factory.mktemp("aws"), base=disk) as running:
        yield running


@pytest.fixture
def published(project: Project, cloud: Aws) -> Project:
    project.environ = {**project.environ, **cloud.environment}
    project.write(PUBLISHED)
    return project


def images(cloud: Aws) -> list[str]:
    found = cloud.client().describe_images(Owners=["self"])["Images"]
    return sorted(image["Name"] for image in found)


def test_an_image_made_here_is_published_and_tested_there(published: Project, cloud: Aws) -> None:
    done = published.bake("build")
    assert done.code == 0, done.err
    assert "[tiny@there] smoke, 2 of 2 tests passed: ok" in done.err
    assert re.fullmatch(r"tiny-\d{8}T\d{6}Z", "".join(images(cloud)))
    assert {kind: len(names) for kind, names in cloud.left().items()} == {"image": 1, "snapshot": 1}
    assert [image["format"] for image in published.images()] == ["qcow2", "ami"]

    again = published.bake("build")
    assert again.code == 0, again.err
    assert "tiny@there  up to date" in again.err

    assert published.bake("rm", "--yes", published.images()[1]["id"]).code == 0
    assert cloud.left() == {}


@pytest.mark.all
def test_only_what_changed_travels_and_what_fails_there_is_kept_here(published: Project, cloud: Aws) -> None:
    with Proxy(cloud.url) as proxy:
        published.environ["AWS_ENDPOINT_URL"] = proxy.url
        assert published.bake("build").code == 0
        first = sum(call.startswith("PUT /snapshots/") for call in proxy.calls)
        proxy.calls.clear()
        published.write(PUBLISHED.replace("echo hello", "echo hello again"))
        assert published.bake("build").code == 0
        second = sum(call.startswith("PUT /snapshots/") for call in proxy.calls)
        print(f"{first} blocks, then {second}")  # noqa: T201  figures
        assert 0 < second < first / 2

        kept = images(cloud)
        published.write(PUBLISHED.replace("echo hello", "echo hello thrice"))
        proxy.faults.append(Fault(action="POST /snapshots/completion/.*", code="AccessDeniedException", status=403))
        done = published.bake("build")
        assert done.code == 5, done.err
        assert images(cloud) == kept
        assert [image["format"] for image in published.images()].count("qcow2") >= 1
    assert {kind: len(names) for kind, names in cloud.left().items()} == {"image": 2, "snapshot": 2}


@pytest.mark.all
@pytest.mark.timeout(3600)
def test_publishing_killed_at_any_journal_line_leaks_nothing(published: Project, cloud: Aws) -> None:
    assert published.bake("build", "--only", "here").code == 0

    def there() -> set[str]:
        return {f"{kind} {name}" for kind, names in cloud.left().items() for name in names}

    def kept(thing: str) -> bool:
        name = thing.split()[1]
        found = cloud.client().describe_tags(Filters=[{"Name": "resource-id", "Values": [name]}])["Tags"]
        keys = {tag["Key"] for tag in found}
        return is_kept(published)(thing) or not keys or ("bakery:image" in keys and "bakery:expires" not in keys)

    matrix = KillMatrix(
        project=published.folder,
        exists=lambda: published.left() | there(),
        words=("--only", "there"),
        environ=published.env,
        image=kept,
        timeout=900,
    )
    tried = 0
    for point in range(1, len(matrix.places()) + 1):
        published.write(PUBLISHED.replace("echo hello", f"echo hello {point}"))
        assert published.bake("build", "--only", "here").code == 0
        killed = matrix.kill_at(point)
        tried += 1
        print(point, killed.place, killed.exit_code, killed.gc_code, killed.left)  # noqa: T201  figures
        assert killed.left == (), killed.output
    assert tried
