"""Windows fast launch, against botocore's Stubber: moto does not have it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from bakery.drivers.ec2.api.account import Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.image.fast_launch import disable, enable
from bakery.drivers.ec2.options import FastLaunch
from bakery.drivers.ec2.source import Ec2
from bakery.errors import DriverError
from bakery.state.claim import Claim

ASKED = {"ImageIds": ["ami-1"]}


def job(cloud: Ec2Cloud, claim: Claim, wanted: bool | FastLaunch) -> Ec2Job:
    return Ec2Job(clouds=Ec2Clouds(), cloud=cloud, source=Ec2(base="ami-0", fast_launch=wanted), claim=claim)


def state(word: str, reason: str = "") -> dict[str, Any]:
    return {"FastLaunchImages": [{"ImageId": "ami-1", "State": word, "StateTransitionReason": reason}]}


def test_it_is_asked_for_and_waited_for(cloud: Ec2Cloud, claim: Claim) -> None:
    wanted = FastLaunch(parallel=8, snapshots=3, template={"eu-west-1": "lt-1", "us-east-1": "lt-2"}, version="4")
    with Stubber(cloud.client("ec2")) as stub:
        asked = {
            "ImageId": "ami-1",
            "ResourceType": "snapshot",
            "MaxParallelLaunches": 8,
            "SnapshotConfiguration": {"TargetResourceCount": 3},
            "LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "4"},
        }
        stub.add_response("enable_fast_launch", {"ImageId": "ami-1", "State": "enabling"}, asked)
        stub.add_response("describe_fast_launch_images", state("enabling"), ASKED)
        stub.add_client_error("describe_fast_launch_images", "RequestLimitExceeded")
        stub.add_response("describe_fast_launch_images", state("enabled"), ASKED)
        enable(job(cloud, claim, wanted), "ami-1")
        stub.assert_no_pending_responses()


def test_what_is_not_said_is_left_to_ec2(cloud: Ec2Cloud, claim: Claim) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        asked = {"ImageId": "ami-1", "ResourceType": "snapshot", "MaxParallelLaunches": 6}
        stub.add_response("enable_fast_launch", {"ImageId": "ami-1"}, asked)
        stub.add_response("describe_fast_launch_images", state("enabled"), ASKED)
        enable(job(cloud, claim, wanted=True), "ami-1")
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("word", ["enabling-failed", "enabled-failed"])
def test_ec2_giving_up_is_an_error_with_its_reason(cloud: Ec2Cloud, claim: Claim, word: str) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        stub.add_response("enable_fast_launch", {"ImageId": "ami-1"})
        stub.add_response("describe_fast_launch_images", state(word, "no default VPC"), ASKED)
        with pytest.raises(DriverError, match=word) as caught:
            enable(job(cloud, claim, wanted=True), "ami-1")
        assert caught.value.why == "no default VPC"


def test_an_image_that_goes_loses_it_first(cloud: Ec2Cloud) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        stub.add_response("describe_fast_launch_images", state("enabled"), ASKED)
        stub.add_response("disable_fast_launch", {"ImageId": "ami-1"}, {"ImageId": "ami-1", "Force": True})
        disable(cloud, "ami-1")
        stub.assert_no_pending_responses()


def test_most_images_have_none(cloud: Ec2Cloud) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        stub.add_response("describe_fast_launch_images", {"FastLaunchImages": []}, ASKED)
        disable(cloud, "ami-1")
        stub.assert_no_pending_responses()
