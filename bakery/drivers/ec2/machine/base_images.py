"""What a machine starts from: an id, the newest that fits, a parameter, or an image of ours."""

from __future__ import annotations

from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.options import Newest, Parameter
from bakery.errors import DriverError, PreflightError
from bakery.model import Artifact, Checkpoint


def resolve(cloud: Ec2Cloud, base: Any) -> dict[str, Any]:
    """Return the image as DescribeImages does.

    Raises:
        PreflightError: no image fits, or the base is of a kind that EC2 cannot start.
        DriverError: AWS refused.
    """
    match base:
        case Newest():
            return newest(cloud, base)
        case Parameter():
            return by_id(cloud, parameter(cloud, base.path))
        case Artifact() | Checkpoint():
            return by_id(cloud, _ours(cloud, base))
        case str() if base.startswith("ami-"):
            return by_id(cloud, base)
    raise PreflightError(
        f"Ec2 cannot start from {base!r}",
        hint="base='ami-...', Newest(owner=..., name=...), Parameter('/aws/service/...'), or an image built with Ec2",
    )


def _ours(cloud: Ec2Cloud, base: Artifact | Checkpoint) -> str:
    """Return the id of an image of ours in this region: itself, or its copy."""
    settings = base.settings
    here = {settings.get("region"): settings.get("image"), **dict(settings.get("copies", {}))}
    if isinstance(base, Artifact) and base.driver != "ec2":
        raise PreflightError(
            f"{base.name} was made by {base.driver} and is not on EC2",
            hint="bakery.publish.Ec2(...) makes an AMI of a local image",
        )
    found = here.get(cloud.region)
    if not found:
        where = ", ".join(sorted(str(region) for region in here))
        raise PreflightError(
            f"the image to start from is not in {cloud.region}",
            why=f"it is in {where}",
            hint=f"copy_to=({cloud.region!r},) where that image is made",
        )
    return str(found)


def by_id(cloud: Ec2Cloud, image_id: str) -> dict[str, Any]:
    """Return one image.

    Raises:
        Ec2Error: there is none of this id here.
    """
    found = cloud.call("describe_images", f"find the image {image_id}", ImageIds=[image_id])["Images"]
    if not found:
        raise DriverError(f"there is no image {image_id} in {cloud.region}", hint="ids differ from region to region")
    return dict(found[0])


def newest(cloud: Ec2Cloud, wanted: Newest) -> dict[str, Any]:
    """Return the newest image that fits.

    Raises:
        PreflightError: none does.
    """
    found = list(
        cloud.pages(
            "describe_images",
            "Images",
            Owners=[wanted.owner],
            Filters=tags.filters({"name": wanted.name, "state": "available", **wanted.filters}),
            IncludeDeprecated=wanted.include_deprecated,
        )
    )
    if not found:
        raise PreflightError(
            f"no image in {cloud.region} fits {wanted}",
            hint="is the owner right, and is the image in this region? " + _why_none(wanted),
        )
    return max(found, key=lambda image: (image["CreationDate"], image["ImageId"]))


def _why_none(wanted: Newest) -> str:
    return "" if wanted.include_deprecated else "include_deprecated=True also looks at deprecated ones"


def parameter(cloud: Ec2Cloud, path: str) -> str:
    """Return the text of an SSM parameter."""
    answer = cloud.call("get_parameter", f"read the parameter {path}", service="ssm", Name=path, WithDecryption=True)
    return str(answer["Parameter"]["Value"])
