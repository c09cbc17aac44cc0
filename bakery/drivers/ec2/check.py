"""Pre-flight: everything that can be known before anything is made, all at once and read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from bakery.drivers.ec2 import quota
from bakery.drivers.ec2.api.account import Ec2Account, Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.api.errors import Ec2Error, code_of
from bakery.drivers.ec2.image import images, retire
from bakery.drivers.ec2.image.keep import final_name
from bakery.drivers.ec2.machine import base_images, network, ssm
from bakery.drivers.ec2.machine.run_instances import mappings, volumes
from bakery.drivers.ec2.options import Filter, Newest, Parameter
from bakery.drivers.ec2.source import Ec2
from bakery.errors import BakeryError
from bakery.model import Artifact, Problem
from bakery.util.extras import install_hint

ALLOWED = "DryRunOperation"
ROOT_SIZE = 8


def check(clouds: Ec2Clouds, source: Ec2) -> Iterator[Problem]:
    """Yield what would stop a build, or only surprise its owner."""
    try:
        import boto3
    except ImportError:
        yield Problem(what="boto3 is not installed", hint=install_hint("aws"))
        return
    del boto3
    try:
        cloud = clouds.get(source.account)
        cloud.call("get_caller_identity", "say who we are", service="sts")
    except BakeryError as error:
        yield _problem(error)
        return
    parts: tuple[Callable[[Ec2Cloud, Ec2], Iterator[Problem]], ...] = (
        _start,
        _places,
        _groups,
        _profile,
        _permissions,
        quota.check,
    )
    for part in parts:
        try:
            yield from part(cloud, source)
        except BakeryError as error:
            yield _problem(error)
    for region in source.copies:
        yield from _reachable(clouds.region(cloud, region))


def doctor(clouds: Ec2Clouds, *, offline: bool) -> Iterator[Problem]:
    """Say which account the environment means, by asking it who we are; nothing is made."""
    try:
        import boto3
    except ImportError:
        yield Problem(what="boto3 is not installed", hint=install_hint("aws"))
        return
    yield Problem(what=f"boto3 {boto3.__version__}", fatal=False)
    try:
        cloud = clouds.get(Ec2Account())
        if offline:
            yield Problem(what=f"region {cloud.region} (AWS is not asked: --offline)", fatal=False)
            return
        who = cloud.call("get_caller_identity", "say who we are", service="sts", once=True)
    except BakeryError as error:
        hint = error.hint or "`aws configure`, AWS_PROFILE or AWS_ACCESS_KEY_ID"
        yield Problem(what=error.what, why=error.why, hint=hint, fatal=False)
        return
    yield Problem(what=f"account {who['Account']} as {who['Arn']}, region {cloud.region}", fatal=False)


def _problem(error: BakeryError) -> Problem:
    return Problem(what=error.what, why=error.why, hint=error.hint)


def _start(cloud: Ec2Cloud, source: Ec2) -> Iterator[Problem]:
    """Check the base, and whether the instance types can run it."""
    if not isinstance(source.base, str | Newest | Parameter | Artifact):
        return  # made by another build of the same run
    image = base_images.resolve(cloud, source.base)
    if image.get("DeprecationTime"):
        what = f"the base image {image['ImageId']} is deprecated from {image['DeprecationTime']}"
        yield Problem(what=what, hint="Newest(...) takes the newest that is not", fatal=False)
    if image.get("RootDeviceType", "ebs") == "instance-store":
        yield Problem(what=f"the base image {image['ImageId']} has its root on an instance store, not on EBS")
    found = cloud.call("describe_instance_types", "look up the instance types", InstanceTypes=list(source.types))
    for kind in found["InstanceTypes"]:
        runs = kind.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
        if runs and image.get("Architecture") not in runs:
            yield Problem(
                what=f"{kind['InstanceType']} cannot run the base image {image['ImageId']}",
                why=f"the image is for {image.get('Architecture')}, the type runs {', '.join(runs)}",
            )
    if source.fast_launch and image.get("Platform") != "windows":
        yield Problem(what="fast launch is for Windows images", why=f"the base {image['ImageId']} is none")


def _places(cloud: Ec2Cloud, source: Ec2) -> Iterator[Problem]:
    """Subnets, and whether one of them offers a type."""
    zones = {place.zone for place in network.places(cloud, source)}
    offered = cloud.call(
        "describe_instance_type_offerings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(source.types)}],
    )["InstanceTypeOfferings"]
    if not {offer["Location"] for offer in offered} & zones:
        yield Problem(
            what=f"none of {', '.join(source.types)} is offered in {', '.join(sorted(zones))}",
            hint="another type, or a subnet in another zone",
        )


def _groups(cloud: Ec2Cloud, source: Ec2) -> Iterator[Problem]:
    if isinstance(source.security_groups, Filter):
        network.named_groups(cloud, source, network.places(cloud, source)[0].vpc)
    elif source.security_groups:
        cloud.call("describe_security_groups", "find the security groups", GroupIds=list(source.security_groups))
    elif source.connect != "ssm":
        network.allowed(cloud, source)
        if "0.0.0.0/0" in source.ssh_from:
            yield Problem(what="ssh_from opens port 22 of the build machine to everybody", fatal=False)
    return


def _profile(cloud: Ec2Cloud, source: Ec2) -> Iterator[Problem]:
    if source.instance_profile:
        cloud.call("get_instance_profile", "find it", service="iam", InstanceProfileName=source.instance_profile)
    if source.connect == "ssm":
        ssm.plugin()
    if source.connect == "ssm" and not (source.instance_profile or source.instance_policy):
        yield Problem(
            what="Session Manager needs an instance profile",
            hint="Ec2(instance_profile=...) with the policy AmazonSSMManagedInstanceCore",
        )


def _permissions(cloud: Ec2Cloud, source: Ec2) -> Iterator[Problem]:
    """Ask for the important things with DryRun: AWS then says only whether it would allow them."""
    place = network.places(cloud, source)[0]
    questions: dict[str, dict[str, Any]] = {
        "register_image": {"Name": "bakery-permission", "RootDeviceName": "/dev/xvda"}
    }
    if isinstance(source.base, str | Newest | Parameter | Artifact):  # else another build of this run makes it
        image = base_images.resolve(cloud, source.base)
        questions["run_instances"] = {
            "ImageId": image["ImageId"],
            "InstanceType": source.types[0],
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": place.subnet,
            "BlockDeviceMappings": mappings(volumes(source, image, "build")),
        }
    if not source.security_groups:
        questions["create_security_group"] = {"GroupName": "bakery", "Description": "dry run", "VpcId": place.vpc}
    for operation, parameters in questions.items():
        try:
            cloud.call(operation, f"let us {operation.replace('_', ' ')}", once=True, DryRun=True, **parameters)
        except Ec2Error as error:
            if code_of(error) != ALLOWED:
                yield _problem(error)


def name_conflicts(clouds: Ec2Clouds, source: Ec2, name: str) -> Iterator[Problem]:
    """With `naming="exact"`: whether the image could have its name, in all its regions."""
    if source.naming != "exact":
        return
    try:
        home = clouds.get(source.account)
        title = final_name(source, name, datetime.now(UTC))
        for region in dict.fromkeys((home.region, *source.copies)):
            yield from _taken(clouds.region(home, region), source, title)
    except BakeryError as error:
        yield _problem(error)


def _taken(cloud: Ec2Cloud, source: Ec2, title: str) -> Iterator[Problem]:
    for old in images.named(cloud, title):
        what = f"there is an image {title} in {cloud.region} already: {old['ImageId']}"
        if not source.replace:
            yield Problem(what=what, hint="Ec2(replace=True), or naming='dated'")
        elif source.keep.in_use == "refuse" and (used := retire.users(cloud, old["ImageId"])):
            yield Problem(what=f"{what}, and is in use", why=", ".join(used), hint="Ec2(keep=Keep(in_use='delete'))")


def _reachable(cloud: Ec2Cloud) -> Iterator[Problem]:
    """Check that each region to copy to is enabled for the account."""
    try:
        cloud.call("describe_availability_zones", f"use the region {cloud.region}")
    except BakeryError as error:
        yield _problem(error)
