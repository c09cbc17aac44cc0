"""Limits of time: a task's, a phase's, and the whole run's; each ends with its own words and exit code."""

from __future__ import annotations

import re
import time

import pytest

from bakery.testing.folder.cloud import FolderCloud

from .conftest import Place

IMAGEFILE = """
import time
import bakery
from bakery.testing.folder.driver import Folder

@bakery.source
def here() -> Folder:
    return Folder(cloud={cloud!r}, patience=120)

@bakery.task({options})
def slow(m):
    {task}

@bakery.test
def waits(host):
    {test}

@bakery.image(builtin_tests=False)
def web():
    return None
"""


def write(place: Place, *, options: str = "", task: str = "m.run('true')", test: str = "pass") -> FolderCloud:
    cloud = place.folder.parent / "cloud"
    place.write(IMAGEFILE.format(cloud=str(cloud), options=options, task=task, test=test))
    return FolderCloud(cloud)


def nothing_is_left(cloud: FolderCloud) -> None:
    cloud.faults.clear()
    assert [*cloud.list("machines"), *cloud.list("keypairs"), *cloud.list("images")] == []


def test_a_task_that_takes_too_long(empty: Place) -> None:
    cloud = write(empty, options="timeout=1", task="m.run('sleep 60')")
    done = empty.shell("build")
    assert done.code == 7, done.err
    assert re.search(r"its timeout of (1|0\.\d) s", done.err)  # what the task has left when the command begins
    line = (empty.folder / "imagefile.py").read_text().splitlines().index("    m.run('sleep 60')") + 1
    assert f"imagefile.py:{line}" in done.err
    nothing_is_left(cloud)


PHASES = {
    "provision": (7, {"task": "m.run('sleep 60')"}, None),
    "connect": (6, {}, ("run_machine", "stuck")),
    "capture": (5, {}, ("create_image", "stuck")),
    "smoke": (8, {"test": "import time; time.sleep(60)"}, None),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_that_takes_too_long(empty: Place, phase: str) -> None:
    from bakery.testing.folder.faults import Injection

    code, what, fault = PHASES[phase]
    cloud = write(empty, **what)
    if fault is not None:
        cloud.faults.inject(Injection(call=fault[0], fault=fault[1]))  # type: ignore[arg-type]  # two of them
    began = time.monotonic()
    done = empty.shell("build", "--phase-timeout", f"{phase}=2s")
    assert done.code == code, done.err
    assert f"{phase} took longer than 2 s" in done.err
    assert f"--phase-timeout {phase}=TIME" in done.err
    assert "interrupted" not in done.err
    assert time.monotonic() - began < 45
    nothing_is_left(cloud)


def test_a_phase_that_is_quick_enough_is_not_disturbed(empty: Place) -> None:
    write(empty)
    done = empty.shell("build", *(word for phase in PHASES for word in ("--phase-timeout", f"{phase}=60s")))
    assert done.code == 0, done.err


def test_a_whole_run_that_takes_too_long(empty: Place) -> None:
    cloud = write(empty, task="m.run('sleep 60')")
    began = time.monotonic()
    done = empty.shell("build", "--deadline", "2s")
    assert done.code == 130, done.err
    assert "deadline" in done.err
    assert time.monotonic() - began < 45
    nothing_is_left(cloud)


def test_a_phase_that_does_not_exist(empty: Place) -> None:
    write(empty)
    done = empty.shell("build", "--phase-timeout", "captur=2s")
    assert done.code == 2
    assert "no phase is called 'captur'" in done.err
    assert "capture" in done.err
    assert "is not PHASE=TIME" in empty.shell("build", "--phase-timeout", "2s").err
