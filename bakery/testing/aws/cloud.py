"""`aws()`: a whole AWS for a test, with machines, in a context."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakery.testing.aws.guests import Guests
from bakery.util.process import PIPE, start_process

REGION = "us-east-1"
BASE = "ami-0000000000000ba5e"
OWNER = "801119661308"
"""An account that moto counts as Amazon's."""

STRICT = {
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
}
"""Without these moto takes any id, name and type."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


@dataclass(kw_only=True)
class Aws:
    """A running server.

    Args:
        url: its address.
        folder: of consoles and disks.
        guests: the machines, if any.
    """

    url: str
    folder: Path
    guests: Guests | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def client(self, service: str = "ec2", region: str = REGION, url: str | None = None) -> Any:
        """Return a boto3 client of the server."""
        import boto3

        return boto3.client(
            service,
            region_name=region,
            endpoint_url=url or self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106  moto takes anything
        )

    def left(self, region: str = REGION) -> dict[str, list[str]]:
        """Return what a build could have left, by kind: all that was not there from the start."""
        ec2 = self.client(region=region)
        machines = [one for page in ec2.describe_instances()["Reservations"] for one in page["Instances"]]
        ended = {"terminated", "shutting-down"}
        groups = ec2.describe_security_groups()["SecurityGroups"]
        base = {
            image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
            for image in ec2.describe_images(ImageIds=[BASE])["Images"]
        }
        found = {
            "instance": [one["InstanceId"] for one in machines if one["State"]["Name"] not in ended],
            "image": [one["ImageId"] for one in ec2.describe_images(Owners=["self"])["Images"]],
            "snapshot": [one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]],
            "volume": [one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]],
            "security-group": [one["GroupId"] for one in groups if one["GroupName"] != "default"],
            "key-pair": [one["KeyName"] for one in ec2.describe_key_pairs()["KeyPairs"]],
            "role": [one["RoleName"] for one in self.client("iam").list_roles()["Roles"]],
        }
        found["snapshot"] = [name for name in found["snapshot"] if name not in base]
        return {kind: names for kind, names in found.items() if names}


@contextmanager
def aws(
    folder: Path,
    *,
    base: Path | None = None,
    tiny: bool = True,
    plain: bool = False,
    quotas: Mapping[str, float] | None = None,
) -> Generator[Aws]:
    """Run a server, with guests where there is a disk for them.

    Args:
        folder: for consoles and disks; exists.
        base: the disk behind the base image; None plays no machines.
        tiny: the disk holds a guest without cloud-init.
        plain: moto as it is, gaps and all.
        quotas: EC2's quotas by their codes: `{"L-1216C47A": 32}`; of the others nothing is known.
    """
    amis = folder / "amis.json"
    amis.write_text(json.dumps([_image(BASE, "base-1.0", "2026-01-02T03:04:05.000Z")]))
    command = [sys.executable, "-m", "bakery.testing.aws.server", "--consoles", str(folder)]
    environment = {**os.environ, **STRICT, "MOTO_AMIS_PATH": str(amis), "BAKERY_TEST_QUOTAS": json.dumps(quotas or {})}
    with (folder / "server.log").open("wb") as log:
        process = start_process(
            command + (["--plain"] if plain else []), env=environment, stdin=PIPE, stdout=PIPE, stderr=log
        )
    assert process.stdin is not None
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    found = Aws(url=url, folder=folder, environment={**CREDENTIALS, "AWS_ENDPOINT_URL": url})
    if base:
        found.guests = Guests(found.client(), found.client("ebs"), base, folder, tiny=tiny)
        found.guests.start()
    try:
        yield found
    finally:
        if found.guests:
            found.guests.stop()
        process.stdin.close()
        process.stdout.close()
        process.wait(20)


def _image(name: str, title: str, created: str) -> dict[str, Any]:
    """Return an image as MOTO_AMIS_PATH wants it."""
    return {
        "ami_id": name,
        "name": title,
        "description": "a base for tests",
        "owner_id": OWNER,
        "public": True,
        "virtualization_type": "hvm",
        "architecture": "x86_64",
        "state": "available",
        "platform": None,
        "image_type": "machine",
        "hypervisor": "xen",
        "root_device_name": "/dev/xvda",
        "root_device_type": "ebs",
        "sriov": "simple",
        "creation_date": created,
    }
