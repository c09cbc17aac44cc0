"""A stop before a task that its author asked for: `--stop-at TASK`, `--step`."""

from __future__ import annotations

from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.stopped import Stopped
from bakery.imagefile.builds import Step


def pause_before(scope: Scope, step: Step, machine: RunningMachine) -> None:
    """Stop before a task where that is wanted: ask on a terminal, elsewhere end the build and leave the machine.

    Raises:
        Stopped: the build is not to go on.
    """
    run = scope.run
    if step.name in run.options.stop_at or run.options.step:
        _pause(scope, machine, f"before task {step.name}")


def pause_after_all(scope: Scope, machine: RunningMachine) -> None:
    """Stop once more after the last task, with `--step`: from here on the machine is sealed and lets nobody in.

    Raises:
        Stopped: the build is not to go on.
    """
    if scope.run.options.step:
        _pause(scope, machine, "after the last task")


def _pause(scope: Scope, machine: RunningMachine, where: str) -> None:
    run = scope.run
    if run.ask is None:
        raise Stopped(f"stopped {where}", keep=True)

    def shell() -> None:
        from bakery.machine.shell import open_shell

        open_shell(machine.driver.endpoint(machine.handle), machine.claim.keys, machine.claim.folder)

    with run.asking:  # one question at a time, also with many builds
        choice = run.ask.pause(f"{scope.build.name}: {where}", shell, run.cancel.check)
    if choice != "go":
        raise Stopped(f"stopped {where}", keep=choice == "keep")
