"""From a source or an image to a running instance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import CAPACITY, Ec2Error, Ec2RetryableError, code_of
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.machine import base_images, instance_profile, network, user_data
from bakery.drivers.ec2.machine.network import SubnetChoice
from bakery.drivers.ec2.machine.run_instances import Order, run_instances
from bakery.drivers.ec2.source import Ec2
from bakery.drivers.shared import host_keys
from bakery.errors import NotYet
from bakery.model import Handle
from bakery.state.claim import Claim, Intent
from bakery.util.waiting import until

NOT_YET_KNOWN = ("Invalid IAM Instance Profile name", "InvalidGroup.NotFound", "InvalidKeyPair.NotFound")
"""What RunInstances says of things that were made a moment ago, until they are known everywhere."""


def launch(job: Ec2Job) -> Handle:
    """Start a machine: base, place, who may reach it, then the machine itself.

    Raises:
        PreflightError: there is no such base or subnet.
        Ec2Error: AWS said no; `Ec2RetryableError` where asking again may help.
    """
    cloud, source, claim = job.cloud, job.source, job.claim
    image = base_images.resolve(cloud, source.base)
    places = network.places(cloud, source)
    vpc = places[0].vpc
    groups = network.named_groups(cloud, source, vpc) or (str(network.group(cloud, source, vpc, claim).id),)
    order = Order(
        image=image,
        key=tags.new_key(claim),
        groups=groups,
        user_data=user_data.compose(source, claim),
        profile=instance_profile.make(cloud, source, claim) if source.instance_policy else source.instance_profile,
        key_pair=_key_pair(cloud, source, claim) if source.key_pair else None,
    )
    intent = claim.intend("instance", order.key, **cloud.record, spot=bool(source.spot))
    machine = _first_with_room(job, order, places)
    handle = _handle(job, intent, machine)
    if source.connect == "ssm":
        claim.intend("tunnel", tags.new_key(claim), **cloud.record, folder=str(claim.folder))
    return handle


def _first_with_room(job: Ec2Job, order: Order, places: Iterable[SubnetChoice]) -> dict[str, Any]:
    """Try each type in each place until one has room.

    Raises:
        Ec2RetryableError: none has; with what each of them said.
    """
    said: list[str] = []
    candidates = [(kind, place) for kind in job.source.types for place in places]
    for number, (kind, place) in enumerate(candidates):
        request = run_instances(job.source, order, job.claim, kind, place)
        try:
            return _ask(job, {**request, "ClientToken": f"{order.key}-{number}"})
        except Ec2Error as refusal:
            if code_of(refusal) not in CAPACITY:
                raise
            said.append(f"{kind} in {place.zone}: {refusal.why}")
            job.claim.notice(f"no room for {kind} in {place.zone}", hint=refusal.why)
    hint = "name further types: instance_type=('t3.small', 't3a.small')"
    error = Ec2RetryableError("AWS has no room for the machine", why="\n".join(said), hint=hint)
    error.code = "InsufficientInstanceCapacity"
    raise error


def _ask(job: Ec2Job, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for one machine; for the same token AWS gives the same one, however often an answer is lost."""

    def probe() -> dict[str, Any]:
        try:
            # Once: botocore would ask a zone that is full another five times, as its answer has HTTP status 500.
            answer = job.cloud.call("run_instances", "start an instance", once=True, **request)
        except Ec2Error as error:
            passing = isinstance(error, Ec2RetryableError) and code_of(error) not in CAPACITY
            if passing or any(text in error.why for text in NOT_YET_KNOWN):
                raise NotYet(error.why) from error
            raise
        return dict(answer["Instances"][0])

    claim = job.claim
    return until(
        probe,
        what="AWS starts the instance",
        timeout=90,
        cancel=claim.cancel,
        notify=claim.waiting,
        every=(0.5, 10.0),
        error=Ec2RetryableError,
    )


def _key_pair(cloud: Ec2Cloud, source: Ec2, claim: Claim) -> str:
    """Give EC2 our public key, for images that know no cloud-init."""
    key = tags.new_key(claim)
    intent = claim.intend("key-pair", key, **cloud.record)
    made = cloud.call(
        "import_key_pair",
        "take our public key",
        KeyName=key,
        PublicKeyMaterial=claim.keys.user_public.encode(),
        TagSpecifications=tags.specification(tags.temporary(claim, key, source.run_tags), "key-pair"),
    )
    intent.made(made["KeyPairId"])
    return key


def _handle(job: Ec2Job, intent: Intent, machine: Mapping[str, Any]) -> Handle:
    cloud, claim = job.cloud, job.claim
    request = machine.get("SpotInstanceRequestId")
    resource = intent.made(machine["InstanceId"], **({"spot_request": request} if request else {}))
    settings = {"source": job.source.settings(), **cloud.record}
    data = {**cloud.record, "host_public": host_keys.given(claim), "role": claim.role, "build": claim.build}
    return Handle(
        driver="ec2", id=machine["InstanceId"], resource=resource, folder=claim.folder, settings=settings, data=data
    )
