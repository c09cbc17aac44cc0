"""What moto's EBS direct APIs lack: parents, digests that are compared, snapshots that are pending until complete.

With them a snapshot is whole, so that a guest can be booted from it: `disk` puts its blocks together.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.core.exceptions import ServiceException
from moto.ebs.models import EBSBackend
from moto.ebs.responses import EBSResponse

from bakery.util import tools
from bakery.util.context import WorkContext

BLOCK = 512 * 1024
GIB = 1 << 30


def replacements() -> list[tuple[Any, str, Any]]:
    """Return what is to be put in the place of what moto has: owner, name, value."""
    return [
        (EBSResponse, "start_snapshot", _start(EBSResponse.start_snapshot)),
        (EBSBackend, "put_snapshot_block", _put(EBSBackend.put_snapshot_block)),
        (EBSBackend, "list_snapshot_blocks", _list(EBSBackend.list_snapshot_blocks)),
        (EBSResponse, "complete_snapshot", _complete(EBSResponse.complete_snapshot)),
    ]


class _Wrong(ServiceException):
    code = "ValidationException"


class _Absent(ServiceException):
    code = "ResourceNotFoundException"


def _start(moto: Callable[..., Any]) -> Callable[..., Any]:
    """EC2 makes no volume, and the snapshot begins with its parent's blocks."""

    def start_snapshot(response: Any) -> Any:
        backend: EBSBackend = response.ebs_backend
        parent = response._get_param("ParentSnapshotId")  # noqa: SLF001  moto's way to read a parameter
        if parent and response._get_param("Encrypted"):  # noqa: SLF001
            raise _Wrong("You can't specify ParentSnapshotId and Encrypted in the same request")
        if parent and parent not in backend.snapshots:
            raise _Wrong(f"there is no parent {parent}")
        answer = moto(response)
        made: Any = backend.snapshots[answer.result["SnapshotId"]]
        made.blocks.update(backend.snapshots[parent].blocks if parent else {})
        made.own = {}
        snapshot: Any = backend.ec2_backend.snapshots[made.snapshot_id]
        snapshot.status = "pending"
        snapshot.encrypted = bool(response._get_param("Encrypted"))  # noqa: SLF001
        snapshot.kms_key_id = response._get_param("KmsKeyArn")  # noqa: SLF001
        if parent:
            stood_on: Any = backend.ec2_backend.snapshots[parent]
            snapshot.encrypted, snapshot.kms_key_id = stood_on.encrypted, stood_on.kms_key_id
        backend.ec2_backend.volumes.pop(snapshot.volume.id)
        return answer

    return start_snapshot


def _put(moto: Callable[..., Any]) -> Callable[..., Any]:
    """EC2 compares the digest with the data."""

    def put_snapshot_block(backend: Any, snapshot_id: str, block_index: int, block_data: bytes, **given: Any) -> Any:
        digest = hashlib.sha256(block_data).digest()
        if base64.b64encode(digest).decode() != given["checksum"] or len(block_data) != BLOCK:
            raise _Wrong(f"block {block_index} is not what its checksum says")
        backend.snapshots[snapshot_id].own[int(block_index)] = digest
        return moto(backend, snapshot_id, int(block_index), block_data, **given)

    return put_snapshot_block


def _list(moto: Callable[..., Any]) -> Callable[..., Any]:
    """EC2 says so where it has no such snapshot; here, one that was not written block by block."""

    def list_snapshot_blocks(backend: Any, snapshot_id: str) -> Any:
        if snapshot_id not in backend.snapshots:
            raise _Absent(f"there is no snapshot {snapshot_id}")
        return moto(backend, snapshot_id)

    return list_snapshot_blocks


def _complete(moto: Callable[..., Any]) -> Callable[..., Any]:
    """EC2 compares how many blocks came, and the digest over all their digests."""

    def complete_snapshot(response: Any) -> Any:
        backend: EBSBackend = response.ebs_backend
        name = response._get_param("SnapshotId")  # noqa: SLF001
        own: dict[int, bytes] = vars(backend.snapshots[name])["own"]
        whole = base64.b64encode(hashlib.sha256(b"".join(own[index] for index in sorted(own))).digest()).decode()
        count, said = response._get_param("ChangedBlocksCount"), response._get_param("Checksum")  # noqa: SLF001
        if int(count) != len(own) or (said and said != whole):
            raise _Wrong(f"{name} has {len(own)} blocks, not {count}, or others")
        backend.ec2_backend.snapshots[name].status = "completed"
        return moto(response)

    return complete_snapshot


def disk(ebs: Any, snapshot: str, target: Path) -> Path:
    """Put the blocks of a snapshot together, as a qcow2 file.

    Args:
        ebs: a boto3 client of the EBS direct APIs.
        snapshot: its id.
        target: the file.
    """
    raw = target.with_suffix(".raw")
    asked: dict[str, Any] = {"SnapshotId": snapshot}
    with raw.open("wb") as file:
        while True:
            page = ebs.list_snapshot_blocks(**asked)
            file.truncate(page["VolumeSize"] * GIB)
            for block in page["Blocks"]:
                words = {"BlockIndex": block["BlockIndex"], "BlockToken": block["BlockToken"]}
                file.seek(block["BlockIndex"] * BLOCK)
                file.write(ebs.get_snapshot_block(SnapshotId=snapshot, **words)["BlockData"].read())
            if not page.get("NextToken"):
                break
            asked["NextToken"] = page["NextToken"]
    convert = ("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target)
    tools.run(convert, WorkContext(cache=Path()), what="writing an image of the snapshot")
    raw.unlink()
    return target
