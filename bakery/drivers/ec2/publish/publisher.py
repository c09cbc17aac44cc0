"""`bakery.publish.Ec2(...)`: an AMI from a disk that was made locally."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from bakery.drivers.ec2 import check
from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.image import images
from bakery.drivers.ec2.image.capture import disk_mappings, register, registration
from bakery.drivers.ec2.publish import blocks, ebs_direct, s3_import
from bakery.drivers.ec2.source import Ec2 as Source
from bakery.drivers.publisher import Publisher
from bakery.errors import BakeryError
from bakery.model import Artifact, Problem
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True)
class Ec2(Source, Publisher):
    """Makes an AMI of a local image. All options of `bakery.drivers.Ec2` are here too: for the machine on which the
    AMI is smoke tested, and for its name, copies and sharing.

    Args:
        by: `direct` writes a snapshot block by block; `s3` uploads the disk to `bucket` and lets EC2 import it.
        bucket: for `s3`; the role `vmimport` must be allowed to read it.
        architecture: `x86_64` or `arm64`.
        root_device: what the root device is called.
        delta: upload only what differs from the newest snapshot of this name that this host uploaded.
    """

    driver: ClassVar[str] = "ec2"
    base: Any = None
    by: Literal["direct", "s3"] = "direct"
    bucket: str = ""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    root_device: str = "/dev/xvda"
    delta: bool = True

    def check(self) -> Iterator[Problem]:
        """Look at credentials, at what the machine of the smoke tests needs, and at the way of uploading."""
        found = list(check.check(Ec2Clouds(), self))
        yield from found
        if self.by != "s3" or any(problem.fatal for problem in found):
            return
        if not self.bucket:
            yield Problem(what="publishing by S3 needs a bucket", hint='Ec2(by="s3", bucket="...")')
            return
        cloud = Ec2Clouds().get(self.account)
        asks: tuple[Callable[[], object], ...] = (
            lambda: cloud.call("head_bucket", f"use the bucket {self.bucket}", service="s3", Bucket=self.bucket),
            lambda: cloud.call("get_role", "find the role vmimport", service="iam", RoleName="vmimport"),
        )
        for ask in asks:
            try:
                ask()
            except BakeryError as error:
                yield Problem(what=error.what, why=error.why, hint=error.hint)

    def publish(self, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        """Upload the disk and register it under a temporary name."""
        cloud = Ec2Clouds().get(self.account)
        disk = blocks.raw(artifact, claim.folder, claim)
        key = self.encrypt if isinstance(self.encrypt, str) else "" if self.encrypt else None
        if self.by == "s3":
            snapshot = s3_import.upload(cloud, disk, claim, bucket=self.bucket, key=key, timeout=self.image_timeout)
        else:
            parent = _parent(cloud, name, disk, key) if self.delta else ""
            made = ebs_direct.upload(cloud, disk, claim, parent=parent, key=key, timeout=self.image_timeout)
            snapshot = made.snapshot
        return self._registered(cloud, snapshot, artifact, name, claim)

    def _registered(self, cloud: Ec2Cloud, snapshot: str, artifact: Artifact, name: str, claim: Claim) -> Artifact:
        key = tags.new_key(claim)
        described = {
            "Architecture": self.architecture,
            "RootDeviceName": self.root_device,
            "BootMode": _boot_mode(artifact),
        }
        request = {
            **registration(self, described, disk_mappings(self, {self.root_device: snapshot})),
            "Name": key,
            "TagSpecifications": tags.specification(tags.temporary(claim, key, self.run_tags), "image"),
            **self.image_options,
        }
        image = register(cloud, key, request, claim)
        images.wait_image(cloud, image, claim, self.image_timeout)
        settings = {"source": self.settings(), **cloud.record, "region": cloud.region, "image": image, "name": name}
        data = {"region": cloud.region, "ami_name": key, "snapshots": [snapshot]}
        return Artifact(
            driver="ec2",
            id=image,
            name=name,
            format="ami",
            settings=settings,
            data=data,
            created=datetime.now(UTC),
            key=artifact.key,
        )


def _boot_mode(artifact: Artifact) -> str:
    """How the disk boots, where whoever made it wrote that down."""
    return "uefi" if artifact.settings.get("firmware") == "uefi" else "legacy-bios"


def _parent(cloud: Ec2Cloud, name: str, disk: Path, key: str | None) -> str:
    """Return the newest snapshot of a kept image of this name on which the new one can stand, or an empty text.

    A snapshot is encrypted as its parent is, and is not smaller (StartSnapshot refuses `Encrypted` beside a parent).
    """
    found = [
        snapshot
        for snapshot in cloud.pages(
            "describe_snapshots",
            "Snapshots",
            OwnerIds=["self"],
            Filters=tags.filters({f"tag:{tags.IMAGE}": name, "status": "completed"}),
        )
        if snapshot["VolumeSize"] <= -(-disk.stat().st_size // ebs_direct.GIB) and _same_key(snapshot, key)
    ]
    return str(max(found, key=lambda snapshot: snapshot["StartTime"])["SnapshotId"]) if found else ""


def _same_key(snapshot: Mapping[str, Any], key: str | None) -> bool:
    """Whether a snapshot is encrypted as the new one is to be. An alias is not looked up: then all is uploaded."""
    if key is None or not snapshot.get("Encrypted"):
        return key is None and not snapshot.get("Encrypted")
    return not key or str(snapshot.get("KmsKeyId", "")).endswith(key)
