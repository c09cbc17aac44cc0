"""Unmaking an import of a disk: a task that goes on by itself, and the snapshot that comes of it."""

from __future__ import annotations

from typing import Any

from bakery.drivers.ec2.api import tags
from bakery.drivers.ec2.api.account import Ec2Cloud
from bakery.drivers.ec2.api.errors import Ec2Error, code_of
from bakery.drivers.ec2.image import images
from bakery.errors import DriverError, NotYet
from bakery.model import Resource
from bakery.util.waiting import Cancel, until

TIMEOUT = 600.0
GOING = {"pending", "active", "converting", "validating", "validated", "updating", "deleting"}
"""What a task says of itself before it has ended (docs.aws.amazon.com/vm-import/latest/userguide)."""


def destroy(cloud: Ec2Cloud, resource: Resource) -> None:
    """Cancel the tasks that carry our key, and delete what came of them.

    Raises:
        DriverError: a task does not end.
    """
    known = resource.data.get("snapshot")
    snapshots: set[str] = {known} if known else set()
    for task in _tasks(cloud, resource):
        if _state(task) in GOING:
            _cancel(cloud, task["ImportTaskId"])
        snapshots.update(_ended(cloud, task["ImportTaskId"]))
    for snapshot in sorted(snapshots):
        images.delete_snapshot(cloud, snapshot)


def _tasks(cloud: Ec2Cloud, resource: Resource) -> list[dict[str, Any]]:
    """By our tag, which is on the task from the request on."""
    return list(
        cloud.pages(
            "describe_import_snapshot_tasks",
            "ImportSnapshotTasks",
            Filters=tags.filters({f"tag:{tags.KEY}": resource.key}),
        )
    )


def _state(task: dict[str, Any]) -> str:
    return str(task["SnapshotTaskDetail"].get("Status", ""))


def _cancel(cloud: Ec2Cloud, task: str) -> None:
    """One that has ended meanwhile cannot be cancelled any more, and need not be."""
    try:
        cloud.call("cancel_import_task", f"cancel the import {task}", ImportTaskId=task)
    except Ec2Error as error:
        if code_of(error) not in {"IncorrectState", "InvalidConversionTaskId.Malformed", "InvalidParameter"}:
            raise


def _ended(cloud: Ec2Cloud, task: str) -> list[str]:
    """Wait until a task has ended, and return the snapshot that it made, if any."""

    def probe() -> list[str]:
        found = cloud.call("describe_import_snapshot_tasks", "look at the import", ImportTaskIds=[task])
        tasks = found["ImportSnapshotTasks"]
        if tasks and _state(tasks[0]) in GOING:
            raise NotYet(f"import {task}: {_state(tasks[0])}")
        return [one["SnapshotTaskDetail"]["SnapshotId"] for one in tasks if one["SnapshotTaskDetail"].get("SnapshotId")]

    return until(
        probe,
        what=f"the import {task} ends",
        timeout=TIMEOUT,
        cancel=Cancel(),
        every=(0.5, 10.0),
        error=DriverError,
    )
