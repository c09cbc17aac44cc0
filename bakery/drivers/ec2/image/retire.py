"""The older images of a name: which may go, which are still used, and how one goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.image import fast_launch, images
from bakery.drivers.ec2.source import Ec2
from bakery.drivers.shared import retention
from bakery.errors import DriverError
from bakery.util.context import WorkContext

LIVE = ("pending", "running", "stopping", "stopped")


def older(job: Ec2Job, name: str, new: Mapping[str, str]) -> list[str]:
    """Let the older images of a name go, in every region that the new one is in, as `Keep` says.

    Returns:
        The ids that went, or would have gone in a dry run.
    """
    gone: list[str] = []
    for region, image in new.items() if job.source.keep.newest is not None else ():
        here = job.at(region)
        old = surplus(here.cloud, job.source, name, image)
        gone += [one["ImageId"] for one in old if _let_go(here.cloud, job.source, one, job.claim)]
    return gone


def surplus(cloud: Ec2Cloud, source: Ec2, name: str, new: str) -> list[dict[str, Any]]:
    """Return those beyond the number and the days that stay, oldest last."""
    found = cloud.pages(
        "describe_images",
        "Images",
        Owners=["self"],
        Filters=tags.filters({f"tag:{tags.IMAGE}": name}),
        IncludeDeprecated=True,
    )
    others = [image for image in found if image["ImageId"] != new]
    return retention.surplus(others, lambda image: image["CreationDate"], source.keep.newest or 0, source.keep.days)


def _let_go(cloud: Ec2Cloud, source: Ec2, old: Mapping[str, Any], claim: WorkContext) -> bool:
    image, rule = old["ImageId"], source.keep
    used = users(cloud, image) if rule.in_use == "refuse" else []
    if used:
        claim.notice(
            f"the old image {image} in {cloud.region} stays: it is in use by {', '.join(used)}",
            hint="Ec2(keep=Keep(in_use='delete')) deletes it all the same",
            warning=True,
        )
        return False
    if rule.dry_run:
        claim.notice(f"the old image {image} ({old.get('Name')}) in {cloud.region} would go")
        return True
    remove(cloud, image)
    claim.notice(f"the old image {image} ({old.get('Name')}) in {cloud.region} is gone")
    return True


def make_room(cloud: Ec2Cloud, source: Ec2, title: str) -> None:
    """Let the image of exactly this name go, just before the tested one takes the name over.

    Raises:
        DriverError: there is one, and it is in use or `replace` was not asked for.
    """
    for old in images.named(cloud, title):
        image = old["ImageId"]
        if not source.replace:
            raise DriverError(
                f"there is an image {title} already: {image}", hint="Ec2(replace=True), or naming='dated'"
            )
        used = users(cloud, image) if source.keep.in_use == "refuse" else []
        if used:
            raise DriverError(
                f"the old image {image} is in use", why=", ".join(used), hint="Ec2(keep=Keep(in_use='delete'))"
            )
        remove(cloud, image)


def remove(cloud: Ec2Cloud, image: str) -> None:
    """Deregister an image and delete its snapshots, except those that another image stands on."""
    found = cloud.call("describe_images", f"find the image {image}", ImageIds=[image])["Images"]
    snapshots = images.snapshots_of(found[0]) if found else []
    if found and found[0].get("Platform") == "windows":
        fast_launch.disable(cloud, image)
    images.deregister(cloud, image)
    for snapshot in snapshots:
        others = cloud.pages(
            "describe_images",
            "Images",
            Owners=["self"],
            Filters=tags.filters({"block-device-mapping.snapshot-id": snapshot}),
        )
        if not any(other["ImageId"] != image for other in others):
            images.delete_snapshot(cloud, snapshot)


def users(cloud: Ec2Cloud, image: str) -> list[str]:
    """Return what would miss the image: instances, launch templates, and the auto scaling groups behind those."""
    return [*_instances(cloud, image), *_templates(cloud, image), *_configurations(cloud, image)]


def _instances(cloud: Ec2Cloud, image: str) -> Iterator[str]:
    asked = tags.filters({"image-id": image, "instance-state-name": LIVE})
    for reservation in cloud.pages("describe_instances", "Reservations", Filters=asked):
        yield from (f"instance {machine['InstanceId']}" for machine in reservation["Instances"])


def _templates(cloud: Ec2Cloud, image: str) -> Iterator[str]:
    """Find the image in the versions of launch templates that are used when no number is named: default and latest."""
    for template in cloud.pages("describe_launch_templates", "LaunchTemplates"):
        versions = cloud.call(
            "describe_launch_template_versions",
            LaunchTemplateId=template["LaunchTemplateId"],
            Versions=["$Default", "$Latest"],
        )["LaunchTemplateVersions"]
        if any(version["LaunchTemplateData"].get("ImageId") == image for version in versions):
            yield f"launch template {template['LaunchTemplateName']}"


def _configurations(cloud: Ec2Cloud, image: str) -> Iterator[str]:
    """Auto scaling groups with an old-style launch configuration; the others are seen by their launch templates."""
    named: set[str] = set()
    for one in cloud.pages("describe_launch_configurations", "LaunchConfigurations", service="autoscaling"):
        if one["ImageId"] == image:
            named.add(one["LaunchConfigurationName"])
    if named:
        for group in cloud.pages("describe_auto_scaling_groups", "AutoScalingGroups", service="autoscaling"):
            if group.get("LaunchConfigurationName") in named:
                yield f"auto scaling group {group['AutoScalingGroupName']}"
