"""AWS for tests: each gap of moto that is filled does what EC2 documents, and each fault of the proxy is met."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from bakery.testing.aws import Aws, Fault, Proxy, aws
from bakery.testing.aws.cloud import BASE
from bakery.testing.aws.gaps import first_address

boto = pytest.importorskip("botocore.exceptions")
BLOCK = 512 * 1024
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """One server for all."""
    with aws(tmp_path_factory.mktemp("aws"), quotas={"L-1216C47A": 32.0}) as running:
        yield running


@pytest.fixture(scope="module")
def ec2(cloud: Aws) -> Any:
    """A client of the server itself."""
    return cloud.client()


@pytest.fixture(scope="module")
def ebs(cloud: Aws) -> Any:
    """A client of the EBS direct APIs."""
    return cloud.client("ebs")


@pytest.fixture(scope="module")
def machine(ec2: Any) -> Iterator[str]:
    """A running instance."""
    answer = ec2.run_instances(ImageId=BASE, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    name = answer["Instances"][0]["InstanceId"]
    yield name
    ec2.terminate_instances(InstanceIds=[name])


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"web-{next(NUMBERS)}"


def refused(call: Any, **given: Any) -> str:
    """The code with which a call is refused."""
    with pytest.raises(boto.ClientError) as caught:
        call(**given)
    return str(caught.value.response["Error"]["Code"])


def image(ec2: Any, number: str) -> dict[str, Any]:
    (found,) = ec2.describe_images(ImageIds=[number])["Images"]
    return dict(found)


# ---- instances ------------------------------------------------------------------------------------------------------


def test_public_addresses_are_on_loopback_each_another_one(ec2: Any) -> None:
    answer = ec2.run_instances(
        ImageId=BASE,
        MinCount=3,
        MaxCount=3,
        InstanceType="t3.micro",
        NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": True}],
    )
    names = [one["InstanceId"] for one in answer["Instances"]]
    found = ec2.describe_instances(InstanceIds=names)["Reservations"]
    addresses = {one["PublicIpAddress"] for group in found for one in group["Instances"]}
    ec2.terminate_instances(InstanceIds=names)
    assert len(addresses) == 3
    assert all(ip_address(address) in ip_network("127.0.0.0/8") for address in addresses)


def test_servers_begin_at_different_places_on_loopback() -> None:
    drawn = {first_address() for _ in range(50)}
    assert len(drawn) > 40
    assert all(64 <= int(address) >> 16 & 0xFF < 192 and int(address) % 256 == 0 for address in drawn)


def test_a_repeated_call_with_one_client_token_starts_one_machine(ec2: Any) -> None:
    given = {"ImageId": BASE, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ClientToken": "token-1"}
    first, second = (ec2.run_instances(**given)["Instances"][0]["InstanceId"] for _ in range(2))
    other = ec2.run_instances(**{**given, "ClientToken": "token-2"})["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[first, other])
    assert first == second != other


def test_ending_what_has_ended_is_no_error(ec2: Any) -> None:
    answer = ec2.run_instances(ImageId=BASE, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    number = answer["Instances"][0]["InstanceId"]
    for _ in range(2):
        (ended,) = ec2.terminate_instances(InstanceIds=[number])["TerminatingInstances"]
        assert ended["InstanceId"] == number


def test_the_console_is_what_the_machine_wrote(ec2: Any, cloud: Aws, machine: str) -> None:
    assert ec2.get_console_output(InstanceId=machine).get("Output", "") == ""
    (cloud.folder / f"{machine}.console").write_bytes(b"x" * 70_000 + b"login: ")
    text = ec2.get_console_output(InstanceId=machine)["Output"]
    assert (len(text), text[-7:]) == (65_536, "login: ")
    assert refused(ec2.get_console_output, InstanceId="i-0123456789abcdef0") == "InvalidInstanceID.NotFound"


# ---- images ---------------------------------------------------------------------------------------------------------


def snapshot(ec2: Any) -> str:
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=2)["VolumeId"]
    number: str = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    ec2.delete_volume(VolumeId=volume)
    return number


def registered(ec2: Any, name: str, disk: str, **more: Any) -> str:
    number: str = ec2.register_image(
        Name=name,
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": disk, "VolumeType": "gp3"}}],
        **more,
    )["ImageId"]
    return number


def test_a_registered_image_keeps_what_was_said(ec2: Any, name: str) -> None:
    disk = snapshot(ec2)
    said = {
        "Architecture": "arm64",
        "BootMode": "uefi",
        "VirtualizationType": "hvm",
        "ImdsSupport": "v2.0",
        "TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "team", "Value": "web"}]}],
    }
    found = image(ec2, registered(ec2, name, disk, **said))
    assert {key: found[key] for key in ("Architecture", "BootMode", "VirtualizationType", "ImdsSupport")} == {
        key: value for key, value in said.items() if key != "TagSpecifications"
    }
    assert (found["RootDeviceName"], found["RootDeviceType"]) == ("/dev/xvda", "ebs")
    assert found["Tags"] == [{"Key": "team", "Value": "web"}]
    (mapping,) = found["BlockDeviceMappings"]
    assert (mapping["Ebs"]["SnapshotId"], mapping["Ebs"]["VolumeSize"]) == (disk, 2)


def test_names_of_images_are_unique(ec2: Any, name: str) -> None:
    disk = snapshot(ec2)
    registered(ec2, name, disk)
    given = {"Name": name, "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": []}
    assert refused(ec2.register_image, **given) == "InvalidAMIName.Duplicate"


def test_an_image_of_a_snapshot_that_is_not_there_is_refused(ec2: Any, name: str) -> None:
    disks = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}}]
    given = {"Name": name, "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": disks}
    assert refused(ec2.register_image, **given) == "InvalidSnapshot.NotFound"


def test_a_snapshot_that_an_image_stands_on_stays_until_the_image_goes(ec2: Any, name: str) -> None:
    disk = snapshot(ec2)
    number = registered(ec2, name, disk)
    assert refused(ec2.delete_snapshot, SnapshotId=disk) == "InvalidSnapshot.InUse"
    ec2.deregister_image(ImageId=number)
    ec2.delete_snapshot(SnapshotId=disk)


def test_images_are_found_by_the_snapshot_under_them(ec2: Any, name: str) -> None:
    disk, other = snapshot(ec2), snapshot(ec2)
    number = registered(ec2, name, disk)
    registered(ec2, f"{name}-other", other)
    filters = [{"Name": "block-device-mapping.snapshot-id", "Values": [disk]}]
    assert [one["ImageId"] for one in ec2.describe_images(Filters=filters)["Images"]] == [number]


def test_an_image_of_a_machine_has_a_tagged_snapshot_of_each_disk(ec2: Any, machine: str, name: str) -> None:
    tags = [{"Key": "bakery:run", "Value": "r-1"}]
    number = ec2.create_image(
        InstanceId=machine,
        Name=name,
        TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")],
    )["ImageId"]
    found = image(ec2, number)
    assert found["Tags"] == tags
    disks = [mapping["Ebs"]["SnapshotId"] for mapping in found["BlockDeviceMappings"]]
    assert len(disks) == 1
    assert ec2.describe_snapshots(SnapshotIds=disks)["Snapshots"][0]["Tags"] == tags


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_copy_has_snapshots_of_its_own_in_its_region(ec2: Any, cloud: Aws, name: str, encrypted: bool) -> None:
    origin = registered(ec2, name, snapshot(ec2), Architecture="arm64")
    there = cloud.client(region="eu-west-1")
    number = there.copy_image(SourceRegion="us-east-1", SourceImageId=origin, Name=name, Encrypted=encrypted)["ImageId"]
    found = image(there, number)
    ((disk, size),) = [(m["Ebs"]["SnapshotId"], m["Ebs"]["Encrypted"]) for m in found["BlockDeviceMappings"]]
    assert (found["Architecture"], size) == ("arm64", encrypted)
    assert there.describe_snapshots(SnapshotIds=[disk])["Snapshots"][0]["Encrypted"] == encrypted
    assert refused(ec2.describe_snapshots, SnapshotIds=[disk]) == "InvalidSnapshot.NotFound"


def test_an_image_is_deprecated_at_the_time_that_was_said(ec2: Any, name: str) -> None:
    number = registered(ec2, name, snapshot(ec2))
    ec2.enable_image_deprecation(ImageId=number, DeprecateAt="2030-01-01T00:00:00Z")
    assert image(ec2, number)["DeprecationTime"] == "2030-01-01T00:00:00.000Z"


def test_quotas_are_those_that_the_test_names(cloud: Aws) -> None:
    quotas = cloud.client("service-quotas")
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]["Value"] == 32.0
    given = {"ServiceCode": "ec2", "QuotaCode": "L-NONE"}
    assert refused(quotas.get_service_quota, **given) == "NoSuchResourceException"


# ---- blocks ---------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def put(ebs: Any, number: str, index: int, data: bytes, said: str | None = None) -> None:
    ebs.put_snapshot_block(
        SnapshotId=number,
        BlockIndex=index,
        BlockData=io.BytesIO(data),
        DataLength=BLOCK,
        Checksum=said or checksum(data),
        ChecksumAlgorithm="SHA256",
    )


def blocks(ebs: Any, number: str) -> dict[int, bytes]:
    found = {}
    for block in ebs.list_snapshot_blocks(SnapshotId=number)["Blocks"]:
        given = {"BlockIndex": block["BlockIndex"], "BlockToken": block["BlockToken"]}
        found[block["BlockIndex"]] = ebs.get_snapshot_block(SnapshotId=number, **given)["BlockData"].read()
    return found


def begun(ebs: Any, **more: Any) -> str:
    number: str = ebs.start_snapshot(VolumeSize=1, **more)["SnapshotId"]
    return number


def test_a_snapshot_is_pending_until_it_is_complete_and_no_volume_is_made(ec2: Any, ebs: Any) -> None:
    volumes = ec2.describe_volumes()["Volumes"]
    number = begun(ebs)
    assert ec2.describe_snapshots(SnapshotIds=[number])["Snapshots"][0]["State"] == "pending"
    put(ebs, number, 3, b"a" * BLOCK)
    ebs.complete_snapshot(SnapshotId=number, ChangedBlocksCount=1)
    assert ec2.describe_snapshots(SnapshotIds=[number])["Snapshots"][0]["State"] == "completed"
    assert blocks(ebs, number) == {3: b"a" * BLOCK}
    assert ec2.describe_volumes()["Volumes"] == volumes


def test_a_snapshot_begins_with_its_parents_blocks(ebs: Any) -> None:
    parent = begun(ebs)
    put(ebs, parent, 0, b"a" * BLOCK)
    put(ebs, parent, 1, b"b" * BLOCK)
    ebs.complete_snapshot(SnapshotId=parent, ChangedBlocksCount=2)
    child = begun(ebs, ParentSnapshotId=parent)
    put(ebs, child, 1, b"c" * BLOCK)
    ebs.complete_snapshot(SnapshotId=child, ChangedBlocksCount=1)
    assert blocks(ebs, child) == {0: b"a" * BLOCK, 1: b"c" * BLOCK}
    assert blocks(ebs, parent) == {0: b"a" * BLOCK, 1: b"b" * BLOCK}


@pytest.mark.parametrize(
    ("data", "said"), [(b"a" * BLOCK, checksum(b"b" * BLOCK)), (b"short", checksum(b"short"))], ids=["other", "short"]
)
def test_a_block_that_is_not_what_its_checksum_says_is_refused(ebs: Any, data: bytes, said: str) -> None:
    number = begun(ebs)
    with pytest.raises(boto.ClientError, match="not what its checksum says"):
        put(ebs, number, 0, data, said)
    assert blocks(ebs, number) == {}


@pytest.mark.parametrize(
    ("count", "whole", "fine"),
    [
        (2, None, True),
        (1, None, False),
        (3, None, False),
        (2, [b"a", b"b"], True),
        (2, [b"b", b"a"], False),
    ],
)
def test_a_snapshot_is_complete_with_all_its_blocks_alone(
    ebs: Any, count: int, whole: list[bytes] | None, fine: bool
) -> None:
    number = begun(ebs)
    put(ebs, number, 7, b"b" * BLOCK)
    put(ebs, number, 2, b"a" * BLOCK)
    given: dict[str, Any] = {"SnapshotId": number, "ChangedBlocksCount": count}
    if whole is not None:
        digests = b"".join(hashlib.sha256(letter * BLOCK).digest() for letter in whole)
        given |= {"Checksum": checksum(digests), "ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}
    if fine:
        ebs.complete_snapshot(**given)
    else:
        assert refused(ebs.complete_snapshot, **given) == "ValidationException"


@pytest.mark.parametrize(
    "given", [{"ParentSnapshotId": "snap-none"}, {"ParentSnapshotId": "snap-none", "Encrypted": True}]
)
def test_a_snapshot_on_a_parent_that_cannot_be_is_refused(ebs: Any, given: dict[str, Any]) -> None:
    assert refused(ebs.start_snapshot, VolumeSize=1, **given) == "ValidationException"


def test_blocks_of_a_snapshot_that_was_not_written_by_block_are_not_there(ec2: Any, ebs: Any) -> None:
    assert refused(ebs.list_snapshot_blocks, SnapshotId=snapshot(ec2)) == "ResourceNotFoundException"


# ---- the proxy ------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(cloud: Aws) -> Iterator[Proxy]:
    """A proxy before the server."""
    with Proxy(cloud.url) as running:
        yield running


def through(cloud: Aws, proxy: Proxy) -> Any:
    """A client that asks once."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=proxy.url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


def keys(ec2: Any) -> set[str]:
    return {pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]}


def test_what_is_refused_is_not_done(cloud: Aws, ec2: Any, proxy: Proxy, name: str) -> None:
    proxy.faults.append(Fault(action="CreateKeyPair", code="RequestLimitExceeded"))
    client = through(cloud, proxy)
    assert refused(client.create_key_pair, KeyName=name) == "RequestLimitExceeded"
    assert name not in keys(ec2)
    client.create_key_pair(KeyName=name)
    assert name in keys(ec2)
    assert proxy.calls == ["CreateKeyPair", "CreateKeyPair"]
    assert proxy.asked["CreateKeyPair"]["KeyName"] == name


def test_what_is_lost_is_done(cloud: Aws, ec2: Any, proxy: Proxy, name: str) -> None:
    proxy.faults.append(Fault(action="CreateKeyPair", kind="lose"))
    with pytest.raises((boto.ConnectionClosedError, boto.EndpointConnectionError)):
        through(cloud, proxy).create_key_pair(KeyName=name)
    assert name in keys(ec2)


def test_an_answer_can_be_changed(cloud: Aws, proxy: Proxy, name: str) -> None:
    proxy.faults.append(
        Fault(action="CreateKeyPair", kind="change", change=lambda answer: answer.replace(name.encode(), b"X"))
    )
    assert through(cloud, proxy).create_key_pair(KeyName=name)["KeyName"] == "X"
