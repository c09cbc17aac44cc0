"""A snapshot written block by block through the EBS direct APIs; no instance, no volume, no bucket."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.image import images
from bakery.drivers.ec2.publish.blocks import SIZE, Block, aggregate, current
from bakery.state.claim import Claim
from bakery.util.files import write_whole

GIB = 1 << 30
WORKERS = 32
"""Blocks under way at once: the default quota is a thousand puts a second, a put takes some 30 ms."""
MINUTES = 60
"""After which EBS gives up on a snapshot that nobody writes to."""


@dataclass(kw_only=True)
class SnapshotUpload:
    """What was written.

    Args:
        snapshot: its id.
        digests: of the blocks that were put.
        whole: of all used blocks, for the next delta.
    """

    snapshot: str
    digests: dict[int, bytes] = field(default_factory=dict[int, bytes])
    whole: dict[int, str] = field(default_factory=dict[int, str])


def upload(
    cloud: Ec2Cloud, disk: Path, claim: Claim, *, parent: str, key: str | None, timeout: float
) -> SnapshotUpload:
    """Write a raw disk into a new snapshot, and wait until it is complete.

    Args:
        cloud: where.
        disk: the raw file.
        claim: for the snapshot.
        parent: a snapshot to write only the differences to; empty for none. Without effect where its content is not
            known here. What stands on it is encrypted as it is.
        key: KMS key, or an empty text for the default key, or None for no encryption.
        timeout: seconds without progress.
    """
    known = _known(claim.cache, parent) if parent else {}
    name = tags.new_key(claim)
    intent = claim.intend("snapshot", name, **cloud.record)
    started = cloud.call(
        "start_snapshot",
        "begin a snapshot",
        service="ebs",
        VolumeSize=-(-disk.stat().st_size // GIB),
        ParentSnapshotId=parent if known else None,
        Tags=tags.listed(tags.temporary(claim, name, {})),
        Description=claim.build,
        ClientToken=name,
        Timeout=MINUTES,
        Encrypted=True if key is not None and not known else None,
        KmsKeyArn=(key or None) if not known else None,
    )
    made = SnapshotUpload(snapshot=started["SnapshotId"], whole=dict(known))
    intent.made(made.snapshot)
    _put_all(cloud, made, current(disk, known), known, claim)
    cloud.call(
        "complete_snapshot",
        "complete the snapshot",
        service="ebs",
        SnapshotId=made.snapshot,
        ChangedBlocksCount=len(made.digests),
        Checksum=base64.b64encode(aggregate(made.digests)).decode(),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    images.wait_snapshot(cloud, made.snapshot, claim, timeout)
    _remember(claim.cache, made)
    return made


def _put_all(
    cloud: Ec2Cloud, made: SnapshotUpload, blocks: Iterator[Block], known: Mapping[int, str], claim: Claim
) -> None:
    """Put those blocks that are not known, some at once; no more than that many are ever in memory."""
    guard = threading.Lock()

    def put(block: Block) -> None:
        digest = block.digest  # here, so that several processors do it
        if known.get(block.index) == digest.hex():
            return
        _put(cloud, made.snapshot, block, digest)
        with guard:
            made.digests[block.index] = digest
            made.whole[block.index] = digest.hex()
            done = len(made.digests)
        if done % WORKERS == 0:
            claim.progress("upload", done * SIZE)

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="ebs") as pool:
        running: set[Future[None]] = set()
        for block in blocks:
            claim.cancel.check()
            running.add(pool.submit(put, block))
            if len(running) >= 2 * WORKERS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
        for one in running:
            one.result()


def _put(cloud: Ec2Cloud, snapshot: str, block: Block, digest: bytes) -> None:
    cloud.call(
        "put_snapshot_block",
        f"take block {block.index}",
        service="ebs",
        SnapshotId=snapshot,
        BlockIndex=block.index,
        BlockData=block.data,
        DataLength=SIZE,
        Checksum=base64.b64encode(digest).decode(),
        ChecksumAlgorithm="SHA256",
    )


def _file(cache: Path, snapshot: str) -> Path:
    return cache / "publish" / "ec2" / f"{snapshot}.json"


def _known(cache: Path, snapshot: str) -> Mapping[int, str]:
    """Return what a snapshot holds, as far as this host wrote it; EBS itself tells no digests without the data."""
    file = _file(cache, snapshot)
    if not file.exists():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {int(index): str(digest) for index, digest in found.items()}


def _remember(cache: Path, made: SnapshotUpload) -> None:
    """Write down what the snapshot holds, whole or not at all."""
    file = _file(cache, made.snapshot)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(made.whole))
