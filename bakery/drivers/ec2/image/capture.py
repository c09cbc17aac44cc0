"""From a sealed machine to an image under a temporary name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.create_once import make
from bakery.drivers.ec2.api.errors import Ec2Error, code_of
from bakery.drivers.ec2.image import images
from bakery.drivers.ec2.machine import endpoint
from bakery.drivers.ec2.machine.run_instances import mappings
from bakery.drivers.ec2.source import Ec2
from bakery.errors import DriverError, NotYet
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from bakery.util.waiting import until

LINUX = "Linux/UNIX"
DEAD = {"terminated", "shutting-down"}


def capture(cloud: Ec2Cloud, handle: Handle, name: str, claim: Claim) -> Artifact:
    """Stop the machine and make an image of its disks; nothing refers to it yet but its temporary name.

    Raises:
        DriverError: the machine does not stop, or AWS cannot make the image.
    """
    source = Ec2.from_settings(handle.settings["source"])
    machine = stop(cloud, handle, source, claim)
    volumes = _outlive(cloud, source, machine, claim)
    way = _by_image if source.capture_with == "image" or bound(machine) else _by_snapshots
    image = way(cloud, source, machine, claim)
    found = images.wait_image(cloud, image, claim, source.image_timeout)
    settings = {**handle.settings, "region": cloud.region, "image": image, "name": name}
    data = {"region": cloud.region, "ami_name": found["Name"], "snapshots": images.snapshots_of(found)}
    data |= {"volumes": volumes} if volumes else {}
    return Artifact(
        driver="ec2", id=image, name=name, format="ami", settings=settings, data=data, created=datetime.now(UTC)
    )


def bound(described: Mapping[str, Any]) -> bool:
    """Say whether AWS bills for the system inside: then only CreateImage and CopyImage may make images of it."""
    return str(described.get("PlatformDetails") or LINUX) != LINUX


def stop(cloud: Ec2Cloud, handle: Handle, source: Ec2, claim: Claim) -> dict[str, Any]:
    """Power the machine off through its guest (EC2 presses its power button) and return it as described.

    Raises:
        DriverError: it ended, or did not stop in time.
    """
    try:
        cloud.call("stop_instances", "stop the machine", InstanceIds=[handle.id])
    except Ec2Error as error:
        # A guest that the seal has switched off already may be on its way down.
        if code_of(error) != "IncorrectInstanceState":
            raise
    cloud.instances.forget(handle.id)

    def probe() -> dict[str, Any]:
        found = endpoint.described(cloud, handle.id)
        state = found["State"]["Name"] if found else "not visible"
        if found is None or state in DEAD:
            raise DriverError(f"the instance {handle.id} is {state} and cannot be imaged")
        if state != "stopped":
            raise NotYet(f"the instance is {state}")
        return found

    return until(
        probe,
        what="the machine powers off",
        timeout=source.stop_timeout,
        cancel=claim.cancel,
        notify=claim.waiting,
        hint="does the guest react to its power button (acpid, systemd-logind)? Ec2(stop_timeout=...)",
    )


def _outlive(cloud: Ec2Cloud, source: Ec2, machine: dict[str, Any], claim: Claim) -> list[str]:
    """Let the volumes with `keep` outlive the machine: with the image they are ours until it is kept."""
    root = machine.get("RootDeviceName")
    wanted = {volume.device or root for volume in source.volumes if volume.keep}
    found: list[str] = []
    for disk in machine["BlockDeviceMappings"]:
        if disk["DeviceName"] not in wanted or "Ebs" not in disk:
            continue
        volume, key = str(disk["Ebs"]["VolumeId"]), tags.new_key(claim)
        intent = claim.intend("volume", key, **cloud.record)
        cloud.call("create_tags", "tag the volume", Resources=[volume], Tags=tags.listed({tags.KEY: key}))
        cloud.call(
            "modify_instance_attribute",
            f"keep the volume {volume}",
            InstanceId=machine["InstanceId"],
            BlockDeviceMappings=[{"DeviceName": disk["DeviceName"], "Ebs": {"DeleteOnTermination": False}}],
        )
        intent.made(volume)
        found.append(volume)
    return found


def _by_snapshots(cloud: Ec2Cloud, source: Ec2, machine: dict[str, Any], claim: Claim) -> str:
    """CreateSnapshot of every disk at once, then RegisterImage: much quicker than CreateImage."""
    disks = [disk for disk in machine["BlockDeviceMappings"] if "Ebs" in disk]
    made = {disk["DeviceName"]: _snapshot(cloud, source, disk, claim) for disk in disks}
    for snapshot in made.values():
        images.wait_snapshot(cloud, snapshot, claim, source.image_timeout)
    key = tags.new_key(claim)
    request = {
        **registration(source, machine, disk_mappings(source, made)),
        "Name": key,
        "TagSpecifications": tags.specification(tags.temporary(claim, key, source.run_tags), "image"),
        **source.image_options,
    }
    return register(cloud, key, request, claim)


def _snapshot(cloud: Ec2Cloud, source: Ec2, disk: Mapping[str, Any], claim: Claim) -> str:
    key = tags.new_key(claim)
    intent = claim.intend("snapshot", key, **cloud.record)

    def ask() -> str:
        answer = cloud.call(
            "create_snapshot",
            "make a snapshot",
            once=True,
            VolumeId=disk["Ebs"]["VolumeId"],
            Description=f"{claim.build} {disk['DeviceName']}",
            TagSpecifications=tags.specification(tags.temporary(claim, key, source.run_tags), "snapshot"),
        )
        return str(answer["SnapshotId"])

    made = make(cloud, "snapshot", key, claim, ask)
    intent.made(made)
    return made


def disk_mappings(source: Ec2, snapshots: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the image's disks: gp3 on our snapshots, unless `image_volumes` says otherwise.

    The high throughput of the build machine is not handed on.
    """
    found: dict[str, dict[str, Any]] = {
        device: {
            "DeviceName": device,
            "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3", "DeleteOnTermination": True},
        }
        for device, snapshot in snapshots.items()
    }
    for mapping in mappings(source.image_volumes) or []:
        device = mapping["DeviceName"] or next(iter(snapshots))
        disk = {**found.get(device, {}).get("Ebs", {}), **mapping.get("Ebs", {})}
        disk.pop("Encrypted", None) if disk.get("SnapshotId") else None
        found[device] = {**mapping, "DeviceName": device, **({"Ebs": disk} if "Ebs" in mapping else {})}
    return list(found.values())


def registration(source: Ec2, described: Mapping[str, Any], disks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters of RegisterImage, from a machine or an image as AWS describes it."""
    found = {
        "Architecture": described["Architecture"],
        "RootDeviceName": described["RootDeviceName"],
        "VirtualizationType": described.get("VirtualizationType", "hvm"),
        "BlockDeviceMappings": disks,
        "Description": source.description or None,
        "EnaSupport": source.ena,
        "SriovNetSupport": described.get("SriovNetSupport"),
        "BootMode": source.boot_mode or described.get("BootMode"),
        "ImdsSupport": source.imds_support or described.get("ImdsSupport"),
        "TpmSupport": source.tpm or described.get("TpmSupport"),
    }
    return {name: value for name, value in found.items() if value is not None}


def register(cloud: Ec2Cloud, key: str, request: Mapping[str, Any], claim: Claim) -> str:
    """RegisterImage on snapshots that have records of their own."""
    intent = claim.intend("image", key, **cloud.record, snapshots="apart")
    image = make(
        cloud,
        "image",
        key,
        claim,
        lambda: str(cloud.call("register_image", "register the image", once=True, **request)["ImageId"]),
    )
    intent.made(image)
    return image


def _by_image(cloud: Ec2Cloud, source: Ec2, machine: dict[str, Any], claim: Claim) -> str:
    """CreateImage, of a machine that is off; its snapshots belong to the image's record."""
    key = tags.new_key(claim)
    marks = tags.temporary(claim, key, source.run_tags)
    request: dict[str, Any] = {
        "InstanceId": machine["InstanceId"],
        "Name": key,
        "NoReboot": True,
        "Description": source.description or None,
        "BlockDeviceMappings": mappings(source.image_volumes),
        "TagSpecifications": tags.specification(marks, "image", "snapshot"),
        **source.image_options,
    }
    intent = claim.intend("image", key, **cloud.record, snapshots="own")
    image = make(
        cloud,
        "image",
        key,
        claim,
        lambda: str(cloud.call("create_image", "make the image", once=True, **request)["ImageId"]),
    )
    intent.made(image)
    found = images.wait_image(cloud, image, claim, source.image_timeout)
    # Once more, with the snapshots: `keep` takes their temporary tags away before the journal lets go of them.
    intent.made(image, holds=images.snapshots_of(found))
    return image
