"""Import by S3, against botocore's Stubber: moto does not have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.destroy import destroy
from bakery.drivers.ec2.publish.s3_import import _imported
from bakery.errors import DriverError
from bakery.model import Resource
from bakery.state.claim import Claim


def task(status: str, **detail: Any) -> dict[str, Any]:
    return {"ImportSnapshotTasks": [{"ImportTaskId": "t-1", "SnapshotTaskDetail": {"Status": status, **detail}}]}


def test_an_import_is_followed_to_its_snapshot(cloud: Ec2Cloud, claim: Claim) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        asked = {"ImportTaskIds": ["t-1"]}
        stub.add_response("describe_import_snapshot_tasks", task("active", Progress="40"), asked)
        stub.add_response("describe_import_snapshot_tasks", task("completed", SnapshotId="snap-1"), asked)
        assert _imported(cloud, "t-1", claim, 60) == "snap-1"


def test_an_import_that_ec2_gives_up_ends_with_its_words(cloud: Ec2Cloud, claim: Claim) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        said = "ClientError: Disk validation failed"
        stub.add_response("describe_import_snapshot_tasks", task("deleted", StatusMessage=said), {"ImportTaskIds": ANY})
        with pytest.raises(DriverError, match="could not import") as caught:
            _imported(cloud, "t-1", claim, 60)
        assert caught.value.why == said


def record(**data: Any) -> Resource:
    return Resource(driver="ec2", kind="import", key="k-1", id="t-1", data=data)


ASKED = {"ImportTaskIds": ["t-1"]}
MINE = {"Filters": [{"Name": "tag:bakery:key", "Values": ["k-1"]}]}


def test_an_import_that_still_goes_on_is_cancelled_and_waited_for(cloud: Ec2Cloud) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        stub.add_response("describe_import_snapshot_tasks", task("active"), MINE)
        stub.add_response("cancel_import_task", {}, {"ImportTaskId": "t-1"})
        stub.add_response("describe_import_snapshot_tasks", task("deleting"), ASKED)
        stub.add_response("describe_import_snapshot_tasks", task("deleted"), ASKED)
        destroy(cloud, record())
        stub.assert_no_pending_responses()


def test_what_an_import_made_before_its_builder_was_killed_goes_too(cloud: Ec2Cloud) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        stub.add_response("describe_import_snapshot_tasks", task("completed", SnapshotId="snap-1"), MINE)
        stub.add_response("describe_import_snapshot_tasks", task("completed", SnapshotId="snap-1"), ASKED)
        stub.add_response("delete_snapshot", {}, {"SnapshotId": "snap-1"})
        destroy(cloud, record())
        stub.assert_no_pending_responses()


def test_an_import_that_ended_before_it_could_be_cancelled_is_no_error(cloud: Ec2Cloud) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        stub.add_response("describe_import_snapshot_tasks", task("active"), MINE)
        stub.add_client_error("cancel_import_task", "IncorrectState")
        stub.add_response("describe_import_snapshot_tasks", task("completed", SnapshotId="snap-1"), ASKED)
        stub.add_response("delete_snapshot", {}, {"SnapshotId": "snap-1"})
        destroy(cloud, record(snapshot="snap-1"))
        stub.assert_no_pending_responses()


def test_an_import_that_was_never_begun_is_gone(cloud: Ec2Cloud) -> None:
    with Stubber(cloud.client("ec2")) as stub:
        stub.add_response("describe_import_snapshot_tasks", {"ImportSnapshotTasks": []}, MINE)
        destroy(cloud, record())
        stub.assert_no_pending_responses()


def test_boto3_knows_every_call_that_the_driver_makes(cloud: Ec2Cloud) -> None:
    """Names of operations are texts here; a misspelt one must not wait for its first use."""
    import re

    import bakery.drivers.ec2 as package

    known = {
        operation
        for service in ("ec2", "iam", "ssm", "sts", "s3", "ebs", "autoscaling", "secretsmanager", "service-quotas")
        for operation in dir(cloud.client(service))
    }
    for file in Path(str(package.__file__)).parent.rglob("*.py"):
        used = re.findall(r'\.(?:call|pages)\(\s*"([a-z0-9_]+)"', file.read_text(encoding="utf-8"))
        assert set(used) <= known, file.name
