"""The one big request: RunInstances, from what the user said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.machine.network import SubnetChoice
from bakery.drivers.ec2.options import Spot, Volume
from bakery.drivers.ec2.source import THROUGHPUT, Ec2
from bakery.state.claim import Claim


@dataclass(frozen=True, kw_only=True)
class Order:
    """All that a machine is started with, but its type and place.

    Args:
        image: as DescribeImages describes it.
        key: our name for the machine.
        groups: ids of security groups.
        user_data: the finished text, or bytes where gzip has packed it.
        profile: name of an instance profile.
        key_pair: name of a key pair.
    """

    image: Mapping[str, Any]
    key: str
    groups: Sequence[str]
    user_data: str | bytes
    profile: str | None = None
    key_pair: str | None = None


def run_instances(source: Ec2, order: Order, claim: Claim, kind: str, place: SubnetChoice) -> dict[str, Any]:
    """Return the parameters of RunInstances, without the client token."""
    kinds = ["instance", "volume", "network-interface"] + (["spot-instances-request"] if source.spot else [])
    options: dict[str, Any] = {
        "ImageId": order.image["ImageId"],
        "InstanceType": kind,
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": order.user_data,
        "KeyName": order.key_pair,
        "InstanceInitiatedShutdownBehavior": "stop" if claim.role == "build" else "terminate",
        "NetworkInterfaces": [_interface(source, order, place)],
        "BlockDeviceMappings": mappings(volumes(source, order.image, claim.role)),
        "MetadataOptions": _metadata(source),
        "TagSpecifications": tags.specification(tags.temporary(claim, order.key, source.run_tags), *kinds),
        "IamInstanceProfile": {"Name": order.profile} if order.profile else None,
        "EbsOptimized": source.ebs_optimized,
        "EnclaveOptions": {"Enabled": True} if source.nitro_enclave else None,
        "CreditSpecification": {"CpuCredits": "unlimited"} if source.unlimited else None,
        "Placement": {"Tenancy": source.tenancy} if source.tenancy != "default" else None,
        "InstanceMarketOptions": _market(source.spot),
    }
    if source.spot:
        del options["InstanceInitiatedShutdownBehavior"]  # the spot request's own behaviour rules
    return {**options, **source.launch_options}


def _interface(source: Ec2, order: Order, place: SubnetChoice) -> dict[str, Any]:
    public = source.public_ip if source.public_ip is not None else (True if source.connect == "public" else None)
    found: dict[str, Any] = {
        "DeviceIndex": 0,
        "SubnetId": place.subnet,
        "Groups": list(order.groups),
        "DeleteOnTermination": True,
    }
    if public is not None:
        found["AssociatePublicIpAddress"] = public
    if source.connect == "ipv6":
        found["Ipv6AddressCount"] = 1
    return found


def _metadata(source: Ec2) -> dict[str, Any]:
    options = source.metadata
    return {
        "HttpTokens": options.tokens,
        "HttpPutResponseHopLimit": options.hop_limit,
        "HttpEndpoint": "enabled" if options.enabled else "disabled",
        "InstanceMetadataTags": "enabled" if options.tags else "disabled",
    }


def _market(spot: bool | Spot) -> dict[str, Any] | None:
    """Make a persistent request with `stop`: a one-time spot machine cannot be stopped and imaged at rest."""
    if not spot:
        return None
    options: dict[str, Any] = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
    if isinstance(spot, Spot) and spot.max_price is not None:
        options["MaxPrice"] = f"{spot.max_price:f}"
    return {"MarketType": "spot", "SpotOptions": options}


def volumes(source: Ec2, image: Mapping[str, Any], role: str) -> list[Volume]:
    """Return the volumes to launch with: the user's, and the root volume made quick while we build.

    All go with the machine; those that are to outlive it are let go when the image is captured.
    """
    root = str(image.get("RootDeviceName") or "/dev/sda1")
    named = [replace(volume, device=volume.device or root, keep=False) for volume in source.volumes]
    if role != "build":
        return []  # a clone starts as the image says
    if all(volume.device != root for volume in named):
        named.insert(0, Volume(device=root, throughput=THROUGHPUT))
    sizes = {disk["DeviceName"]: disk.get("Ebs", {}).get("VolumeSize") for disk in image.get("BlockDeviceMappings", [])}
    named = [replace(volume, size=volume.size or sizes.get(volume.device)) for volume in named]
    key = source.encrypt if isinstance(source.encrypt, str) else None
    if source.encrypt:
        named = [
            volume if volume.ephemeral or volume.absent else replace(volume, encrypted=True, key=volume.key or key)
            for volume in named
        ]
    return named


def mappings(volumes: Sequence[Volume]) -> list[dict[str, Any]] | None:
    """Return `BlockDeviceMappings`, or None where there is nothing to say."""
    return [_mapping(volume) for volume in volumes] or None


def _mapping(volume: Volume) -> dict[str, Any]:
    if volume.absent:
        return {"DeviceName": volume.device, "NoDevice": ""}
    if volume.ephemeral:
        return {"DeviceName": volume.device, "VirtualName": volume.ephemeral}
    disk = {
        "VolumeSize": volume.size,
        "VolumeType": volume.volume_type,
        "Iops": volume.iops,
        "Throughput": volume.throughput,
        "Encrypted": True if volume.key else volume.encrypted,
        "KmsKeyId": volume.key,
        "SnapshotId": volume.snapshot,
        "DeleteOnTermination": not volume.keep,
    }
    return {"DeviceName": volume.device, "Ebs": {name: value for name, value in disk.items() if value is not None}}
