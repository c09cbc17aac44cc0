"""Windows fast launch: EC2 takes machines of the image through their first boot beforehand."""

from __future__ import annotations

from typing import Any

from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.image.images import AT_MOST, Stall
from bakery.drivers.ec2.options import FastLaunch
from bakery.drivers.shared.waiting import patience
from bakery.errors import DriverError, NotYet
from bakery.util.waiting import until

FAILED = {"enabling-failed", "enabled-failed"}


def enable(job: Ec2Job, image: str) -> None:
    """Switch it on for a tested image, and wait until EC2 has its first snapshots.

    Raises:
        DriverError: EC2 gave up; with its reason. The machines that it starts for this are its own, and end with it.
    """
    cloud, source = job.cloud, job.source
    wanted = source.fast_launch if isinstance(source.fast_launch, FastLaunch) else FastLaunch()
    count = {"TargetResourceCount": wanted.snapshots} if wanted.snapshots is not None else None
    cloud.call(
        "enable_fast_launch",
        "enable fast launch",
        ImageId=image,
        ResourceType="snapshot",
        MaxParallelLaunches=wanted.parallel,
        SnapshotConfiguration=count,
        LaunchTemplate=_template(wanted, cloud.region),
    )
    stall = Stall(f"fast launch of {image}", source.image_timeout)

    def probe() -> None:
        with patience("AWS", stall.look):
            state, reason = _state(cloud, image)
        if state in FAILED:
            raise DriverError(f"fast launch of {image} is {state}", why=reason)
        if state != "enabled":
            stall.look(f"{state} {reason}")
            raise NotYet(f"fast launch of {image}: {state} {reason}".strip())

    claim = job.claim
    until(
        probe,
        what="fast launch is enabled",
        timeout=AT_MOST,
        cancel=claim.cancel,
        notify=claim.waiting,
        every=(1.0, 15.0),
    )


def disable(cloud: Ec2Cloud, image: str) -> None:
    """Switch it off before an image goes: its snapshots are EC2's own, and cost until then. Nothing to do for most."""
    if _state(cloud, image)[0] != "":
        cloud.call("disable_fast_launch", "disable fast launch", ImageId=image, Force=True)


def _template(wanted: FastLaunch, region: str) -> dict[str, str] | None:
    name = wanted.template if isinstance(wanted.template, str) else wanted.template.get(region, "")
    if not name:
        return None
    kind = "LaunchTemplateId" if name.startswith("lt-") else "LaunchTemplateName"
    return {kind: name, "Version": wanted.version}


def _state(cloud: Ec2Cloud, image: str) -> tuple[str, str]:
    """Return the state and its reason; empty texts where fast launch was never asked for."""
    found: list[dict[str, Any]] = cloud.call("describe_fast_launch_images", ImageIds=[image])["FastLaunchImages"]
    return (found[0]["State"], found[0].get("StateTransitionReason", "")) if found else ("", "")
