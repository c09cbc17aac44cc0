"""Copies in other regions: a few at a time, each with its own line in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.image import images
from bakery.errors import BakeryError, Interrupted

AT_ONCE = 5
"""AWS allows twenty snapshot copies at once into a region; five is kind to the source."""


def copy_all(job: Ec2Job, image: Mapping[str, Any], marks: Mapping[str, str]) -> dict[str, str]:
    """Copy an image to each of the source's regions; return the ids by region.

    All are begun even when one fails, and those that stand are unmade with the build's other things.

    Raises:
        DriverError: one or more failed; the first is raised and names the others.
    """
    wanted = {region: key for region, key in job.source.copies.items() if region != job.cloud.region}
    made: dict[str, str] = {}
    failed: dict[str, BakeryError] = {}
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="copy") as pool:
        futures = {
            region: pool.submit(copy, job.at(region), image, job.cloud.region, marks, key=key)
            for region, key in wanted.items()
        }
        for region, future in futures.items():
            try:
                made[region] = future.result()
            except BakeryError as error:
                failed[region] = error
    if failed:
        raise _all(failed)
    return made


def _all(failed: Mapping[str, BakeryError]) -> BakeryError:
    first = next((error for error in failed.values() if isinstance(error, Interrupted)), next(iter(failed.values())))
    first.why = "\n".join([first.why, *(f"{region}: {error.what}" for region, error in failed.items())]).strip()
    return first


def copy(job: Ec2Job, image: Mapping[str, Any], region: str, marks: Mapping[str, str], *, key: str = "") -> str:
    """Copy one image into the job's region, and wait for it.

    Args:
        job: where to.
        image: as described where it is.
        region: where it is.
        marks: tags of the copy.
        key: KMS key in the new region; empty for its default.
    """
    name, cloud, claim = image["Name"], job.cloud, job.claim
    # Until all is well the copy carries the marks of something temporary: a sweep then finds it.
    token = tags.new_key(claim)
    temporary = {**marks, **claim.tags, tags.KEY: token}
    intent = claim.intend("image", token, **cloud.record, snapshots="own")
    answer = cloud.call(
        "copy_image",
        f"copy the image from {region}",
        Name=name,
        SourceImageId=image["ImageId"],
        SourceRegion=region,
        ClientToken=token,
        Description=image.get("Description") or None,
        Encrypted=True if key or job.source.encrypt else None,
        KmsKeyId=key or None,
        SnapshotCopyCompletionDurationMinutes=job.source.copy_minutes,
        TagSpecifications=tags.specification(temporary, "image", "snapshot"),
    )
    intent.made(answer["ImageId"])
    found = images.wait_image(cloud, answer["ImageId"], claim, job.source.image_timeout)
    # Once more, with the snapshots: `keep` takes their temporary tags away before the journal lets go of them.
    intent.made(answer["ImageId"], holds=images.snapshots_of(found))
    return str(answer["ImageId"])
