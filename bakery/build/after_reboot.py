"""Tests that want to run once more after a reboot of their machine, and files that must survive it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Final

from bakery.build.job import Job
from bakery.build.nodes import NodeNetwork
from bakery.build.running import RunningMachine
from bakery.build.scope import Scope
from bakery.build.smoke_tests import smoke_job, test_refs
from bakery.errors import BakeryError, Interrupted, SmokeError
from bakery.smoke.job import AFTER_REBOOT, BeforeReboot, SmokeJob, SmokeReport, TestRef, builtin
from bakery.smoke.process import PytestProcess, PytestStart
from bakery.util.context import WorkContext
from bakery.util.units import counted

PLANT: Final = r"""
plant() {
  [ -d "$1" ] || return 0
  case "$(stat -f -c %%T "$1" 2>/dev/null)" in tmpfs | ramfs) return 0 ;; esac
  ( umask 077; echo %(token)s >"${1%%/}/.bakery-sentinel" ) 2>/dev/null && echo "${1%%/}/.bakery-sentinel"
}
for folder in / /etc /root /home /srv /opt /usr/local /var/lib /var/log; do plant "$folder"; done
while read -r device point rest; do
  case "$device" in /dev/*) plant "$point" ;; esac
done </proc/mounts
sync
"""
"""Writes a file wherever something is usually kept, and on each file system of a disk; prints their paths."""
PLANT_TIME: Final = 60.0


def rebooting_tests(job: Job) -> tuple[TestRef, ...]:
    """Return the tests of a build that run before and after a reboot."""
    return tuple(
        ref for ref, bound in zip(test_refs(job), job.tests, strict=True) if bound.step.options.get("reboot", False)
    )


def test_after_reboot(
    scope: Scope, running: RunningMachine, first: SmokeReport, work: WorkContext, nodes: NodeNetwork
) -> SmokeReport:
    """Reboot a machine that has passed its tests, and run those once more that want it.

    Args:
        scope: the build's.
        running: the machine.
        first: how its tests ended.
        work: takes the events, and cancels.
        nodes: the network that it is on.

    Returns:
        One report of both; the first one where nothing wants a reboot, or something failed already.

    Raises:
        SmokeError: the machine does not come back, or a test could not be run.
    """
    tests = rebooting_tests(scope.job)
    if not tests or not first.ok:
        return first
    again = replace(
        smoke_job(scope, running, nodes=nodes.others),
        tests=tests,
        builtin=builtin(scope.job.options.builtin_tests) & AFTER_REBOOT,
        before=_plant(running, first),
    )
    again = replace(again, junit=again.junit.with_suffix(".rebooted.xml"))
    with PytestProcess(PytestStart.of(again)) as process:  # it loads while the machine reboots
        work.notice(f"rebooting the machine: {counted(len(tests), 'test')} once more after it")
        _reboot(running)
        nodes.rejoin()
        return first + _run(replace(again, endpoint=running.driver.endpoint(running.handle)), work, process)


def _plant(running: RunningMachine, first: SmokeReport) -> BeforeReboot:
    token = secrets.token_hex(16)
    printed = running.machine.run(PLANT % {"token": token}, user="root", hide=True, timeout=PLANT_TIME).stdout
    return BeforeReboot(identity=first.identity, token=token, sentinels=tuple(dict.fromkeys(printed.splitlines())))


def _reboot(running: RunningMachine) -> None:
    try:
        running.machine.reboot()
    except Interrupted:
        raise
    except BakeryError as error:
        raise SmokeError(
            f"the machine does not come back from a reboot: {error.what}", why=error.why, hint=error.hint
        ) from error


def _run(job: SmokeJob, work: WorkContext, process: PytestProcess) -> SmokeReport:
    from bakery.smoke.runner import run

    return run(job, work, process, alone=False)  # all may be skipped: they have run before
