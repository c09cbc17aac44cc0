"""An AMI from a local disk, through moto's EBS direct API: only used blocks, with digests, and only what changed."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import bakery.publish
from bakery.drivers.ec2.driver import Ec2Driver
from bakery.drivers.ec2.image import retire
from bakery.drivers.ec2.publish.blocks import SIZE
from bakery.errors import DriverError
from bakery.model import Artifact
from bakery.testing.aws import Aws, Fault, Proxy, aws
from bakery.testing.aws.cloud import REGION
from bakery.testing.contract import Stop
from tests.contract.ec2life import Life, OneLedger


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with aws(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture
def proxy(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy(cloud.url) as running:
        for name, value in {**cloud.environment, "AWS_ENDPOINT_URL": running.url}.items():
            monkeypatch.setenv(name, value)
        yield running


PUBLISHER = bakery.publish.Ec2(region=REGION, instance_type="t3.micro", poll=0.05)


def local(path: Path, blocks: dict[int, bytes], count: int = 64) -> Artifact:
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(count * SIZE)
        for index, data in blocks.items():
            file.seek(index * SIZE)
            file.write(data)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)], check=True)
    return Artifact(driver="qemu", id=str(path), name="web", format="qcow2", settings={"firmware": "bios"})


def puts(proxy: Proxy) -> list[int]:
    found = [call.split("/") for call in proxy.calls if call.startswith("PUT /snapshots/")]
    return sorted(int(words[-1].split("?")[0]) for words in found)


def content(cloud: Aws, snapshot: str) -> dict[int, bytes]:
    ebs = cloud.client("ebs")
    found: dict[int, bytes] = {}
    for block in ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]:
        answer = ebs.get_snapshot_block(
            SnapshotId=snapshot, BlockIndex=block["BlockIndex"], BlockToken=block["BlockToken"]
        )
        found[block["BlockIndex"]] = answer["BlockData"].read()
    return found


def test_only_used_blocks_travel_and_the_image_can_be_started_and_kept(
    cloud: Aws, proxy: Proxy, tmp_path: Path
) -> None:
    life = Life(PUBLISHER, tmp_path)
    artifact = local(tmp_path / "web.qcow2", {0: b"boot", 9: b"root", 40: b"end"})
    made = PUBLISHER.publish(artifact, "web", life.claim("image"))
    assert puts(proxy) == [0, 9, 40]
    assert {index: data.rstrip(b"\0") for index, data in content(cloud, made.data["snapshots"][0]).items()} == {
        0: b"boot",
        9: b"root",
        40: b"end",
    }
    life.smoke(made)
    kept = life.keep(made)
    described = cloud.client().describe_images(ImageIds=[kept.id])["Images"][0]
    assert described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == made.data["snapshots"][0]
    assert described["BootMode"] == "legacy-bios"
    life.ledger.undo(life.driver)

    proxy.calls.clear()
    again = Life(PUBLISHER, tmp_path, number=2)
    changed = local(tmp_path / "web2.qcow2", {0: b"boot", 9: b"ROOT", 41: b"new"})
    made_again = PUBLISHER.publish(changed, "web", again.claim("image"))
    assert puts(proxy) == [9, 40, 41], "what changed, what became empty, what is new"
    kept_again = again.keep(made_again)
    again.ledger.undo(again.driver)

    proxy.calls.clear()
    third = Life(PUBLISHER, tmp_path, number=3)
    PUBLISHER.publish(local(tmp_path / "web3.qcow2", {0: b"boot", 9: b"3", 41: b"new"}), "web", third.claim("image"))
    assert puts(proxy) == [9], "what became empty before is empty in the parent"
    third.ledger.undo(third.driver)
    for image in (kept, kept_again):
        life.driver.delete(image)
    assert cloud.left() == {}


@pytest.mark.parametrize("action", ["PUT /snapshots/.*", "POST /snapshots", "POST /snapshots/completion/.*"])
def test_an_upload_survives_throttling(cloud: Aws, proxy: Proxy, tmp_path: Path, action: str) -> None:
    proxy.faults.append(Fault(action=action, code="RequestThrottledException", status=503, times=2))
    life = Life(PUBLISHER, tmp_path)
    made = PUBLISHER.publish(
        local(tmp_path / "web.qcow2", {n: b"x%d" % n for n in range(8)}), "web", life.claim("image")
    )
    assert proxy.faults[0].met == 2
    assert len(content(cloud, made.data["snapshots"][0])) == 8
    life.ledger.undo(Ec2Driver())
    assert cloud.left() == {}


def test_an_upload_that_is_forbidden_leaves_nothing(cloud: Aws, proxy: Proxy, tmp_path: Path) -> None:
    proxy.faults.append(Fault(action="PUT /snapshots/.*", code="AccessDeniedException", status=403, times=-1))
    life = Life(PUBLISHER, tmp_path)
    with pytest.raises(DriverError, match="did not take block"):
        PUBLISHER.publish(local(tmp_path / "web.qcow2", {0: b"x"}), "web", life.claim("image"))
    life.ledger.undo(Ec2Driver())
    assert cloud.left() == {}


def test_a_block_that_was_changed_on_its_way_is_refused(cloud: Aws) -> None:
    ebs = cloud.client("ebs")
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    digest = base64.b64encode(hashlib.sha256(b"x".ljust(SIZE, b"\0")).digest()).decode()
    with pytest.raises(ebs.exceptions.ValidationException, match="not what its checksum says"):
        ebs.put_snapshot_block(
            SnapshotId=snapshot,
            BlockIndex=0,
            BlockData=b"y".ljust(SIZE, b"\0"),
            DataLength=SIZE,
            Checksum=digest,
            ChecksumAlgorithm="SHA256",
        )
    cloud.client().delete_snapshot(SnapshotId=snapshot)
    assert cloud.left() == {}


KEY = "arn:aws:kms:us-east-1:123456789012:key/one"


@pytest.mark.parametrize(
    ("first", "second", "travels"),
    [
        (True, True, [9]),
        (KEY, KEY, [9]),
        (False, True, [0, 9]),
        (True, False, [0, 9]),
        (KEY, KEY.replace("one", "two"), [0, 9]),
    ],
)
def test_a_snapshot_stands_on_its_parent_only_where_both_are_encrypted_alike(
    cloud: Aws, proxy: Proxy, tmp_path: Path, *, first: bool | str, second: bool | str, travels: list[int]
) -> None:
    """EC2 refuses a key beside a parent: what stands on one is encrypted as that is."""
    life = Life(PUBLISHER, tmp_path)
    publisher = replace(PUBLISHER, encrypt=first)
    made = publisher.publish(local(tmp_path / "1.qcow2", {0: b"boot", 9: b"old"}), "keyed", life.claim("image"))
    kept = life.driver.keep(made, "keyed", life.claim("keep"))
    proxy.calls.clear()
    again = Life(PUBLISHER, tmp_path, number=2)
    changed = local(tmp_path / "2.qcow2", {0: b"boot", 9: b"new"})
    image = replace(PUBLISHER, encrypt=second).publish(changed, "keyed", again.claim("image"))
    assert puts(proxy) == travels
    [snapshot] = cloud.client().describe_snapshots(SnapshotIds=image.data["snapshots"])["Snapshots"]
    assert snapshot["Encrypted"] is bool(second)
    again.ledger.undo(again.driver)
    life.driver.delete(kept)
    assert cloud.left() == {}


def test_publishing_that_crashes_at_any_line_of_the_journal_leaves_nothing(
    cloud: Aws, proxy: Proxy, tmp_path: Path
) -> None:
    del proxy
    driver, point = Ec2Driver(), 0
    artifact = local(tmp_path / "web.qcow2", {0: b"boot"}, 4)
    while True:
        point += 1
        life = Life(PUBLISHER, tmp_path, OneLedger(stop_at=point), driver=driver)
        crashed = True
        with suppress(Stop):
            life.keep(PUBLISHER.publish(artifact, "web", life.claim("image")))
            crashed = False
        life.ledger.undo(driver)
        if life.ledger.committed:
            for image in cloud.left().get("image", []):
                retire.remove(driver.clouds.get(PUBLISHER.account), image)
        assert cloud.left() == {}, f"leaked after a crash at point {point}"
        if not crashed:
            break
    print(f"{point - 1} points, 0 leaks")  # noqa: T201  a figure to report
    assert point > 8
