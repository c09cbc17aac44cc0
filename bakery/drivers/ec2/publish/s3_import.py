"""A snapshot by way of S3 and EC2's import, where the EBS direct APIs are not allowed."""

from __future__ import annotations

from pathlib import Path

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import translate_errors
from bakery.drivers.ec2.image import images
from bakery.drivers.ec2.image.images import AT_MOST, Stall
from bakery.drivers.shared.waiting import patience
from bakery.errors import DriverError, NotYet
from bakery.state.claim import Claim
from bakery.util.waiting import until


def upload(cloud: Ec2Cloud, disk: Path, claim: Claim, *, bucket: str, key: str | None, timeout: float) -> str:
    """Upload a raw disk, import it, delete the upload; return the snapshot's id.

    Args:
        cloud: where.
        disk: the raw file.
        claim: for the upload and the snapshot.
        bucket: where to.
        key: KMS key, or an empty text for the default key, or None for no encryption.
        timeout: seconds without progress.
    """
    name = tags.new_key(claim)
    path = f"bakery/{name}.raw"
    upload = claim.intend("s3-object", f"{bucket}/{path}", **cloud.record, bucket=bucket, path=path)
    with translate_errors(f"upload to s3://{bucket}/{path}", cloud):
        # The transfer manager sends parts in parallel, with checksums of its own.
        cloud.client("s3").upload_file(str(disk), bucket, path)
    upload.made(f"{bucket}/{path}")
    intent = claim.intend("import", name, **cloud.record)
    task = cloud.call(
        "import_snapshot",
        "import the disk",
        ClientToken=name,
        DiskContainer={"Format": "RAW", "UserBucket": {"S3Bucket": bucket, "S3Key": path}},
        Encrypted=True if key is not None else None,
        KmsKeyId=key or None,
        TagSpecifications=tags.specification(tags.temporary(claim, name, {}), "import-snapshot-task"),
    )
    intent.made(task["ImportTaskId"])
    snapshot = _imported(cloud, task["ImportTaskId"], claim, timeout)
    intent.made(task["ImportTaskId"], snapshot=snapshot)  # no tag of the task is handed on to it
    cloud.call(
        "create_tags", "tag the snapshot", Resources=[snapshot], Tags=tags.listed(tags.temporary(claim, name, {}))
    )
    images.wait_snapshot(cloud, snapshot, claim, timeout)
    delete(cloud, bucket, path)
    return snapshot


def delete(cloud: Ec2Cloud, bucket: str, path: str) -> None:
    """Delete an upload; S3 says yes also when there is none."""
    cloud.call("delete_object", "delete the upload", service="s3", Bucket=bucket, Key=path)


def _imported(cloud: Ec2Cloud, task: str, claim: Claim, timeout: float) -> str:
    stall = Stall(f"the import {task}", timeout)

    def probe() -> str:
        with patience("AWS", stall.look):
            found = cloud.call("describe_import_snapshot_tasks", "look at the import", ImportTaskIds=[task])
        detail = found["ImportSnapshotTasks"][0]["SnapshotTaskDetail"]
        status, said = detail.get("Status", ""), detail.get("StatusMessage", "")
        if status in {"deleted", "deleting"}:
            raise DriverError("EC2 could not import the disk", why=said)
        if status != "completed":
            stall.look(f"{detail.get('Progress', '')} {said}")
            raise NotYet(f"import {task}: {detail.get('Progress', '0')} % {said}".strip())
        return str(detail["SnapshotId"])

    return until(
        probe,
        what="the disk is imported",
        timeout=AT_MOST,
        cancel=claim.cancel,
        notify=claim.waiting,
        every=(0.5, 10.0),
    )
