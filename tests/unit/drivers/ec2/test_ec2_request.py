"""What RunInstances is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.ec2.machine.network import SubnetChoice
from bakery.drivers.ec2.machine.run_instances import Order, mappings, run_instances, volumes
from bakery.drivers.ec2.machine.user_data import compose
from bakery.drivers.ec2.options import Metadata, Spot, Volume
from bakery.drivers.ec2.source import Ec2
from bakery.errors import ImagefileError
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys, proof_of

IMAGE = {
    "ImageId": "ami-1",
    "RootDeviceName": "/dev/xvda",
    "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}],
}
ORDER = Order(image=IMAGE, key="bakery-r-1-abc", groups=("sg-1",), user_data="#cloud-config\n")
PLACE = SubnetChoice(subnet="subnet-1", vpc="vpc-1", zone="eu-central-1a")
SOURCE = Ec2(base="ami-1")


@pytest.fixture
def claim(tmp_path: Path) -> Callable[[str], Claim]:
    class Nothing:
        def intend(self, resource: object) -> None:
            pass

        made = kept = intend

        def commit(self) -> None:
            pass

    def make(role: str) -> Claim:
        return Claim(
            cache=tmp_path,
            run="r",
            build="web@aws",
            role=role,
            name="bakery-r-1",
            folder=tmp_path,
            images=tmp_path,
            keys=make_keys("test"),
            tags={"bakery:run": "r"},
            ledger=Nothing(),
            driver="ec2",
        )

    return make


def asked(source: Ec2, claim: Claim) -> dict[str, Any]:
    return run_instances(source, ORDER, claim, "t3.small", PLACE)


def test_imdsv2_alone_is_the_default(claim: Callable[[str], Claim]) -> None:
    assert asked(SOURCE, claim("build"))["MetadataOptions"]["HttpTokens"] == "required"
    optional = replace(SOURCE, metadata=Metadata(tokens="optional"))
    assert asked(optional, claim("build"))["MetadataOptions"]["HttpTokens"] == "optional"


def test_all_that_is_made_is_tagged_by_the_request(claim: Callable[[str], Claim]) -> None:
    request = asked(replace(SOURCE, spot=True, run_tags={"team": "web"}), claim("build"))
    kinds = {one["ResourceType"] for one in request["TagSpecifications"]}
    assert kinds == {"instance", "volume", "network-interface", "spot-instances-request"}
    for one in request["TagSpecifications"]:
        marks = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        assert marks["bakery:run"] == "r"
        assert marks["bakery:key"] == "bakery-r-1-abc"
        assert marks["team"] == "web"


def test_a_spot_machine_can_be_stopped_for_its_capture(claim: Callable[[str], Claim]) -> None:
    request = asked(replace(SOURCE, spot=Spot(max_price=0.02)), claim("build"))
    options = request["InstanceMarketOptions"]["SpotOptions"]
    assert options["SpotInstanceType"] == "persistent"
    assert options["InstanceInterruptionBehavior"] == "stop"
    assert options["MaxPrice"] == "0.020000"
    assert "InstanceInitiatedShutdownBehavior" not in request


def test_a_smoke_machine_that_switches_itself_off_is_gone(claim: Callable[[str], Claim]) -> None:
    assert asked(SOURCE, claim("smoke"))["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked(SOURCE, claim("build"))["InstanceInitiatedShutdownBehavior"] == "stop"


def test_raw_options_are_laid_over_ours(claim: Callable[[str], Claim]) -> None:
    raw = {"CpuOptions": {"CoreCount": 1}, "MetadataOptions": {"HttpTokens": "optional"}}
    request = asked(replace(SOURCE, launch_options=raw), claim("build"))
    assert request["CpuOptions"] == {"CoreCount": 1}
    assert request["MetadataOptions"] == {"HttpTokens": "optional"}


@pytest.mark.parametrize(("connect", "public"), [("public", True), ("private", None), ("ssm", None)])
def test_a_public_address_is_asked_for_only_where_it_is_used(
    claim: Callable[[str], Claim], connect: Any, public: bool | None
) -> None:
    interface = asked(replace(SOURCE, connect=connect), claim("build"))["NetworkInterfaces"][0]
    assert interface.get("AssociatePublicIpAddress") == public


def test_the_root_volume_is_quick_and_encrypted_from_the_start() -> None:
    found = volumes(replace(SOURCE, encrypt="alias/images"), IMAGE, "build")
    assert mappings(found) == [
        {
            "DeviceName": "/dev/xvda",
            "Ebs": {
                "VolumeSize": 8,
                "VolumeType": "gp3",
                "Throughput": 500,
                "Encrypted": True,
                "KmsKeyId": "alias/images",
                "DeleteOnTermination": True,
            },
        }
    ]


def test_a_root_volume_of_the_users_own_is_left_as_it_is() -> None:
    found = volumes(replace(SOURCE, volumes=(Volume(size=30, volume_type="io2", iops=5000),)), IMAGE, "build")
    assert [(disk.device, disk.size, disk.iops, disk.throughput) for disk in found] == [("/dev/xvda", 30, 5000, None)]


def test_devices_can_be_taken_away_or_be_ephemeral() -> None:
    found = mappings([Volume(device="/dev/sdb", absent=True), Volume(device="/dev/sdc", ephemeral="ephemeral0")])
    assert found == [
        {"DeviceName": "/dev/sdb", "NoDevice": ""},
        {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"},
    ]


def test_user_data_of_the_user_ride_beside_ours(claim: Callable[[str], Claim]) -> None:
    text = str(compose(replace(SOURCE, user_data="#!/bin/sh\necho hello\n"), claim("build")))
    assert "text/cloud-config" in text
    assert "text/x-shellscript" in text
    assert "hello" not in str(compose(replace(SOURCE, user_data="#!/bin/sh\necho hello\n"), claim("smoke")))


def test_a_machine_that_is_only_tested_is_given_a_proof_and_no_host_key(claim: Callable[[str], Claim]) -> None:
    tested = claim("smoke")
    text = str(compose(SOURCE, tested))
    assert proof_of(tested.keys.user_private) in text
    assert "ssh_keys" not in text
    assert "bakery-proof" not in str(compose(replace(SOURCE, host_key="console"), tested))
    assert "bakery-proof" not in str(compose(SOURCE, claim("build")))


def test_long_user_data_are_packed(claim: Callable[[str], Claim]) -> None:
    data = compose(replace(SOURCE, user_data="#!/bin/sh\n" + "#" * 20000), claim("build"))
    assert isinstance(data, bytes)
    assert len(data) < 16384


def test_user_data_of_an_unknown_kind_or_too_long_are_refused(claim: Callable[[str], Claim]) -> None:
    with pytest.raises(ImagefileError, match="of what kind"):
        replace(SOURCE, user_data="hello")
    with pytest.raises(ImagefileError, match="EC2 takes 16384"):
        compose(replace(SOURCE, user_data="#!/bin/sh\n# " + secrets.token_hex(20000)), claim("build"))


def test_a_machine_that_shows_its_own_host_key_is_not_given_one(claim: Callable[[str], Claim]) -> None:
    assert "ssh_keys" in str(compose(SOURCE, claim("build")))
    assert "ssh_keys" not in str(compose(replace(SOURCE, host_key="console"), claim("build")))
