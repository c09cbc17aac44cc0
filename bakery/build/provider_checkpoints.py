"""Checkpoints that live at a provider: found again by whoever builds the same, also on another host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bakery.build.scope import Scope
from bakery.drivers.base import Driver
from bakery.errors import BakeryError
from bakery.events import Notice
from bakery.imagefile.task_options import TaskOptions
from bakery.model import Checkpoint, Source


@dataclass(frozen=True)
class ProviderCheckpoints:
    """The checkpoints that a provider holds of one build.

    Args:
        checkpoints: by the key of the last step inside.
        notes: what their makers wrote beside them, which `Steps.learn` understands.
    """

    checkpoints: dict[str, Checkpoint] = field(default_factory=dict[str, Checkpoint])
    notes: tuple[str, ...] = ()


def makes_checkpoint(options: TaskOptions, driver: Driver[Any]) -> bool:
    """Say whether a machine is saved after a task: as the task says, else where that costs nothing."""
    return not driver.checkpoints_cost if options.checkpoint is None else options.checkpoint


def list_checkpoints(scope: Scope, driver: Driver[Any], boot: Source) -> ProviderCheckpoints:
    """Ask the provider for the checkpoints of this build; not where none of its steps would have made one.

    A refusal costs time later, never this build.
    """
    options = scope.run.options
    wanted = any(makes_checkpoint(task.options, driver) for task in scope.job.tasks)
    if not wanted or not options.cache or "*" in options.refresh:
        return ProviderCheckpoints()
    try:
        checkpoints = list(driver.list_checkpoints(boot, scope.build.name))
    except BakeryError as error:
        scope.emit(
            Notice(
                level="warning",
                message=f"no look at the provider's checkpoints: {error.what}",
                hint="this build may take longer",
            )
        )
        return ProviderCheckpoints()
    return ProviderCheckpoints(
        {checkpoint.key: checkpoint for checkpoint, _ in checkpoints}, tuple(note for _, note in checkpoints if note)
    )
