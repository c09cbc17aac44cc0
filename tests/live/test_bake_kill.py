"""SIGKILL a build on real machines at any line of its journal and in any phase: `bake gc` takes all that is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

import pytest

from bakery.drivers.nspawn import host
from bakery.testing.kill import KillMatrix
from tests.live.baking import Project, is_kept
from tests.live.killing import Figures, sync, tell

pytestmark = pytest.mark.live

CONTAINER = """
import bakery
from bakery.drivers import Debian, Nspawn


@bakery.source
def here() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))


@bakery.task
def hello(m):
    m.run("echo hello >/root/hello")


@bakery.test
def said_hello(host):
    assert host.file("/root/hello").contains("hello")
"""
PHASES = ["launch", "connect", "provision", "seal", "capture", "inspect", "relaunch", "reconnect", "smoke"]
nspawn = pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}")


def check(project: Project, *words: str, points: Iterable[int] = ()) -> None:
    figures = Figures()
    matrix = KillMatrix(
        project=project.folder,
        exists=project.left,
        words=("--no-cache", *words),
        environ=project.env,
        image=is_kept(project),
        after_kill=lambda: figures.syncs.append(sync()),
    )
    leaks, tried = {}, list(points) or list(range(1, len(matrix.places()) + 1))
    for point in tried:
        killed = matrix.kill_at(point)
        assert killed.exit_code == -9, killed.output
        figures.roles["bake"] += 1
        figures.codes[killed.exit_code] += 1
        assert killed.gc_code == 0, killed.output
        if killed.left:
            leaks[f"{point} {killed.place}"] = killed.left
    assert leaks == {}
    assert figures.slow <= len(tried) // 10, str(figures)
    tell(figures)


# Before and after: a machine is started, an image is written, handed over. A whole build has 18 points.
def test_a_qemu_build_killed_at_some_journal_lines_leaks_nothing(project: Project) -> None:
    check(project, points=(2, 3, 6))


@pytest.mark.all
@pytest.mark.timeout(3600)
def test_a_qemu_build_killed_at_any_journal_line_leaks_nothing(project: Project) -> None:
    check(project)


@nspawn
def test_an_nspawn_build_killed_at_some_journal_lines_leaks_nothing(project: Project) -> None:
    project.write(CONTAINER)
    check(project, "--no-test", points=(2, 3, 6))


@nspawn
@pytest.mark.all
@pytest.mark.timeout(3600)
def test_an_nspawn_build_killed_at_any_journal_line_leaks_nothing(project: Project) -> None:
    project.write(CONTAINER)
    check(project, "--no-test")


@pytest.mark.all
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("phase", PHASES)
def test_a_qemu_build_killed_in_any_phase_leaks_nothing(project: Project, phase: str) -> None:
    project.task("m.run('sleep 5')" if phase == "provision" else "pass")
    with project.start("build", "--no-cache") as bake:
        project.wait(
            bake,
            lambda event: (
                event.get("phase") == phase
                or phase == event["type"] == "provision"
                or (phase == "provision" and event["type"] == "step-started")
            ),
        )
        os.kill(bake.pid, signal.SIGKILL)
        bake.communicate(timeout=60)
    swept = project.bake("gc")
    assert swept.code == 0, swept.err
    assert project.left() == set()


@pytest.mark.all
def test_a_qemu_build_killed_while_an_image_is_written_leaves_no_program_that_writes_on(project: Project) -> None:
    with project.start("build", "--no-cache") as bake:
        project.wait(bake, lambda event: event.get("phase") == "capture")
        deadline = time.monotonic() + 120
        while not any(thing.startswith("process qemu-img") for thing in project.left()):
            assert time.monotonic() < deadline
            assert bake.poll() is None
        os.kill(bake.pid, signal.SIGKILL)
        bake.communicate(timeout=60)
    assert project.bake("gc").code == 0
    assert project.left() == set()
