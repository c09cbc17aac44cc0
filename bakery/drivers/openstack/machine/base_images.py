"""What a machine starts from: an id, a name, what a filter finds, an address, a local disk, an image of ours."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

from bakery.disk.bases.base import Base
from bakery.drivers.openstack.api import resources
from bakery.drivers.openstack.api.cloud import OpenStackCloud
from bakery.drivers.openstack.image import images, upload
from bakery.drivers.openstack.options import GlanceImage, GlanceUrl
from bakery.drivers.openstack.source import OpenStack
from bakery.errors import PreflightError
from bakery.model import Artifact, Checkpoint
from bakery.state.claim import Claim

if TYPE_CHECKING:
    from openstack.image.v2.image import Image

ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
HINT = (
    "base='debian-12', GlanceImage(name='debian-12*', owner=...), GlanceUrl(...), CloudImage(...), or an image of ours"
)


def resolve(cloud: OpenStackCloud, base: Any) -> Image:
    """Return an image that Glance has already.

    Raises:
        PreflightError: none fits, or more than one.
    """
    match base:
        case GlanceImage():
            return _find(cloud, base)
        case Artifact() | Checkpoint() if base.driver == "openstack":
            return by_id(cloud, str(base.settings["image"]))
        case str() if ID.fullmatch(base):
            return by_id(cloud, base)
        case str() if base:
            return _find(cloud, GlanceImage(name=base, newest=False))
    raise PreflightError(f"OpenStack cannot start from {base!r}", hint=HINT)


def at_hand(cloud: OpenStackCloud, source: OpenStack, claim: Claim) -> Image:
    """Return the image to start from; fetched or uploaded for this one machine where Glance has it not.

    Raises:
        PreflightError: there is none.
        DriverError: Glance did not take it.
    """
    match source.base:
        case GlanceUrl():
            return upload.fetched(cloud, source.base, claim)
        case Base():
            return upload.local(cloud, source.base, claim, source)
        case Artifact() if source.base.driver != "openstack":
            return upload.artifact(cloud, source.base, claim, source)
    return resolve(cloud, source.base)


def by_id(cloud: OpenStackCloud, image: str) -> Image:
    """Return one image.

    Raises:
        PreflightError: there is none of this id here, or it cannot be booted.
    """
    base: Image | None = resources.get(cloud, "image", image)
    if base is None:
        raise PreflightError(f"there is no image {image} here", hint="ids differ from cloud to cloud")
    if base.status != images.ACTIVE:
        raise PreflightError(f"the image {image} is {base.status} and cannot be started from")
    return base


def _find(cloud: OpenStackCloud, wanted: GlanceImage) -> Image:
    exact = not any(char in wanted.name for char in "*?[")
    filters: dict[str, Any] = {
        **wanted.properties,
        "status": images.ACTIVE,
        "owner": wanted.owner,
        "visibility": wanted.visibility,
        "tag": list(wanted.tags) or None,
        "name": wanted.name if exact else None,
    }
    listed = resources.list_all(cloud, "image", **filters)
    fitting: list[Image] = [image for image in listed if exact or fnmatch.fnmatchcase(image.name or "", wanted.name)]
    if not fitting:
        raise PreflightError(
            f"no image here fits {_words(wanted)}", hint="`openstack image list` shows those there are"
        )
    if len(fitting) > 1 and not wanted.newest:
        raise PreflightError(
            f"{len(fitting)} images here fit {_words(wanted)}",
            why=", ".join(f"{image.id} of {image.created_at}" for image in fitting),
            hint=f"an id, or GlanceImage(name={wanted.name!r}) for the newest",
        )
    return max(fitting, key=_age)


def _age(image: Image) -> tuple[str, str]:
    return image.created_at, image.id


def _words(wanted: GlanceImage) -> str:
    return repr(wanted.name) if wanted == GlanceImage(name=wanted.name, newest=wanted.newest) else str(wanted)
