"""A cluster whose hosts are not as they should be, and users who lose patience."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.testing.folder.faults import Injection
from tests.contract.clockshim import COMPILER, compiled, environment
from tests.contract.clusterrig import LEASE, ClusterProject, ClusterRig, until

pytestmark = pytest.mark.timeout(600)
HOUR = 3600
CRASH = 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV) if v.kind == "bad" else m.run("sleep 1")'
THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("read by", threading.active_count())
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ClusterRig]:
    with ClusterRig(tmp_path) as rig:
        yield rig


@pytest.fixture
def project(tmp_path: Path, rig: ClusterRig) -> ClusterProject:
    return ClusterProject(tmp_path, rig)


def test_a_build_that_crashes_takes_no_other_one_with_it(
    rig: ClusterRig, project: ClusterProject, tmp_path: Path
) -> None:
    rig.start_workers("w1", words=("--slots", "3"))
    read = f"with open({str(tmp_path / 'read')!r}, 'a') as file: file.write('x')\n"
    project.write(image='matrix={"kind": ["bad", "a", "b"]}', work=CRASH, more=read)
    done = project.bake("--no-test")  # pytest reads it too
    assert (tmp_path / "read").read_text() == "xx"  # here, and once for all builds of the worker
    assert done.returncode == 5, done.stderr
    assert "the build's process on the worker died: was ended by SIGSEGV" in done.stderr
    assert project.images() == ["many-a", "many-b"]
    assert project.left() == []
    project.write(image='matrix={"kind": ["c"]}', more=THREAD)  # no process can be forked from one with threads
    done = project.bake()
    assert done.returncode == 0, done.stderr
    assert project.images() == ["many-a", "many-b", "many-c"]


def _is_work(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "step-started" and event["step"] == "work")


@pytest.mark.all
def test_a_second_ctrl_c_says_what_goes_on_and_a_third_one_leaves_it_to_the_worker(
    rig: ClusterRig, project: ClusterProject
) -> None:
    """Have the cloud refuse for now to delete, so that the clean-up takes its time."""
    rig.start_workers("w1")
    project.write(work='m.run("sleep 120")')
    for number, last in enumerate((2, 3)):
        process = project.start("build", "--on", rig.address, environ=LEASE)
        until(lambda number=number: len(project.runs()) > number and any(map(_is_work, project.events())))  # type: ignore[misc]  # bound now
        project.cloud.faults.inject(Injection(call="delete_machines", fault="throttled", times=10_000))
        for _ in range(last):
            process.send_signal(signal.SIGINT)
            time.sleep(1.5)
        if last == 2:
            assert process.poll() is None
            project.cloud.faults.clear()
        _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if last == 2 else 10), err
        assert "SIGINT again: still destroying what was made" in err
        project.cloud.faults.clear()
        if last == 2:
            assert project.left() == []
        until(lambda: not project.left())
        assert project.images() == []


@pytest.mark.all
@pytest.mark.skipif(COMPILER is None, reason="no C compiler: tools/host-packages tests")
@pytest.mark.parametrize("skew", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_worker_whose_clock_is_an_hour_off_makes_images_with_our_times(
    rig: ClusterRig, project: ClusterProject, tmp_path: Path, skew: int
) -> None:
    clock = tmp_path / "clock"
    clock.write_text(f"{skew}\n")
    rig.start_workers("w1", environ=environment(compiled(tmp_path), clock))
    project.write(image='matrix={"kind": ["a", "b"]}', disk="raw", work='m.run("sleep 1")')
    began = time.time()
    process = project.start("build", "--on", rig.address, environ=LEASE)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert project.images() == ["many-a", "many-b"]
    assert project.left() == []
    times = [event["time"] for event in project.events()]
    assert began - 1 < min(times)
    assert max(times) < time.time() + 1
    assert all(0 <= event["seconds"] < 60 for event in project.events() if "seconds" in event)
    again = project.bake()
    assert again.stderr.count("up to date") == 2, again.stderr


@pytest.mark.all
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_worker_whose_disk_is_full_says_so_and_takes_builds_again(
    rig: ClusterRig, project: ClusterProject, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "tmpfs", str(small)], check=True)
    try:
        rig.start_workers("w1", environ={"BAKERY_CACHE_DIR": str(small)})
        project.write(disk="raw", work='m.run("dd if=/dev/urandom of=/root/large bs=1M count=40")')
        done = project.bake()
        assert done.returncode in (4, 5), done.stderr
        assert "No space left on device" in done.stderr or "is full" in done.stderr, done.stderr
        assert (project.left(), project.images()) == ([], [])
        project.write(disk="raw")
        done = project.bake()
        assert done.returncode == 0, done.stderr
    finally:
        rig.stop_worker("w1")
        subprocess.run(["umount", str(small)], check=True)


def test_a_limit_holds_over_all_workers(rig: ClusterRig, project: ClusterProject) -> None:
    rig.start_workers("w1", "w2", words=("--slots", "2"))
    project.write(image='matrix={"kind": ["a", "b", "c", "d"]}', work='m.run("sleep 1")')
    process = project.start("build", "--no-test", "--limit", "folder:1", "--on", rig.address)
    most = 0
    while process.poll() is None:
        most = max(most, len([one for one in project.left() if one.startswith("machines")]))
        time.sleep(0.05)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert most == 1
    assert len(project.images()) == 4
