"""From a tested image under a temporary name to the user's image: final name, copies, sharing, and the old ones.

An AMI's name cannot be changed. So the final image is registered from the very same snapshots, which takes a second
and copies nothing, and then the temporary one is deregistered without them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.api.errors import Ec2Error, code_of
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.image import fast_launch, images, retire, share
from bakery.drivers.ec2.image.capture import bound, register, registration
from bakery.drivers.ec2.image.copies import copy, copy_all
from bakery.drivers.ec2.source import Ec2
from bakery.errors import DriverError
from bakery.model import Artifact
from bakery.state.claim import Claim

LONGEST = 125
"""Characters of an AMI's name: 128, less room for a number."""
TWINS = 10


def final_name(source: Ec2, name: str, now: datetime) -> str:
    """Return the AMI's name: characters that EC2 does not allow become `-`."""
    clean = re.sub(r"[^A-Za-z0-9()\[\] ./'@_-]", "-", name)
    if source.naming == "exact":
        return clean[:LONGEST].ljust(3, "-")
    stamp = f"-{now:%Y%m%dT%H%M%SZ}"
    return clean[: LONGEST - len(stamp)] + stamp


def keep(clouds: Ec2Clouds, artifact: Artifact, name: str, claim: Claim) -> Artifact:
    """Make the tested image the user's.

    Until the very end all that is new has a record that destroys it; the old images go last, when the new one stands.

    Raises:
        DriverError: AWS refused a part of it; nothing old was touched, unless `naming="exact"` had to.
    """
    source = Ec2.from_settings(artifact.settings["source"])
    home = clouds.of(artifact.settings)
    job = Ec2Job(clouds=clouds, cloud=home, source=source, claim=claim)
    tested = images.wait_image(home, artifact.id, claim, source.image_timeout)
    marks = share.kept_tags(source, name, claim.tags)
    title = final_name(source, name, datetime.now(UTC))
    if source.naming == "exact":  # copies first: then no name is free for longer than a moment, in any region
        temporary = copy_all(job, tested, marks)
        found = _named(job, tested, title, marks)
        copied = {region: _renamed(job.at(region), one, title, marks) for region, one in temporary.items()}
    else:
        found = _named(job, tested, title, marks)
        copied = copy_all(job, found, marks)
    image = str(found["ImageId"])
    all_of_it = {home.region: image, **copied}
    snapshots = {region: _settle(job.at(region), one, marks) for region, one in all_of_it.items()}
    share.retag(home, artifact.data.get("volumes", ()), marks)
    _drop(home, tested, found)
    for region, one in all_of_it.items() if source.fast_launch else ():
        fast_launch.enable(job.at(region), one)
    claim.commit()
    retire.older(job, name, all_of_it)
    settings = {**artifact.settings, "image": image, "copies": copied}
    made = {"region": home.region, "ami_name": found["Name"], "images": all_of_it, "snapshots": snapshots}
    data = {**artifact.data, **made}
    return replace(artifact, id=image, settings=settings, data=data)


def _named(job: Ec2Job, tested: Mapping[str, Any], title: str, marks: Mapping[str, str]) -> dict[str, Any]:
    """Make the image of that name, in place of an older one where that is asked for, and return its description."""
    if job.source.naming == "exact":
        retire.make_room(job.cloud, job.source, title)
    image = _final(job, tested, title, marks)
    return images.wait_image(job.cloud, image, job.claim, job.source.image_timeout)


def _renamed(job: Ec2Job, temporary: str, title: str, marks: Mapping[str, str]) -> str:
    """Give a copy its name, as at home: from the same snapshots."""
    copied = images.wait_image(job.cloud, temporary, job.claim, job.source.image_timeout)
    found = _named(job, copied, title, marks)
    _drop(job.cloud, copied, found)
    return str(found["ImageId"])


def _final(job: Ec2Job, tested: Mapping[str, Any], title: str, marks: Mapping[str, str]) -> str:
    """Register the same snapshots under the final name; a copy, where AWS bills for the system inside."""
    if bound(tested):
        return copy(job, {**tested, "Name": title}, job.cloud.region, marks)
    key = tags.new_key(job.claim)
    request = {
        **registration(job.source, tested, [_disk(mapping) for mapping in tested["BlockDeviceMappings"]]),
        "TagSpecifications": tags.specification({**marks, **job.claim.tags, tags.KEY: key}, "image"),
    }
    for name in (title, *(f"{title}-{number}" for number in range(2, TWINS))):
        try:
            return register(job.cloud, key, {**request, "Name": name}, job.claim)
        except Ec2Error as error:  # another build of the same second has the name
            if code_of(error) != "InvalidAMIName.Duplicate" or job.source.naming == "exact":
                raise
    raise DriverError(f"all names like {title} are taken")


def _disk(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a disk as RegisterImage takes it: an image's description says things that a request may not."""
    disk = {name: value for name, value in mapping.get("Ebs", {}).items() if name not in {"Encrypted", "KmsKeyId"}}
    return {**mapping, **({"Ebs": disk} if disk else {})}


def _settle(job: Ec2Job, image: str, marks: Mapping[str, str]) -> list[str]:
    """From here no sweep finds it: the tags of something kept, then dates and sharing."""
    cloud = job.cloud
    found = cloud.call("describe_images", f"find the image {image}", ImageIds=[image])["Images"]
    snapshots = images.snapshots_of(found[0]) if found else []
    share.retag(cloud, [image, *snapshots], marks)
    share.finish(cloud, job.source, image, snapshots)
    return snapshots


def _drop(cloud: Ec2Cloud, tested: Mapping[str, Any], final: Mapping[str, Any]) -> None:
    """Deregister the temporary image; its snapshots go only where the final one does not stand on them."""
    images.deregister(cloud, str(tested["ImageId"]))
    for snapshot in set(images.snapshots_of(tested)) - set(images.snapshots_of(final)):
        images.delete_snapshot(cloud, snapshot)


def delete(clouds: Ec2Clouds, artifact: Artifact) -> None:
    """Delete a kept image in all its regions, with its snapshots.

    Raises:
        DriverError: launch templates, auto scaling groups or instances use it.
    """
    home = clouds.of(artifact.settings)
    regions = dict(artifact.data.get("images") or {home.region: artifact.id})
    for region, image in regions.items():
        users = retire.users(clouds.region(home, region), image)
        if users:
            raise DriverError(f"the image {image} in {region} is in use", why=", ".join(users))
    for region, image in regions.items():
        retire.remove(clouds.region(home, region), image)


def intact(clouds: Ec2Clouds, artifact: Artifact) -> bool:
    """Say whether a kept image can still be used, in all its regions."""
    home = clouds.of(artifact.settings)
    regions = dict(artifact.data.get("images") or {home.region: artifact.id})
    return all(_usable(clouds.region(home, region), image) for region, image in regions.items())


def _usable(cloud: Ec2Cloud, image: str) -> bool:
    found = cloud.images.now(image)
    return bool(found and found["State"] == "available")
