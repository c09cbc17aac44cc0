"""SIGINT, SIGTERM and SIGHUP in each phase that can last: once, twice, three times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakery.testing.folder.faults import Fault, Injection
from tests.contract.folderproject import FolderProject

IMAGEFILE = """
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(base=None, cloud={cloud!r}, patience=300)

@bakery.task
def hello(m):
    m.run({task!r})

@bakery.test
def slow(host):
    host.run({test!r})
"""


@dataclass(frozen=True)
class Slow:
    """How a phase is made to last.

    Args:
        task: what the task runs.
        test: what the smoke test runs.
        fault: a call of the cloud, and what happens to it.
        nth: the call of that name.
    """

    task: str = "true"
    test: str = "true"
    fault: tuple[str, Fault] | None = None
    nth: int = 1


PHASES = {
    "connect": Slow(fault=("run_machine", "stuck")),
    "provision": Slow(task="sleep 600"),
    "capture": Slow(fault=("create_image", "stuck")),
    "reconnect": Slow(fault=("run_machine", "stuck"), nth=2),
    "smoke": Slow(test="sleep 600"),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Project(FolderProject):
    """An imagefile that is slow in one phase."""

    def slow(self, slow: Slow) -> None:
        """Write it, and let the cloud be slow too where that is what is asked for."""
        self.write(task=slow.task, test=slow.test)
        if slow.fault is not None:
            self.cloud.faults.inject(Injection(call=slow.fault[0], fault=slow.fault[1], first=slow.nth))

    def wait(self, bake: subprocess.Popen[str], phase: str) -> None:
        """Wait until a phase has begun, and a moment longer, so that it is under way."""
        deadline = time.monotonic() + 60
        while not any(event.get("phase") == phase for event in self._events()):
            assert bake.poll() is None, bake.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)
        assert bake.poll() is None, bake.communicate()

    def _events(self) -> Iterator[dict[str, object]]:
        runs = self.state.runs()
        log = runs[-1].path / "events.jsonl" if runs else None
        for line in log.read_text().splitlines(keepends=True) if log and log.exists() else ():
            if line.endswith("\n"):
                event = json.loads(line)
                yield {**event, "phase": "provision"} if event["type"] == "step-started" else event


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, IMAGEFILE)


def cases() -> Iterator[object]:
    for phase in PHASES:
        for number in SIGNALS:
            bounded = (phase, number) in {("connect", signal.SIGTERM), ("smoke", signal.SIGINT)}
            yield pytest.param(phase, number, id=f"{phase}-{number.name}", marks=() if bounded else pytest.mark.all)


@pytest.mark.parametrize(("phase", "number"), [*cases()])
def test_one_ends_the_phase_and_cleans_up(project: Project, phase: str, number: signal.Signals) -> None:
    project.slow(PHASES[phase])
    with project.start("build", session=True) as bake:
        project.wait(bake, phase)
        began = time.monotonic()
        os.killpg(bake.pid, number)  # as a terminal does, to all of the group
        told, _ = bake.communicate(timeout=60)
    assert bake.returncode == 130, told
    assert time.monotonic() - began < 20
    assert f"interrupted by {number.name}" in told
    assert "Traceback" not in told
    assert project.left() == []


@pytest.mark.parametrize("phase", [pytest.param(p, marks=() if p == "capture" else pytest.mark.all) for p in PHASES])
def test_two_do_not_stop_the_clean_up(project: Project, phase: str) -> None:
    project.slow(PHASES[phase])
    with project.start("build", session=True) as bake:
        project.wait(bake, phase)
        os.killpg(bake.pid, signal.SIGINT)
        os.killpg(bake.pid, signal.SIGHUP)
        told, _ = bake.communicate(timeout=60)
    assert bake.returncode == 130, told
    assert "Traceback" not in told
    assert project.left() == []


@pytest.mark.parametrize("phase", [pytest.param(p, marks=() if p == "connect" else pytest.mark.all) for p in PHASES])
def test_three_at_once_leave_the_rest_to_gc(project: Project, phase: str) -> None:
    """Unless the clean-up was quicker than the third."""
    project.slow(PHASES[phase])
    with project.start("build", session=True) as bake:
        project.wait(bake, phase)
        for number in SIGNALS:
            os.killpg(bake.pid, number)
            time.sleep(0.02)  # two equal signals at once would be one
        told, _ = bake.communicate(timeout=60)
    assert bake.returncode in (10, 130), told
    assert "Traceback" not in told
    if bake.returncode == 10:
        assert "`bake gc` destroys what is left" in told
    project.cloud.faults.clear()
    with project.start("gc", session=True) as gc:
        told, _ = gc.communicate(timeout=60)
    assert gc.returncode == 0, told
    assert project.left() == []
