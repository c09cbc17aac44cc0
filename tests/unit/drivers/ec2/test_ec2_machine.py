"""What is asked of EC2 for a machine: its base, its place, who may reach it; and what comes of each answer."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from bakery.drivers.ec2 import check
from bakery.drivers.ec2.api.account import Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.api.create_once import by_key, make
from bakery.drivers.ec2.api.errors import Ec2Error, Ec2RetryableError, code_of
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.machine import base_images, endpoint, instance_profile, launch, network
from bakery.drivers.ec2.options import Filter, Newest, Parameter
from bakery.drivers.ec2.source import Ec2
from bakery.errors import BakeryError, DriverError, NotYet, PreflightError, RetryableError
from bakery.machine.transport.learned_key_file import proving
from bakery.model import Artifact, Handle
from bakery.state.claim import Claim
from tests.unit.drivers.ec2.conftest import Aws

SOURCE = Ec2(base="ami-1", ssh_from="10.0.0.0/8", subnet="subnet-1")
IMAGE = {"ImageId": "ami-1", "RootDeviceName": "/dev/xvda", "CreationDate": "2026-11-01T00:00:00.000Z"}
SUBNETS = [
    {"SubnetId": "subnet-1", "VpcId": "vpc-1", "AvailabilityZone": "eu-west-1a", "AvailableIpAddressCount": 5},
    {"SubnetId": "subnet-2", "VpcId": "vpc-1", "AvailabilityZone": "eu-west-1b", "AvailableIpAddressCount": 9},
    {"SubnetId": "subnet-3", "VpcId": "vpc-2", "AvailabilityZone": "eu-west-1c", "AvailableIpAddressCount": 1},
]
LOST = EndpointConnectionError(endpoint_url="https://ec2.test")


def job(account: Ec2Cloud, source: Ec2, claim: Claim) -> Ec2Job:
    return Ec2Job(clouds=Ec2Clouds(), cloud=account, source=source, claim=claim)


def ready(aws: Aws) -> None:
    """Answer all that a launch asks for."""
    aws.answer("describe_images", {"Images": [IMAGE]})
    aws.answer("describe_subnets", {"Subnets": SUBNETS[:1]})
    aws.answer("create_security_group", {"GroupId": "sg-1"})
    aws.answer("run_instances", {"Instances": [{"InstanceId": "i-1"}]})
    aws.answer("import_key_pair", {"KeyPairId": "key-1"})


# ---- calls and their errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ("RequestLimitExceeded: slow down", Ec2RetryableError, "RequestLimitExceeded"),
        ("InsufficientInstanceCapacity: full", Ec2RetryableError, "InsufficientInstanceCapacity"),
        ("InternalError: oops", Ec2RetryableError, "InternalError"),
        ("UnauthorizedOperation: no", Ec2Error, "UnauthorizedOperation"),
        ("InvalidAMIID.NotFound: no such image", Ec2Error, "InvalidAMIID.NotFound"),
        (LOST, Ec2RetryableError, "EndpointConnectionError"),
    ],
)
def test_a_refusal_says_what_was_wanted_and_whether_it_may_pass(
    account: Ec2Cloud, aws: Aws, answer: Any, kind: type[Ec2Error], code: str
) -> None:
    aws.answer("describe_images", answer)
    with pytest.raises(Ec2Error) as caught:
        account.call("describe_images", "find the image", ImageIds=["ami-1"])
    assert type(caught.value) is kind
    assert caught.value.what == "AWS did not find the image in eu-west-1"
    assert code_of(caught.value) == code
    assert caught.value.why.startswith(f"{code}: ")


def test_a_parameter_that_is_none_is_not_sent(account: Ec2Cloud, aws: Aws) -> None:
    account.call("describe_images", ImageIds=["ami-1"], Owners=None)
    assert aws.asked == [("describe_images", {"ImageIds": ["ami-1"]})]


def test_all_pages_are_read(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("describe_subnets", {"Subnets": SUBNETS[:1], "NextToken": "more"}, {"Subnets": SUBNETS[1:]})
    assert [one["SubnetId"] for one in account.pages("describe_subnets", "Subnets")] == [
        "subnet-1",
        "subnet-2",
        "subnet-3",
    ]
    assert aws.requests("describe_subnets")[1]["NextToken"] == "more"


# ---- made once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("existing", "id_", "calls"), [([], "sg-1", 2), ([{"GroupId": "sg-0"}], "sg-0", 1)], ids=["unheard", "heard"]
)
def test_after_a_lost_answer_our_key_is_looked_for_first(
    account: Ec2Cloud, aws: Aws, claim: Claim, existing: list[dict[str, str]], id_: str, calls: int
) -> None:
    aws.answer("create_security_group", LOST, {"GroupId": "sg-1"})
    aws.answer("describe_security_groups", {"SecurityGroups": existing})

    def ask() -> str:
        answer = account.call("create_security_group", once=True, GroupName="k", Description="d")
        return str(answer["GroupId"])

    assert make(account, "security-group", "the-key", claim, ask) == id_
    assert len(aws.requests("create_security_group")) == calls
    (look,) = aws.requests("describe_security_groups")
    assert look == {"Filters": [{"Name": "tag:bakery:key", "Values": ["the-key"]}]}


@pytest.mark.parametrize(
    ("kind", "operation", "answer"),
    [
        ("image", "describe_images", {"Images": [{"ImageId": "x"}]}),
        ("instance", "describe_instances", {"Reservations": [{"Instances": [{"InstanceId": "x"}]}]}),
        ("security-group", "describe_security_groups", {"SecurityGroups": [{"GroupId": "x"}]}),
        ("snapshot", "describe_snapshots", {"Snapshots": [{"SnapshotId": "x"}]}),
        ("volume", "describe_volumes", {"Volumes": [{"VolumeId": "x"}]}),
    ],
)
def test_each_kind_is_found_by_our_key(
    account: Ec2Cloud, aws: Aws, kind: str, operation: str, answer: dict[str, Any]
) -> None:
    aws.answer(operation, answer)
    assert by_key(account, kind, "the-key") == ["x"]
    (asked,) = aws.requests(operation)
    assert asked["Filters"] == [{"Name": "tag:bakery:key", "Values": ["the-key"]}]
    assert asked.get("Owners") == (["self"] if kind == "image" else None)


# ---- where a machine starts -----------------------------------------------------------------------------------------


def test_the_newest_image_that_fits_is_the_base(account: Ec2Cloud, aws: Aws) -> None:
    newer = {"ImageId": "ami-2", "CreationDate": "2026-11-09T00:00:00.000Z"}
    aws.answer("describe_images", {"Images": [IMAGE, newer]})
    wanted = Newest(owner="136693071363", name="debian-12-*", filters={"architecture": "arm64"})
    assert base_images.resolve(account, wanted)["ImageId"] == "ami-2"
    (asked,) = aws.requests("describe_images")
    assert asked["Owners"] == ["136693071363"]
    assert {one["Name"]: one["Values"] for one in asked["Filters"]} == {
        "name": ["debian-12-*"],
        "state": ["available"],
        "architecture": ["arm64"],
    }
    assert asked["IncludeDeprecated"] is False


def test_a_parameter_names_the_base(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("get_parameter", {"Parameter": {"Value": "ami-9"}})
    aws.answer("describe_images", {"Images": [{"ImageId": "ami-9"}]})
    assert base_images.resolve(account, Parameter("/aws/service/x"))["ImageId"] == "ami-9"
    assert aws.requests("get_parameter") == [{"Name": "/aws/service/x", "WithDecryption": True}]


def ours(**settings: Any) -> Artifact:
    return Artifact(driver="ec2", id="ami-1", name="web", format="ami", settings=settings)


def test_an_image_of_ours_starts_from_its_copy_in_this_region(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("describe_images", lambda asked: {"Images": [{"ImageId": asked["ImageIds"][0]}]})
    base = ours(region="us-east-1", image="ami-home", copies={"eu-west-1": "ami-copy"})
    assert base_images.resolve(account, base)["ImageId"] == "ami-copy"


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (Newest(owner="self"), "no image in eu-west-1 fits"),
        ("ami-none", "there is no image ami-none in eu-west-1"),
        ("debian", "Ec2 cannot start from 'debian'"),
        (7, "Ec2 cannot start from 7"),
        (ours(region="us-east-1", image="ami-1"), "the image to start from is not in eu-west-1"),
        (Artifact(driver="qemu", id="x", name="web", format="qcow2"), "web was made by qemu and is not on EC2"),
    ],
)
def test_a_base_that_is_not_there_is_refused(account: Ec2Cloud, aws: Aws, base: Any, said: str) -> None:
    aws.answer("describe_images", {"Images": []})
    with pytest.raises(BakeryError, match=said):
        base_images.resolve(account, base)


# ---- subnets and groups ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"subnet": "subnet-1"}, {"SubnetIds": ["subnet-1"]}),
        ({"subnet": ("subnet-2", "subnet-1")}, {"SubnetIds": ["subnet-2", "subnet-1"]}),
        ({"subnet": Filter(filters={"tag:use": "build"})}, {"Filters": [{"Name": "tag:use", "Values": ["build"]}]}),
        ({"subnet": None}, {"Filters": [{"Name": "default-for-az", "Values": ["true"]}]}),
        ({"subnet": None, "vpc": "vpc-1"}, {"Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}]}),
        (
            {"subnet": None, "vpc": Filter(filters={"tag:use": ("a", "b")})},
            {"Filters": [{"Name": "vpc-id", "Values": ["vpc-7"]}]},
        ),
    ],
)
def test_subnets_are_asked_for_as_the_user_names_them(
    account: Ec2Cloud, aws: Aws, options: dict[str, Any], asked: dict[str, Any]
) -> None:
    aws.answer("describe_vpcs", {"Vpcs": [{"VpcId": "vpc-7"}]})
    aws.answer("describe_subnets", {"Subnets": SUBNETS[:1]})
    network.places(account, replace(SOURCE, **options))
    assert aws.requests("describe_subnets") == [asked]


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({"subnet": None}, ["subnet-2", "subnet-1"]),
        ({"subnet": ("subnet-1", "subnet-2", "subnet-3")}, ["subnet-1", "subnet-2"]),
        ({"subnet": None, "zone": ("eu-west-1a", "eu-west-1b")}, ["subnet-1", "subnet-2"]),
        ({"subnet": None, "zone": "eu-west-1c"}, ["subnet-3"]),
    ],
)
def test_subnets_of_one_vpc_are_tried_in_order(
    account: Ec2Cloud, aws: Aws, options: dict[str, Any], order: list[str]
) -> None:
    aws.answer("describe_subnets", {"Subnets": SUBNETS})
    assert [place.subnet for place in network.places(account, replace(SOURCE, **options))] == order


@pytest.mark.parametrize("options", [{"zone": "eu-west-1z"}, {"vpc": "vpc-9", "subnet": None, "zone": "x"}])
def test_no_subnet_is_refused_with_what_was_asked_for(account: Ec2Cloud, aws: Aws, options: dict[str, Any]) -> None:
    aws.answer("describe_subnets", {"Subnets": SUBNETS})
    with pytest.raises(PreflightError, match="no subnet in eu-west-1 fits") as caught:
        network.places(account, replace(SOURCE, **options))
    assert repr(options["zone"]) in caught.value.why


def test_groups_are_found_by_a_filter_in_the_vpc(account: Ec2Cloud, aws: Aws) -> None:
    source = replace(SOURCE, security_groups=Filter(filters={"tag:use": "build"}))
    aws.answer("describe_security_groups", {"SecurityGroups": [{"GroupId": "sg-2"}, {"GroupId": "sg-1"}]})
    assert network.named_groups(account, source, "vpc-1") == ("sg-1", "sg-2")
    aws.answer("describe_security_groups", {"SecurityGroups": []})
    with pytest.raises(PreflightError, match="no security group in vpc-1 fits"):
        network.named_groups(account, source, "vpc-1")
    assert network.named_groups(account, replace(SOURCE, security_groups=("sg-9",)), "vpc-1") == ("sg-9",)


def test_our_group_lets_in_ssh_from_and_nobody_else(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    aws.answer("create_security_group", {"GroupId": "sg-1"})
    source = replace(SOURCE, ssh_from=("10.0.0.0/8", "2001:db8::/32"), run_tags={"team": "web"})
    assert network.group(account, source, "vpc-1", claim).id == "sg-1"
    (made,) = aws.requests("create_security_group")
    marks = {tag["Key"]: tag["Value"] for tag in made["TagSpecifications"][0]["Tags"]}
    assert (made["VpcId"], marks["bakery:key"], marks["team"]) == ("vpc-1", made["GroupName"], "web")
    (opened,) = aws.requests("authorize_security_group_ingress")
    (permission,) = opened["IpPermissions"]
    assert (permission["IpProtocol"], permission["FromPort"], permission["ToPort"]) == ("tcp", 22, 22)
    assert [one["CidrIp"] for one in permission["IpRanges"]] == ["10.0.0.0/8"]
    assert [one["CidrIpv6"] for one in permission["Ipv6Ranges"]] == ["2001:db8::/32"]


def test_with_session_manager_no_port_is_open(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    aws.answer("create_security_group", {"GroupId": "sg-1"})
    network.group(account, replace(SOURCE, connect="ssm"), "vpc-1", claim)
    assert aws.requests("authorize_security_group_ingress") == []


@pytest.mark.parametrize(("code", "passes"), [("InvalidPermission.Duplicate", True), ("InvalidGroup.NotFound", False)])
def test_a_rule_that_is_there_already_is_as_good(
    account: Ec2Cloud, aws: Aws, claim: Claim, code: str, passes: bool
) -> None:
    aws.answer("create_security_group", {"GroupId": "sg-1"})
    aws.answer("authorize_security_group_ingress", f"{code}: x")
    if passes:
        network.group(account, SOURCE, "vpc-1", claim)
    else:
        with pytest.raises(Ec2Error, match="did not open port 22"):
            network.group(account, SOURCE, "vpc-1", claim)


@pytest.mark.parametrize("given", ["10.0.0.1/8", "home"])
def test_what_is_no_network_is_refused(account: Ec2Cloud, given: str) -> None:
    with pytest.raises(PreflightError, match="ssh_from"):
        network.allowed(account, replace(SOURCE, ssh_from=given))


# ---- launching ------------------------------------------------------------------------------------------------------


def test_a_launch_asks_for_one_machine_with_our_group_and_token(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    ready(aws)
    handle = launch.launch(job(account, SOURCE, claim))
    (asked,) = aws.requests("run_instances")
    assert (asked["ImageId"], asked["MinCount"], asked["MaxCount"]) == ("ami-1", 1, 1)
    assert asked["NetworkInterfaces"][0]["Groups"] == ["sg-1"]
    assert asked["ClientToken"].endswith("-0")
    assert (handle.id, handle.data["role"]) == ("i-1", "image")


@pytest.mark.parametrize(
    ("options", "operation", "count"),
    [
        ({"key_pair": True}, "import_key_pair", 1),
        ({"key_pair": False}, "import_key_pair", 0),
        ({"security_groups": ("sg-9",)}, "create_security_group", 0),
        ({"instance_policy": {"Version": "2012-10-17"}}, "create_role", 1),
    ],
)
def test_a_launch_makes_what_the_options_ask_for(
    account: Ec2Cloud, aws: Aws, claim: Claim, options: dict[str, Any], operation: str, count: int
) -> None:
    ready(aws)
    aws.answer("get_instance_profile", {"InstanceProfile": {"Roles": [{"RoleName": "r"}]}})
    launch.launch(job(account, replace(SOURCE, **options), claim))
    assert len(aws.requests(operation)) == count


def test_each_place_of_each_type_is_tried_while_there_is_no_room(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    ready(aws)
    aws.answer("describe_subnets", {"Subnets": SUBNETS[:2]})
    full = "InsufficientInstanceCapacity: none left"
    aws.answer("run_instances", full, full, full, {"Instances": [{"InstanceId": "i-4"}]})
    source = replace(SOURCE, instance_type=("t3.small", "t3a.small"), subnet=("subnet-1", "subnet-2"))
    assert launch.launch(job(account, source, claim)).id == "i-4"
    asked = aws.requests("run_instances")
    assert [(one["InstanceType"], one["NetworkInterfaces"][0]["SubnetId"]) for one in asked] == [
        ("t3.small", "subnet-1"),
        ("t3.small", "subnet-2"),
        ("t3a.small", "subnet-1"),
        ("t3a.small", "subnet-2"),
    ]
    assert len({one["ClientToken"] for one in asked}) == 4, "AWS would answer the same refusal to the same token"


def test_no_room_at_all_says_what_each_said(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    ready(aws)
    aws.answer("run_instances", "InsufficientInstanceCapacity: none left")
    with pytest.raises(Ec2RetryableError, match="AWS has no room for the machine") as caught:
        launch.launch(job(account, SOURCE, claim))
    assert caught.value.why == "t3.small in eu-west-1a: InsufficientInstanceCapacity: none left"
    assert code_of(caught.value) == "InsufficientInstanceCapacity"


@pytest.mark.parametrize(
    "first",
    [
        LOST,
        "RequestLimitExceeded: slow down",
        "InvalidParameterValue: Value (x) is invalid. Invalid IAM Instance Profile name",
        "InvalidGroup.NotFound: The security group 'sg-1' does not exist",
    ],
)
def test_what_is_not_known_everywhere_yet_is_asked_for_again_with_the_same_token(
    account: Ec2Cloud, aws: Aws, claim: Claim, first: Any
) -> None:
    ready(aws)
    aws.answer("run_instances", first, {"Instances": [{"InstanceId": "i-1"}]})
    assert launch.launch(job(account, SOURCE, claim)).id == "i-1"
    one, two = aws.requests("run_instances")
    assert one["ClientToken"] == two["ClientToken"]


def test_another_refusal_ends_the_launch(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    ready(aws)
    aws.answer("run_instances", "UnauthorizedOperation: no")
    with pytest.raises(Ec2Error, match="did not start an instance"):
        launch.launch(job(account, replace(SOURCE, instance_type=("a", "b")), claim))
    assert len(aws.requests("run_instances")) == 1


# ---- a temporary role -----------------------------------------------------------------------------------------------


def test_a_policy_becomes_a_role_in_a_profile(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    seen = {"InstanceProfile": {"Roles": [{"RoleName": "r"}]}}
    aws.answer("get_instance_profile", {"InstanceProfile": {"Roles": []}}, seen)
    key = instance_profile.make(account, replace(SOURCE, instance_policy={"Statement": []}), claim)
    made = [name for name, _ in aws.asked]
    assert made == [
        "create_role",
        "put_role_policy",
        "create_instance_profile",
        "add_role_to_instance_profile",
        "get_instance_profile",
        "get_instance_profile",
    ]
    assert "ec2.amazonaws.com" in aws.requests("create_role")[0]["AssumeRolePolicyDocument"]
    assert aws.requests("put_role_policy")[0]["PolicyDocument"] == '{"Statement": []}'
    assert {asked.get("RoleName", key) for _, asked in aws.asked} == {key}


def test_a_role_and_a_profile_go_and_may_be_gone(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("get_instance_profile", {"InstanceProfile": {"Roles": [{"RoleName": "k"}]}}, "NoSuchEntity: gone")
    aws.answer("list_role_policies", {"PolicyNames": ["p"]}, "NoSuchEntity: gone")
    for _ in range(2):
        instance_profile.delete_profile(account, "k")
        instance_profile.delete_role(account, "k")
    made = [name for name, _ in aws.asked if not name.startswith(("get", "list"))]
    assert made == ["remove_role_from_instance_profile", "delete_instance_profile", "delete_role_policy", "delete_role"]
    aws.answer("list_role_policies", "AccessDenied: no")
    with pytest.raises(Ec2Error):
        instance_profile.delete_role(account, "k")


# ---- endpoints ------------------------------------------------------------------------------------------------------


def handle(account: Ec2Cloud, source: Ec2) -> Handle:
    return Handle(
        driver="ec2",
        id="i-1",
        resource=None,  # type: ignore[arg-type]  # not looked at
        folder=Path(),
        settings={"source": source.settings(), **account.record},
        data={**account.record, "host_public": "ssh-ed25519 given", "build": "web"},
    )


def state(name: str, **more: Any) -> dict[str, Any]:
    return {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": name}, **more}]}]}


@pytest.mark.parametrize(
    ("connect", "host"), [("public", "192.0.2.1"), ("private", "10.0.0.1"), ("ipv6", "2001:db8::1")]
)
def test_a_machine_is_reached_over_the_address_that_was_asked_for(
    account: Ec2Cloud, aws: Aws, connect: Any, host: str
) -> None:
    addresses = {"PublicIpAddress": "192.0.2.1", "PrivateIpAddress": "10.0.0.1", "Ipv6Address": "2001:db8::1"}
    aws.answer("describe_instances", state("running", **addresses))
    shown = endpoint.endpoint(account, handle(account, replace(SOURCE, connect=connect)), None)
    assert (shown.host, shown.port, shown.host_key) == (host, 22, "ssh-ed25519 given")


def test_a_machine_that_is_only_tested_proves_that_its_key_is_its_own(
    account: Ec2Cloud, aws: Aws, tmp_path: Path
) -> None:
    aws.answer("describe_instances", state("running", PublicIpAddress="192.0.2.1"))
    one = handle(account, SOURCE)
    tested = replace(one, folder=tmp_path, data={**one.data, "host_public": ""})
    shown = endpoint.endpoint(account, tested, None)
    assert (shown.host_key, shown.data) == ("", proving(tmp_path / "host-key"))
    (tmp_path / "host-key").write_text("ssh-ed25519 BBBB\n", encoding="ascii")
    assert endpoint.endpoint(account, tested, None).host_key == "ssh-ed25519 BBBB"


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ({"Reservations": []}, NotYet, "not visible yet"),
        (state("pending"), NotYet, "the instance is pending"),
        (state("running"), NotYet, "has no public address yet"),
        ("RequestLimitExceeded: slow", NotYet, r"AWS asks for patience \(RequestLimitExceeded\)"),
        (state("terminated"), DriverError, "the instance i-1 is terminated"),
        (state("shutting-down"), DriverError, "the instance i-1 is shutting-down"),
        ("UnauthorizedOperation: no", Ec2Error, "did not describe instances"),
    ],
)
def test_a_machine_that_cannot_be_reached(
    account: Ec2Cloud, aws: Aws, answer: Any, kind: type[BakeryError], said: str
) -> None:
    aws.answer("describe_instances", answer)
    with pytest.raises(kind, match=said):
        endpoint.endpoint(account, handle(account, SOURCE), None)


def test_a_dead_machine_says_why_and_the_end_of_its_console(account: Ec2Cloud, aws: Aws) -> None:
    reason = {"StateReason": {"Message": "Client.VolumeLimitExceeded"}}
    aws.answer("describe_instances", state("terminated", **reason))
    aws.answer("get_console_output", {"Output": base64.b64encode(b"kernel panic\n").decode()})
    with pytest.raises(DriverError) as caught:
        endpoint.machine(account, handle(account, SOURCE))
    assert caught.value.why == "Client.VolumeLimitExceeded\nkernel panic"


def test_a_type_that_keeps_no_latest_console_gives_its_first(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("get_console_output", "UnsupportedOperation: not Nitro", {"Output": "plain text!"})
    assert endpoint.console(account, "i-1") == "plain text!"
    assert [asked.get("Latest") for asked in aws.requests("get_console_output")] == [True, None]


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "C" * 43


def test_a_host_key_is_read_from_the_console(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("describe_instances", state("running", PublicIpAddress="192.0.2.1"))
    text = f"-----BEGIN SSH HOST KEY KEYS-----\n{KEY} root@web\n-----END SSH HOST KEY KEYS-----\n"
    throttled = "RequestLimitExceeded: slow"
    aws.answer("get_console_output", {"Output": ""}, throttled, throttled, {"Output": text})
    one = handle(account, replace(SOURCE, host_key="console"))
    for _ in range(2):
        with pytest.raises(NotYet):
            endpoint.endpoint(account, one, None)
    assert endpoint.endpoint(account, one, None).host_key == KEY


# ---- pre-flight -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "existing", "said"),
    [
        ({"naming": "dated"}, ["ami-0"], []),
        ({"naming": "exact"}, [], []),
        ({"naming": "exact"}, ["ami-0"], ["there is an image web in eu-west-1 already: ami-0"]),
        ({"naming": "exact", "replace": True}, ["ami-0"], []),
    ],
)
def test_a_taken_name_is_said_where_it_matters(
    account: Ec2Cloud, aws: Aws, options: dict[str, Any], existing: list[str], said: list[str]
) -> None:
    aws.answer("describe_images", {"Images": [{"ImageId": one, "Name": "web"} for one in existing]})
    source = replace(SOURCE, region="eu-west-1", **options)
    assert [problem.what for problem in check.name_conflicts(Ec2Clouds(), source, "web")] == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("DryRunOperation: would have", []),
        ("UnauthorizedOperation: no", ["register image", "run instances", "create security group"]),
    ],
)
def test_permissions_are_asked_for_without_doing_anything(
    account: Ec2Cloud, aws: Aws, answer: str, said: list[str]
) -> None:
    ready(aws)
    for operation in ("register_image", "run_instances", "create_security_group"):
        aws.answer(operation, answer)
    problems = list(check._permissions(account, SOURCE))
    assert [problem.what for problem in problems] == [f"AWS did not let us {what} in eu-west-1" for what in said]
    for operation in ("register_image", "run_instances", "create_security_group"):
        assert all(asked["DryRun"] is True for asked in aws.requests(operation))


@pytest.mark.parametrize(
    ("image", "said", "fatal"),
    [
        ({"Architecture": "arm64"}, "t3.small cannot run the base image ami-1", True),
        ({"Architecture": "x86_64", "DeprecationTime": "2026-01-01"}, "the base image ami-1 is deprecated", False),
        (
            {"Architecture": "x86_64", "RootDeviceType": "instance-store"},
            "the base image ami-1 has its root on an instance store",
            True,
        ),
    ],
)
def test_the_type_must_run_the_base(account: Ec2Cloud, aws: Aws, image: dict[str, str], said: str, fatal: bool) -> None:
    aws.answer("describe_images", {"Images": [{**IMAGE, **image}]})
    kind = {"InstanceType": "t3.small", "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]}}
    aws.answer("describe_instance_types", {"InstanceTypes": [kind]})
    (problem,) = check._start(account, SOURCE)
    assert problem.what.startswith(said)
    assert problem.fatal is fatal


def test_a_retryable_refusal_of_the_lookup_is_not_swallowed(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("describe_images", "RequestLimitExceeded: slow")
    with pytest.raises(RetryableError):
        base_images.resolve(account, "ami-1")
