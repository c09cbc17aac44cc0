"""What moto lacks or does wrong where an image builder looks, filled in its own classes.

Each function says what EC2 does. Nothing of bakery is touched: it meets all this through the network.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError, InvalidSnapshotInUse
from moto.ec2.models import elastic_network_interfaces
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.models.instances import InstanceBackend
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.general import General
from moto.servicequotas.models import ServiceQuotasBackend

from bakery.testing.aws import ebsgaps

QUOTAS = "BAKERY_TEST_QUOTAS"
"""Environment variable of the server: a JSON object from quota code to value."""


def first_address() -> IPv4Address:
    """Return where a server's addresses begin: in a block of its own, as several servers may run at once."""
    return IPv4Address(f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}.0")


def fill(consoles: Path) -> None:
    """Fill all gaps, in this process.

    Args:
        consoles: a folder of `INSTANCE.console` files, for GetConsoleOutput.
    """
    first, count = first_address(), itertools.count(1)
    # moto draws public addresses at random; on loopback a guest can listen at each of them.
    _replace(elastic_network_interfaces, "random_public_ip", lambda: str(first + next(count)))
    _replace(Ami, "block_device_mappings", property(_disks))
    _replace(Ami, "get_filter_value", _filter_value(Ami.get_filter_value))
    _replace(InstanceBackend, "terminate_instances", _terminate(InstanceBackend.terminate_instances))
    _replace(EBSBackend, "delete_snapshot", _delete_snapshot(EBSBackend.delete_snapshot))
    _replace(AmisResponse, "register_image", _register_image)
    _replace(AmisResponse, "create_image", _create_image)
    _replace(AmisResponse, "copy_image", _copy_image)
    _replace(AmisResponse, "enable_image_deprecation", _enable_deprecation)
    _replace(AmisResponse, "enable_image_deregistration_protection", _enable_protection)
    _replace(General, "get_console_output", _console(consoles))
    _replace(ServiceQuotasBackend, "get_service_quota", _quota(ServiceQuotasBackend.get_service_quota))
    for owner, name, value in ebsgaps.replacements():
        _replace(owner, name, value)


def _replace(owner: Any, name: str, value: Any) -> None:
    """Put something in the place of what moto has, or beside it."""
    setattr(owner, name, value)


def _disks(image: Any) -> list[dict[str, Any]]:
    """EC2 reports the disks that were given to RegisterImage, or that the instance had."""
    own: list[dict[str, Any]] | None = getattr(image, "own_disks", None)
    if own is not None:
        return own
    disk = {"SnapshotId": image.ebs_snapshot.id, "VolumeSize": 1, "VolumeType": "gp2", "DeleteOnTermination": True}
    return [{"DeviceName": image.root_device_name, "Ebs": disk}]


def _filter_value(moto: Callable[..., Any]) -> Callable[..., Any]:
    def get_filter_value(image: Any, name: str, method: str | None = None) -> Any:
        if name == "block-device-mapping.snapshot-id":
            return [disk["Ebs"]["SnapshotId"] for disk in image.block_device_mappings if "Ebs" in disk]
        return moto(image, name, method)

    return get_filter_value


def _delete_snapshot(moto: Callable[..., Any]) -> Callable[..., Any]:
    """EC2 refuses to delete a snapshot that any image stands on; moto knows it only of CreateImage's."""

    def delete_snapshot(backend: Any, snapshot_id: str) -> Any:
        for image in backend.amis.values():
            if getattr(image, "own_disks", None) is None:
                continue
            if any(disk.get("Ebs", {}).get("SnapshotId") == snapshot_id for disk in image.own_disks):
                raise InvalidSnapshotInUse(snapshot_id, image.id)
        return moto(backend, snapshot_id)

    return delete_snapshot


def _terminate(moto: Callable[..., Any]) -> Callable[..., Any]:
    """EC2 says yes to ending what has ended; moto looks for its network interface and fails."""

    def terminate_instances(backend: Any, instance_ids: list[str]) -> Any:
        live = [name for name in instance_ids if backend.get_instance(name)._state.name != "terminated"]  # noqa: SLF001
        ended = [backend.get_instance(name) for name in instance_ids if name not in live]
        same = [(one, one._state) for one in ended]  # noqa: SLF001
        return same + (moto(backend, live) if live else [])

    return terminate_instances


def _new(response: Any, disks: list[dict[str, Any]] | None, **attributes: Any) -> Any:
    """Make an image without moto's own snapshot; names are unique in an account and region."""
    backend: Any = response.ec2_backend
    name = response._get_param("Name")  # noqa: SLF001  moto's way to read a parameter
    if any(image.name == name and image.owner_id == backend.account_id for image in backend.amis.values()):
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by another AMI")
    image: Any = AmiBackend.register_image(backend, name, response._get_param("Description", ""))  # noqa: SLF001
    backend.snapshots.pop(image.ebs_snapshot.id, None)
    image.own_disks = disks or []
    for key, value in attributes.items():
        if value is not None:
            setattr(image, key, value)
    _tag(response, "image", image)
    return image


def _tag(response: Any, kind: str, thing: Any) -> None:
    for specification in response._get_param("TagSpecifications", []):  # noqa: SLF001
        if specification["ResourceType"] == kind:
            for tag in specification["Tags"]:
                thing.add_tag(tag["Key"], tag["Value"])


def _register_image(response: Any) -> ActionResult:
    """EC2 keeps disks, root device, architecture and the rest, and refuses snapshots that do not exist."""
    response.error_on_dryrun()
    disks: list[dict[str, Any]] = response._get_param("BlockDeviceMappings", [])  # noqa: SLF001
    shown = [_shown(disk, response.ec2_backend) for disk in disks]
    image = _new(
        response,
        shown,
        architecture=response._get_param("Architecture"),  # noqa: SLF001
        root_device_name=response._get_param("RootDeviceName"),  # noqa: SLF001
        boot_mode=response._get_param("BootMode"),  # noqa: SLF001
        virtualization_type=response._get_param("VirtualizationType"),  # noqa: SLF001
        imds_support=response._get_param("ImdsSupport"),  # noqa: SLF001
        root_device_type="ebs",
        ena_support=True,
    )
    return ActionResult({"ImageId": image.id})


def _shown(disk: Mapping[str, Any], backend: Any) -> dict[str, Any]:
    found = dict(disk)
    if "Ebs" in found:
        snapshot = backend.get_snapshot(found["Ebs"]["SnapshotId"])
        found["Ebs"] = {"VolumeSize": snapshot.volume.size, "Encrypted": snapshot.encrypted, **found["Ebs"]}
    return found


def _create_image(response: Any) -> ActionResult:
    """EC2 makes a snapshot of each volume of the instance, and tags those as well."""
    response.error_on_dryrun()
    backend: Any = response.ec2_backend
    machine = backend.get_instance(response._get_param("InstanceId"))  # noqa: SLF001
    disks: list[dict[str, Any]] = []
    for device, attached in machine.get_block_device_mapping:
        snapshot = backend.create_snapshot(attached.volume_id, f"Created by CreateImage({machine.id})")
        _tag(response, "snapshot", snapshot)
        size = backend.get_volume(attached.volume_id).size
        disk = {"SnapshotId": snapshot.id, "VolumeSize": size, "VolumeType": "gp3", "DeleteOnTermination": True}
        disks.append({"DeviceName": device, "Ebs": disk})
    root = disks[0]["DeviceName"] if disks else None
    image = _new(
        response,
        disks,
        architecture=machine.architecture,
        root_device_name=root,
        root_device_type="ebs",
        instance_id=machine.id,
    )
    return ActionResult({"ImageId": image.id})


def _copy_image(response: Any) -> ActionResult:
    """EC2 copies the snapshots into the new region and tags what it makes."""
    from moto.ec2.models import ec2_backends

    response.error_on_dryrun()
    backend: Any = response.ec2_backend
    region = response._get_param("SourceRegion")  # noqa: SLF001
    origin: Any = ec2_backends[backend.account_id][region]
    found = origin.describe_images(ami_ids=[response._get_param("SourceImageId")])[0]  # noqa: SLF001
    encrypted = str(response._get_param("Encrypted", "")).lower() == "true"  # noqa: SLF001
    disks: list[dict[str, Any]] = []
    for disk in found.block_device_mappings:
        key = response._get_param("KmsKeyId")  # noqa: SLF001
        snapshot = backend.copy_snapshot(disk["Ebs"]["SnapshotId"], region, f"Copied for {found.id}", key)
        snapshot.encrypted = encrypted or snapshot.encrypted
        _tag(response, "snapshot", snapshot)
        disks.append({**disk, "Ebs": {**disk["Ebs"], "SnapshotId": snapshot.id, "Encrypted": snapshot.encrypted}})
    names = ("architecture", "root_device_name", "boot_mode", "virtualization_type", "root_device_type")
    image = _new(response, disks, **{name: getattr(found, name, None) for name in names})
    return ActionResult({"ImageId": image.id})


def _image(response: Any) -> Any:
    return response.ec2_backend.describe_images(ami_ids=[response._get_param("ImageId")])[0]  # noqa: SLF001


def _enable_deprecation(response: Any) -> ActionResult:
    """EC2 shows the time as `2030-01-01T00:00:00.000Z`; moto shows what Python makes of it."""
    at = response._get_param("DeprecateAt")  # noqa: SLF001
    _image(response).deprecation_time = f"{at:%Y-%m-%dT%H:%M:%S}.000Z" if isinstance(at, datetime) else at
    return ActionResult({"Return": True})


def _enable_protection(response: Any) -> ActionResult:
    _image(response).deregistration_protection = "enabled"
    return ActionResult({"Return": "enabled"})


def _quota(moto: Callable[..., Any]) -> Callable[..., Any]:
    """EC2 has quotas too; here those that the test names."""
    known: dict[str, float] = json.loads(os.environ.get(QUOTAS, "{}"))

    def get_service_quota(backend: Any, service_code: str, quota_code: str) -> dict[str, Any]:
        if service_code == "ec2" and quota_code in known:
            return {"ServiceCode": "ec2", "QuotaCode": quota_code, "Value": float(known[quota_code])}
        found: dict[str, Any] = moto(backend, service_code, quota_code)
        return found

    return get_service_quota


def _console(consoles: Path) -> Callable[[Any], ActionResult | EmptyResult]:
    """EC2 gives what the machine wrote; moto gives the same text for all."""

    def get_console_output(response: Any) -> ActionResult | EmptyResult:
        instance = response._get_param("InstanceId")  # noqa: SLF001
        response.ec2_backend.get_instance(instance)
        file = consoles / f"{instance}.console"
        text = file.read_bytes()[-65536:] if file.exists() else b""
        return ActionResult({"InstanceId": instance, "Output": base64.b64encode(text).decode()})

    return get_console_output
