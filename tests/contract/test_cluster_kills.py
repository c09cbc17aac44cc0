"""A cluster whose parts are killed, at any line of the journal and at random: every image is right, nothing is left."""

from __future__ import annotations

import random
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bakery.testing.folder.cloud import FolderCloud
from tests.contract.clusterrig import LEASE, ClusterProject, ClusterRig, until

pytestmark = [pytest.mark.all, pytest.mark.timeout(3000)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ClusterRig]:
    with ClusterRig(tmp_path) as rig:
        yield rig


@pytest.fixture
def project(tmp_path: Path, rig: ClusterRig) -> ClusterProject:
    return ClusterProject(tmp_path, rig)


def kinds_in(cloud: FolderCloud) -> dict[str, str]:
    """Return what each image of the cloud holds, by its name."""
    found: dict[str, str] = {}
    for record in cloud.list("images"):
        with tarfile.open(cloud.path / "images" / record["id"] / "tree.tar") as tar:
            file = tar.extractfile("./etc/kind")
            assert file is not None
            assert record["name"] not in found
            found[record["name"]] = file.read().decode()
    return found


@pytest.mark.parametrize(("count", "kills"), [(200, 20)])
def test_workers_that_die_at_random_cost_time_and_no_image(
    rig: ClusterRig, project: ClusterProject, count: int, kills: int
) -> None:
    """Kill one of four every few seconds, and start it again; every other time its builds die with it."""
    names = ("w1", "w2", "w3", "w4")
    kinds = [f"k{number}" for number in range(count)]
    rig.start_workers(*names, words=("--slots", "2"))
    project.write(image=f'matrix={{"kind": {kinds}}}', work='m.run("sleep 2")')
    process = project.start("build", "--no-test", "--on", rig.address, environ=LEASE)
    chosen = random.Random(4711)
    killed = 0
    while process.poll() is None and killed < kills:
        time.sleep(chosen.uniform(0.5, 4))
        if process.poll() is None:
            name = chosen.choice(names)
            rig.kill_host(name) if killed % 2 else rig.kill_worker(name)
            rig.start_workers(name, words=("--slots", "2"))
            killed += 1
    _, err = process.communicate(timeout=1500)
    assert process.returncode == 0, err
    assert killed == kills
    until(lambda: not project.left())
    assert kinds_in(project.cloud) == {f"many-{kind}": kind for kind in kinds}


def journal_lines(project: ClusterProject) -> int:
    """Return how many lines of the worker's journal the client has heard of in the last run."""
    return sum(event["type"] == "resource-changed" for event in project.events())


def came_to(process: subprocess.Popen[str], project: ClusterProject, *, before: int, point: int) -> bool:
    """Wait until a new run has come to a line of the journal; False where it came to its end."""
    while process.poll() is None:
        if len(project.runs()) > before and journal_lines(project) >= point:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("part", ["worker", "host", "scheduler"])
def test_a_part_killed_at_any_line_of_the_journal_costs_no_image(
    rig: ClusterRig, project: ClusterProject, part: str
) -> None:
    """Kill it as soon as the client has heard of the line."""
    assert kill_at_lines(rig, project, part, range(1, 100)) > 6


def kill_at_lines(rig: ClusterRig, project: ClusterProject, part: str, points: Iterable[int]) -> int:
    """Kill a part at each of some lines; return the line that a run did not come to any more."""
    project.write(work='m.run("sleep 0.3")')
    names = ["w1", "w2"]
    rig.start_workers(*names, words=("--slots", "1"))
    for point in points:
        before = len(project.runs())
        process = project.start("build", "--no-test", "--refresh", "--on", rig.address, environ=LEASE)
        killed = came_to(process, project, before=before, point=point)
        if killed and part == "scheduler":
            rig.restart_scheduler()
        elif killed:
            maker = next((name for name in names if _makes(rig, name)), names[0])
            rig.kill_host(maker) if part == "host" else rig.kill_worker(maker)
            rig.start_workers(maker, words=("--slots", "1"))
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, (point, err)
        until(lambda: not project.left())
        assert kinds_in(project.cloud) == {"many-good": "good"}, point
        if not killed:
            return point
    raise AssertionError("it never came to its end")


def _makes(rig: ClusterRig, name: str) -> bool:
    return rig.log(name).count("begins (") > rig.log(name).count("has ended (")


def test_a_client_killed_at_any_line_of_its_journal_leaves_nothing(rig: ClusterRig, project: ClusterProject) -> None:
    rig.start_workers("w1")
    project.write()
    trace = project.folder.parent / "points"
    words = ("build", "--no-test", "--refresh", "--on", rig.address)
    process = project.start(*words, environ={"BAKERY_CRASH_AT": "0", "BAKERY_CRASH_TRACE": str(trace)})
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    points = len(trace.read_text().splitlines())
    assert points > 8
    for point in range(1, points + 1):
        process = project.start(*words, environ={**LEASE, "BAKERY_CRASH_AT": str(point)})
        _, err = process.communicate(timeout=100)
        assert process.returncode == -9, (point, err)
        until(lambda: not list((rig.folder / "cache-w1/worker/attempts").iterdir()))
        gc = project.start("gc")
        out, err = gc.communicate(timeout=60)
        assert gc.returncode == 0, (point, out, err)
        assert project.left() == [], point
        assert len(project.images()) <= 1, point  # the one that was there, or the one that takes its place


def test_a_build_killed_on_its_worker_at_any_line_of_its_journal_leaves_nothing(
    rig: ClusterRig, project: ClusterProject
) -> None:
    project.write()
    for point in range(1, 100):
        rig.start_workers("w1", environ={"BAKERY_CRASH_AT": str(point)})
        process = project.start("build", "--no-test", "--refresh", "--on", rig.address, environ=LEASE)
        _, err = process.communicate(timeout=200)
        rig.kill_worker("w1")
        rig.start_workers("w1")
        rig.kill_worker("w1")
        assert project.left() == [], (point, err)
        if process.returncode == 0:
            assert point > 8
            return
        assert process.returncode in (4, 5, 10), (point, err)
        assert project.images() == [], point
    raise AssertionError("it never came to its end")
