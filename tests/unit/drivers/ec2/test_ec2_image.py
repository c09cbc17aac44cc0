"""What is asked of AWS for an image: captured, waited for, copied, shared, kept, retired, destroyed, found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bakery.drivers.ec2 import destroy, find
from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud, Ec2Clouds
from bakery.drivers.ec2.api.errors import Ec2Error, Ec2RetryableError
from bakery.drivers.ec2.api.job import Ec2Job
from bakery.drivers.ec2.image import capture, checkpoints, copies, images, retire, share
from bakery.drivers.ec2.options import Keep, Volume
from bakery.drivers.ec2.source import Ec2
from bakery.errors import BakeryError, DriverError
from bakery.model import Handle, Resource, Where
from bakery.state.claim import Claim
from tests.unit.drivers.ec2.conftest import Aws

SOURCE = Ec2(base="ami-1", region="eu-west-1", image_timeout=5)
DISK = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": "vol-1"}}
MACHINE = {
    "InstanceId": "i-1",
    "State": {"Name": "stopped"},
    "Architecture": "x86_64",
    "RootDeviceName": "/dev/xvda",
    "BlockDeviceMappings": [DISK, {"DeviceName": "/dev/sdf", "Ebs": {"VolumeId": "vol-2"}}],
}


def image(state: str = "available", id_: str = "ami-9", **more: Any) -> dict[str, Any]:
    disks = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-1"}}]
    return {"ImageId": id_, "Name": id_, "State": state, "BlockDeviceMappings": disks, **more}


def handle(account: Ec2Cloud, source: Ec2) -> Handle:
    return Handle(
        driver="ec2",
        id="i-1",
        resource=None,  # type: ignore[arg-type]  # not looked at
        folder=Path(),
        settings={"source": source.settings(), **account.record},
        data={**account.record, "build": "web"},
    )


def marks_of(request: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The tags that a request asks for, by what they are for."""
    specified = request["TagSpecifications"]
    return {one["ResourceType"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]} for one in specified}


def stopped(aws: Aws) -> None:
    """Answer all that a capture asks for."""
    aws.answer("describe_instances", {"Reservations": [{"Instances": [MACHINE]}]})
    aws.answer("create_snapshot", {"SnapshotId": "snap-1"}, {"SnapshotId": "snap-2"})
    done = [{"SnapshotId": one, "State": "completed", "Progress": "100%"} for one in ("snap-1", "snap-2")]
    aws.answer("describe_snapshots", {"Snapshots": done})
    aws.answer("register_image", {"ImageId": "ami-9"})
    aws.answer("create_image", {"ImageId": "ami-9"})
    aws.answer("describe_images", {"Images": [image()]})


# ---- captures -------------------------------------------------------------------------------------------------------


def test_a_capture_is_registered_from_a_snapshot_of_each_disk(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    stopped(aws)
    made = capture.capture(account, handle(account, SOURCE), "web", claim)
    assert [one["VolumeId"] for one in aws.requests("create_snapshot")] == ["vol-1", "vol-2"]
    (asked,) = aws.requests("register_image")
    disks = {one["DeviceName"]: one["Ebs"] for one in asked["BlockDeviceMappings"]}
    assert {name: disk["SnapshotId"] for name, disk in disks.items()} == {"/dev/xvda": "snap-1", "/dev/sdf": "snap-2"}
    assert all(disk["VolumeType"] == "gp3" and disk["DeleteOnTermination"] for disk in disks.values())
    assert marks_of(asked)["image"]["bakery:key"] == asked["Name"]
    assert (made.id, made.format, made.data["snapshots"]) == ("ami-9", "ami", ["snap-1"])


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({}, "EnaSupport", True),
        ({"ena": False}, "EnaSupport", False),
        ({}, "BootMode", None),
        ({"boot_mode": "uefi"}, "BootMode", "uefi"),
        ({"imds_support": "v2.0"}, "ImdsSupport", "v2.0"),
        ({"tpm": "v2.0"}, "TpmSupport", "v2.0"),
        ({"description": "of mine"}, "Description", "of mine"),
        ({"image_options": {"BillingProducts": ["bp-1"]}}, "BillingProducts", ["bp-1"]),
        ({"image_options": {"EnaSupport": False}}, "EnaSupport", False),
    ],
)
def test_an_option_is_in_the_registration(
    account: Ec2Cloud, aws: Aws, claim: Claim, options: dict[str, Any], field: str, value: Any
) -> None:
    stopped(aws)
    capture.capture(account, handle(account, replace(SOURCE, **options)), "web", claim)
    assert aws.requests("register_image")[0].get(field) == value


@pytest.mark.parametrize(
    ("volumes", "disks"),
    [
        ((), {"/dev/xvda": "snap-1"}),
        ((Volume(device="/dev/sdb", ephemeral="ephemeral0"),), {"/dev/xvda": "snap-1", "/dev/sdb": "ephemeral0"}),
        ((Volume(device="/dev/sdb", size=5, volume_type="io2"),), {"/dev/xvda": "snap-1", "/dev/sdb": 5}),
        ((Volume(device="/dev/xvda", absent=True),), {"/dev/xvda": "none"}),
        ((Volume(size=50, encrypted=True),), {"/dev/xvda": "snap-1"}),
    ],
)
def test_the_image_s_disks_are_laid_over_those_that_were_captured(
    volumes: tuple[Volume, ...], disks: dict[str, Any]
) -> None:
    asked = capture.disk_mappings(replace(SOURCE, image_volumes=volumes), {"/dev/xvda": "snap-1"})

    def what(mapping: dict[str, Any]) -> Any:
        if "NoDevice" in mapping:
            return "none"
        return mapping.get("VirtualName") or mapping["Ebs"].get("SnapshotId") or mapping["Ebs"]["VolumeSize"]

    assert {one["DeviceName"]: what(one) for one in asked} == disks
    for one in asked:
        assert not (one.get("Ebs", {}).get("SnapshotId") and "Encrypted" in one["Ebs"]), "AWS refuses both"


@pytest.mark.parametrize(
    ("options", "machine"),
    [({"capture_with": "image"}, {}), ({}, {"PlatformDetails": "Windows"}), ({}, {"PlatformDetails": "Red Hat"})],
)
def test_what_aws_bills_for_is_captured_by_aws_alone(
    account: Ec2Cloud, aws: Aws, claim: Claim, options: dict[str, Any], machine: dict[str, str]
) -> None:
    stopped(aws)
    aws.answer("describe_instances", {"Reservations": [{"Instances": [{**MACHINE, **machine}]}]})
    capture.capture(account, handle(account, replace(SOURCE, **options)), "web", claim)
    (asked,) = aws.requests("create_image")
    assert asked["NoReboot"] is True
    assert set(marks_of(asked)) == {"image", "snapshot"}
    assert not aws.requests("create_snapshot")


@pytest.mark.parametrize("state", ["terminated", "shutting-down"])
def test_a_machine_that_ended_cannot_be_imaged(account: Ec2Cloud, aws: Aws, claim: Claim, state: str) -> None:
    stopped(aws)
    aws.answer("describe_instances", {"Reservations": [{"Instances": [{**MACHINE, "State": {"Name": state}}]}]})
    with pytest.raises(DriverError, match=f"the instance i-1 is {state} and cannot be imaged"):
        capture.capture(account, handle(account, SOURCE), "web", claim)


@pytest.mark.parametrize(("code", "passes"), [("IncorrectInstanceState", True), ("UnauthorizedOperation", False)])
def test_a_machine_on_its_way_down_is_as_good_as_stopped(
    account: Ec2Cloud, aws: Aws, claim: Claim, code: str, passes: bool
) -> None:
    stopped(aws)
    aws.answer("stop_instances", f"{code}: x")
    if passes:
        capture.capture(account, handle(account, SOURCE), "web", claim)
    else:
        with pytest.raises(Ec2Error, match="did not stop the machine"):
            capture.capture(account, handle(account, SOURCE), "web", claim)


def test_a_volume_that_is_to_stay_outlives_the_machine(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    stopped(aws)
    source = replace(SOURCE, volumes=(Volume(device="/dev/sdf", keep=True),))
    made = capture.capture(account, handle(account, source), "web", claim)
    (asked,) = aws.requests("modify_instance_attribute")
    assert asked["BlockDeviceMappings"] == [{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": False}}]
    assert made.data["volumes"] == ["vol-2"]


# ---- waiting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["failed", "invalid", "error", "deregistered"])
def test_an_image_that_fails_ends_the_wait(account: Ec2Cloud, aws: Aws, claim: Claim, state: str) -> None:
    aws.answer("describe_images", {"Images": [image("pending")]}, {"Images": [image(state)]})
    with pytest.raises(DriverError, match=f"the image ami-9 is {state}") as caught:
        images.wait_image(account, "ami-9", claim, 5)
    assert caught.value.why == "AWS gives no reason"


def test_an_image_is_waited_for_while_aws_has_no_time(account: Ec2Cloud, aws: Aws, claim: Claim) -> None:
    throttled = "RequestLimitExceeded: slow down"
    aws.answer("describe_images", {"Images": []}, throttled, {"Images": [image("pending")]}, {"Images": [image()]})
    assert images.wait_image(account, "ami-9", claim, 5)["State"] == "available"


@pytest.mark.parametrize(
    ("state", "more", "said"),
    [
        ("error", {"StateMessage": "key is disabled"}, "key is disabled"),
        ("recoverable", {}, ""),
        ("recovering", {}, ""),
    ],
)
def test_a_snapshot_that_fails_ends_the_wait(
    account: Ec2Cloud, aws: Aws, claim: Claim, state: str, more: dict[str, str], said: str
) -> None:
    aws.answer("describe_snapshots", {"Snapshots": [{"SnapshotId": "snap-1", "State": state, **more}]})
    with pytest.raises(DriverError, match=f"the snapshot snap-1 is in state {state}") as caught:
        images.wait_snapshot(account, "snap-1", claim, 5)
    assert caught.value.why == said


@pytest.mark.parametrize("answer", ["RequestLimitExceeded: slow", {"Snapshots": []}])
def test_what_makes_no_progress_ends_the_wait(account: Ec2Cloud, aws: Aws, claim: Claim, answer: Any) -> None:
    aws.answer("describe_snapshots", answer)
    with pytest.raises(DriverError, match="the snapshot snap-1 makes no progress"):
        images.wait_snapshot(account, "snap-1", claim, -1)


# ---- shared and copied ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "operation", "asked"),
    [
        ({"protect": True}, "enable_image_deregistration_protection", {"WithCooldown": False}),
        ({"protect": "cooldown"}, "enable_image_deregistration_protection", {"WithCooldown": True}),
        ({"product_codes": ("abc",)}, "modify_image_attribute", {"ProductCodes": ["abc"]}),
        (
            {"share_with": ("111122223333", "all")},
            "modify_image_attribute",
            {"LaunchPermission": {"Add": [{"UserId": "111122223333"}, {"Group": "all"}]}},
        ),
        (
            {"share_with": ("111122223333", "all"), "share_snapshots": True},
            "modify_snapshot_attribute",
            {"SnapshotId": "snap-1", "UserIds": ["111122223333"], "OperationType": "add"},
        ),
    ],
)
def test_the_last_things_done_to_an_image(
    account: Ec2Cloud, aws: Aws, options: dict[str, Any], operation: str, asked: dict[str, Any]
) -> None:
    share.finish(account, replace(SOURCE, **options), "ami-9", ["snap-1"])
    (request,) = aws.requests(operation)
    assert {name: request[name] for name in asked} == asked


def test_an_image_that_is_not_shared_is_left_alone(account: Ec2Cloud, aws: Aws) -> None:
    share.finish(account, SOURCE, "ami-9", ["snap-1"])
    share.retag(account, [], {})
    assert aws.asked == []


def test_a_date_of_deprecation_is_days_from_now(account: Ec2Cloud, aws: Aws) -> None:
    share.finish(account, replace(SOURCE, deprecate_after=2), "ami-9", [])
    date = aws.requests("enable_image_deprecation")[0]["DeprecateAt"]
    assert abs(date - datetime.now(UTC) - timedelta(days=2)) < timedelta(minutes=5)


def test_what_is_kept_loses_its_temporary_tags(account: Ec2Cloud, aws: Aws) -> None:
    marks = share.kept_tags(replace(SOURCE, tags={"team": "web"}), "web", {tags.BUILD: "web@aws"})
    share.retag(account, ["ami-9", "snap-1"], marks)
    (made,), (gone,) = aws.requests("create_tags"), aws.requests("delete_tags")
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]} == {
        "Name": "web",
        "team": "web",
        "bakery:build": "web@aws",
        "bakery:image": "web",
    }
    assert [tag["Key"] for tag in gone["Tags"]] == list(tags.TEMPORARY)
    assert made["Resources"] == gone["Resources"] == ["ami-9", "snap-1"]


@pytest.mark.parametrize(
    ("options", "key", "asked"),
    [
        ({}, "", {}),
        ({}, "alias/k", {"Encrypted": True, "KmsKeyId": "alias/k"}),
        ({"encrypt": True}, "", {"Encrypted": True}),
        ({"copy_minutes": 30}, "", {"SnapshotCopyCompletionDurationMinutes": 30}),
    ],
)
def test_a_copy_is_asked_for_where_it_is_to_be(
    account: Ec2Cloud, aws: Aws, claim: Claim, options: dict[str, Any], key: str, asked: dict[str, Any]
) -> None:
    aws.answer("copy_image", {"ImageId": "ami-9"})
    aws.answer("describe_images", {"Images": [image()]})
    job = Ec2Job(clouds=Ec2Clouds(), cloud=account, source=replace(SOURCE, **options), claim=claim)
    copied = copies.copy(job, image(id_="ami-1", Name="web"), "us-east-1", {"Name": "web"}, key=key)
    (request,) = aws.requests("copy_image")
    assert copied == "ami-9"
    assert (request["Name"], request["SourceImageId"], request["SourceRegion"]) == ("web", "ami-1", "us-east-1")
    assert {
        name: request[name]
        for name in ("Encrypted", "KmsKeyId", "SnapshotCopyCompletionDurationMinutes")
        if name in request
    } == asked
    assert marks_of(request)["image"]["bakery:key"] == request["ClientToken"]


# ---- the older images -----------------------------------------------------------------------------------------------


def dated(name: str, days: float) -> dict[str, Any]:
    created = f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%S.000Z}"
    return image(id_=name, CreationDate=created)


@pytest.mark.parametrize(
    ("keep", "gone"),
    [
        (Keep(), []),
        (Keep(newest=0), ["ami-1", "ami-2", "ami-3"]),
        (Keep(newest=1), ["ami-2", "ami-3"]),
        (Keep(newest=0, days=1.5), ["ami-2", "ami-3"]),
        (Keep(newest=0, dry_run=True), []),
    ],
)
def test_older_images_go_as_was_said(account: Ec2Cloud, aws: Aws, claim: Claim, keep: Keep, gone: list[str]) -> None:
    known = [dated("ami-2", 2), dated("ami-3", 3), dated("ami-1", 1), dated("ami-new", 0)]

    def described(asked: dict[str, Any]) -> dict[str, Any]:
        ids = asked.get("ImageIds")
        return {"Images": [one for one in known if ids is None or one["ImageId"] in ids]}

    aws.answer("describe_images", described)
    aws.answer("describe_fast_launch_images", {"FastLaunchImages": []})
    job = Ec2Job(clouds=Ec2Clouds(), cloud=account, source=replace(SOURCE, keep=keep), claim=claim)
    retire.older(job, "web", {"eu-west-1": "ami-new"})
    assert [one["ImageId"] for one in aws.requests("deregister_image")] == gone


@pytest.mark.parametrize(
    ("operation", "answer", "said"),
    [
        ("describe_instances", {"Reservations": [{"Instances": [{"InstanceId": "i-7"}]}]}, "instance i-7"),
        (
            "describe_auto_scaling_groups",
            {"AutoScalingGroups": [{"AutoScalingGroupName": "web", "LaunchConfigurationName": "lc"}]},
            "auto scaling group web",
        ),
        (
            "describe_launch_template_versions",
            {"LaunchTemplateVersions": [{"LaunchTemplateData": {"ImageId": "ami-1"}}]},
            "launch template t",
        ),
    ],
)
def test_what_uses_an_image(account: Ec2Cloud, aws: Aws, operation: str, answer: dict[str, Any], said: str) -> None:
    templates = [{"LaunchTemplateId": "lt-1", "LaunchTemplateName": "t"}]
    configurations = [{"LaunchConfigurationName": "lc", "ImageId": "ami-1"}]
    aws.answer("describe_launch_templates", {"LaunchTemplates": templates})
    aws.answer("describe_launch_template_versions", {"LaunchTemplateVersions": []})
    aws.answer("describe_launch_configurations", {"LaunchConfigurations": configurations})
    assert retire.users(account, "ami-1") == []
    aws.answer(operation, answer)
    assert retire.users(account, "ami-1") == [said]


def test_a_snapshot_that_another_image_stands_on_stays(account: Ec2Cloud, aws: Aws) -> None:
    both = {"Images": [image(id_="ami-1"), image(id_="ami-2")]}
    aws.answer("describe_images", {"Images": [image(id_="ami-1")]}, both)
    retire.remove(account, "ami-1")
    assert [one["ImageId"] for one in aws.requests("deregister_image")] == ["ami-1"]
    assert aws.requests("delete_snapshot") == []


@pytest.mark.parametrize(
    ("options", "used", "said"),
    [
        ({}, False, "there is an image web already: ami-1"),
        ({"replace": True}, True, "the old image ami-1 is in use"),
        ({"replace": True}, False, ""),
    ],
)
def test_a_name_is_made_free_only_where_that_was_asked_for(
    account: Ec2Cloud, aws: Aws, options: dict[str, Any], used: bool, said: str
) -> None:
    aws.answer("describe_images", {"Images": [image(id_="ami-1", Name="web")]})
    machines = [{"Instances": [{"InstanceId": "i-7"}]}] if used else []
    aws.answer("describe_instances", {"Reservations": machines})
    if said:
        with pytest.raises(DriverError, match=said):
            retire.make_room(account, replace(SOURCE, **options), "web")
    else:
        retire.make_room(account, replace(SOURCE, **options), "web")
    assert len(aws.requests("deregister_image")) == (0 if said else 1)


# ---- checkpoints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "existing", "id_"),
    [({"ImageId": "ami-5"}, [], "ami-5"), ("InvalidAMIName.Duplicate: x", ["ami-4"], "ami-4")],
)
def test_a_checkpoint_is_made_once_under_the_name_of_its_key(
    account: Ec2Cloud, aws: Aws, claim: Claim, answer: Any, existing: list[str], id_: str
) -> None:
    aws.answer("create_image", answer)
    known = [image(id_=one, Name="bakery-step-k", CreationDate="2026-11-01T00:00:00.000Z") for one in (*existing, id_)]
    aws.answer("describe_images", {"Images": known})
    saved = checkpoints.save(account, handle(account, SOURCE), "k", replace(claim, note="inputs"))
    assert saved.settings["image"] == id_
    (asked,) = aws.requests("create_image")
    assert (asked["Name"], asked["NoReboot"]) == ("bakery-step-k", True)
    assert marks_of(asked)["image"]["bakery:step"] == "k"
    assert marks_of(asked)["snapshot"]["bakery:note-0"] == "inputs"


# ---- destroying -----------------------------------------------------------------------------------------------------


def record(account: Ec2Cloud, kind: str, id_: str | None = None, **data: Any) -> Resource:
    return Resource(driver="ec2", kind=kind, key="key", id=id_, run="r", build="web", data={**account.record, **data})


@pytest.mark.parametrize(
    ("kind", "look", "found", "operation", "field"),
    [
        (
            "security-group",
            "describe_security_groups",
            {"SecurityGroups": [{"GroupId": "b"}]},
            "delete_security_group",
            "GroupId",
        ),
        ("snapshot", "describe_snapshots", {"Snapshots": [{"SnapshotId": "b"}]}, "delete_snapshot", "SnapshotId"),
        ("volume", "describe_volumes", {"Volumes": [{"VolumeId": "b"}]}, "delete_volume", "VolumeId"),
        ("image", "describe_images", {"Images": [{"ImageId": "b"}]}, "deregister_image", "ImageId"),
    ],
)
def test_a_record_is_enough_to_destroy_and_a_second_one_goes_too(
    account: Ec2Cloud, aws: Aws, kind: str, look: str, found: dict[str, Any], operation: str, field: str
) -> None:
    aws.answer(look, found)
    destroy.destroy(account, record(account, kind, "a"))
    assert [one[field] for one in aws.requests(operation)] == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "look", "operation", "code"),
    [
        ("security-group", "describe_security_groups", "delete_security_group", "InvalidGroup.NotFound"),
        ("snapshot", "describe_snapshots", "delete_snapshot", "InvalidSnapshot.NotFound"),
        ("volume", "describe_volumes", "delete_volume", "InvalidVolume.NotFound"),
        ("image", "describe_images", "deregister_image", "InvalidAMIID.Unavailable"),
    ],
)
def test_what_is_gone_already_is_well_and_another_refusal_is_said(
    account: Ec2Cloud, aws: Aws, kind: str, look: str, operation: str, code: str
) -> None:
    aws.answer(operation, f"{code}: gone")
    destroy.destroy(account, record(account, kind, "a"))
    aws.answer(operation, "UnauthorizedOperation: no")
    with pytest.raises(Ec2Error):
        destroy.destroy(account, record(account, kind, "a"))
    assert aws.requests(look)


def test_what_is_still_used_may_go_later(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("delete_security_group", "DependencyViolation: in use")
    with pytest.raises(Ec2RetryableError) as caught:
        destroy.destroy(account, record(account, "security-group", "a"))
    assert "what uses it must go first" in caught.value.hint
    aws.answer("delete_volume", "VolumeInUse: attached", "VolumeInUse: attached", {})
    destroy.destroy(account, record(account, "volume", "a"))
    assert len(aws.requests("delete_volume")) == 3
    aws.answer("delete_snapshot", "InvalidSnapshot.InUse: by ami-1")
    with pytest.raises(Ec2RetryableError):
        destroy.destroy(account, record(account, "snapshot", "a"))


def test_a_spot_request_goes_before_its_machine(account: Ec2Cloud, aws: Aws) -> None:
    requests = [
        {"SpotInstanceRequestId": "sir-2", "State": "active"},
        {"SpotInstanceRequestId": "x", "State": "closed"},
    ]
    aws.answer("describe_spot_instance_requests", {"SpotInstanceRequests": requests})
    ended = {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": "terminated"}}]}]}
    running = {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": "running"}}]}]}
    aws.answer("describe_instances", {"Reservations": []}, running, ended)
    destroy.destroy(account, record(account, "instance", "i-1", spot=True, spot_request="sir-1"))
    made = [name for name, _ in aws.asked if not name.startswith("describe")]
    assert made == ["cancel_spot_instance_requests", "terminate_instances"]
    assert aws.requests("cancel_spot_instance_requests")[0]["SpotInstanceRequestIds"] == ["sir-1", "sir-2"]


def test_a_kind_of_another_version_is_said(account: Ec2Cloud) -> None:
    with pytest.raises(DriverError, match="of a kind that this version does not know"):
        destroy.destroy(account, record(account, "router"))


# ---- finding --------------------------------------------------------------------------------------------------------


def tagged(hours: float | None, **more: str) -> list[dict[str, str]]:
    marks = {"bakery:run": "r", "bakery:expires": "2100", "bakery:key": "key", **more}
    if hours is not None:
        marks["bakery:started"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    return tags.listed(marks)


@pytest.mark.parametrize(
    ("where", "hours", "found"),
    [
        (Where(), 2, True),
        (Where(run="r"), 2, True),
        (Where(older_than=3600.0), 2, True),
        (Where(older_than=3 * 3600.0), 2, False),
        (Where(older_than=3600.0), None, True),
    ],
)
def test_what_a_run_left_is_found_by_its_tags(
    account: Ec2Cloud, aws: Aws, where: Where, hours: float | None, found: bool
) -> None:
    aws.answer("describe_volumes", {"Volumes": [{"VolumeId": "vol-1", "State": "available", "Tags": tagged(hours)}]})
    ended = [{"InstanceId": "i-1", "State": {"Name": "terminated"}, "Tags": tagged(hours)}]
    aws.answer("describe_instances", {"Reservations": [{"Instances": ended}]})
    kept = tags.listed({"bakery:run": "r", "bakery:image": "web"})
    aws.answer("describe_images", {"Images": [{"ImageId": "ami-1", "State": "available", "Tags": kept}]})
    aws.answer("describe_key_pairs", {"KeyPairs": []})
    aws.answer("list_roles", {"Roles": []})
    aws.answer("list_instance_profiles", {"InstanceProfiles": []})
    records = [(one.kind, one.id, one.key, one.run) for one in find.find(account, where)]
    assert records == ([("volume", "vol-1", "key", "r")] if found else [])
    asked = aws.requests("describe_volumes")[0]["Filters"][0]
    assert asked == (
        {"Name": "tag:bakery:run", "Values": ["r"]} if where.run else {"Name": "tag-key", "Values": ["bakery:run"]}
    )


def test_a_role_is_found_by_its_name_and_its_tags(account: Ec2Cloud, aws: Aws) -> None:
    roles = [{"RoleName": name, "Path": "/", "RoleId": name * 4} for name in ("bakery-r-1", "bakery-theirs", "admin")]
    aws.answer("describe_key_pairs", {"KeyPairs": []})
    aws.answer("list_roles", {"Roles": roles})
    aws.answer("list_instance_profiles", {"InstanceProfiles": []})
    aws.answer("list_role_tags", lambda asked: {"Tags": tagged(2) if asked["RoleName"] == "bakery-r-1" else []})
    assert [(one.kind, one.id) for one in find.find(account, Where(run="r"))] == [("role", "bakery-r-1")]
    assert [asked["RoleName"] for asked in aws.requests("list_role_tags")] == ["bakery-r-1", "bakery-theirs"]


def test_a_refusal_ends_the_search(account: Ec2Cloud, aws: Aws) -> None:
    aws.answer("describe_security_groups", "UnauthorizedOperation: no")
    with pytest.raises(BakeryError, match="did not describe security groups"):
        list(find.find(account, Where()))
