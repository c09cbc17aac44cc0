"""A disk of 4 GiB published to EC2 by the EBS direct APIs: beside one block after the other, and a change of 1 %.

EC2 is moto, whose answers come `ROUND_TRIP` late, as those of a region do; moto itself answers with one processor.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import bakery.publish
from bakery.drivers.ec2.publish import ebs_direct
from bakery.drivers.ec2.publish.blocks import SIZE
from bakery.model import Artifact
from bakery.testing.aws import aws
from bakery.testing.aws.cloud import REGION
from benchmarks.bench import Aim, Row
from benchmarks.distance import distant
from tests.contract.ec2life import Life

DISK = 4 << 30
USED = DISK // SIZE // 8
"""Blocks that hold something, evenly spread: those of an installed system of half a GiB."""
CHANGED = USED // 100
ROUND_TRIP = 0.03
"""Seconds: what AWS says a put takes."""


def run(folder: Path) -> list[Row]:
    """Measure one thread, all threads, and what a second disk takes of which 1 % has changed."""
    (folder / "aws").mkdir(parents=True)
    disk = folder / "disk.raw"
    with aws(folder / "aws") as cloud, distant(urlsplit(cloud.url).port or 0, ROUND_TRIP) as port:
        there = {**cloud.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        _write(disk, range(USED))
        with mock.patch.dict(os.environ, there):
            with mock.patch.object(ebs_direct, "WORKERS", 1):
                one = _publish(disk, folder, "one", 1)
            whole = _publish(disk, folder, "whole", 2)
            _write(disk, range(0, USED, USED // CHANGED))
            delta = _publish(disk, folder, "whole", 3)
    what = f"{USED} of {DISK // SIZE} blocks used, {ROUND_TRIP * 1000:.0f} ms away"
    return [
        Row("4 GiB disk to EC2 by EBS direct", "the same with one thread", whole, one, Aim(0.3), what),
        Row("the same, 1 % changed", "the whole", delta, whole, Aim(0.05), f"{CHANGED} blocks"),
    ]


def _write(disk: Path, blocks: range) -> None:
    """Fill blocks of the disk, which is sparse, with what nothing packs."""
    with disk.open("r+b" if disk.exists() else "wb") as file:
        file.truncate(DISK)
        for number in blocks:
            file.seek(number * (DISK // USED))
            file.write(os.urandom(SIZE))


def _publish(disk: Path, folder: Path, name: str, number: int) -> float:
    """Time the publishing of a disk, up to the image that is kept, which the next delta stands on."""
    publisher = bakery.publish.Ec2(region=REGION, instance_type="t3.micro", poll=0.05)
    life = Life(publisher, folder, number=number)
    artifact = Artifact(driver="qemu", id=str(disk), name=name, format="raw", settings={"firmware": "bios"})
    started = time.perf_counter()
    made = publisher.publish(artifact, name, life.claim("image"))
    seconds = time.perf_counter() - started
    life.driver.keep(made, name, life.claim("keep"))  # under its name, by which the next one finds its parent
    return seconds
