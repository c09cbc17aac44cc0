"""A cluster whose parts die, stop, or cannot reach each other: one image in the end, and nothing left over."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bakery.testing.folder.faults import Injection
from tests.contract.clusterrig import LEASE, ClusterProject, ClusterRig, until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ClusterRig]:
    with ClusterRig(tmp_path) as rig:
        yield rig


@pytest.fixture
def project(tmp_path: Path, rig: ClusterRig) -> ClusterProject:
    return ClusterProject(tmp_path, rig)


def maker(rig: ClusterRig) -> str:
    """Return the worker that has begun a build last."""
    begun = {name: rig.log(name).count("begins (") - rig.log(name).count("has ended (") for name in rig.workers}
    return next((name for name, count in begun.items() if count > 0), "")


def test_a_killed_workers_build_goes_on_elsewhere_and_what_it_made_is_destroyed(
    rig: ClusterRig, project: ClusterProject
) -> None:
    rig.start_workers("w1", "w2", words=("--slots", "1"))
    project.write(work='m.run("sleep 5")')
    process = project.start("build", "--on", rig.address, environ=LEASE)
    until(lambda: maker(rig) and project.left())
    first = maker(rig)
    rig.kill_worker(first)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert f"{first} on " in err
    assert "it goes on at" in err
    until(lambda: not project.left())
    assert project.images() == ["many-good"]


def test_a_client_that_is_killed_leaves_nothing_behind(rig: ClusterRig, project: ClusterProject) -> None:
    rig.start_workers("w1")
    project.write(work='m.run("sleep 120")')
    process = project.start("build", "--on", rig.address, environ=LEASE)
    until(lambda: len(project.left()) > 1)
    process.kill()
    process.communicate()
    until(lambda: not project.left())
    assert project.images() == []
    until(lambda: not list((rig.folder / "cache-w1/worker/attempts").iterdir()))


@pytest.mark.all
def test_a_worker_that_is_stopped_while_it_makes_an_image_does_not_make_a_second_one(
    rig: ClusterRig, project: ClusterProject
) -> None:
    """Stop all of it, as a link that is cut would look from outside, and let it go on when the other one is done."""
    rig.start_workers("w1", "w2", words=("--slots", "1"))
    project.write(work='m.run("sleep 4")')
    process = project.start("build", "--on", rig.address, environ=LEASE)
    until(lambda: maker(rig) and project.left())
    first = maker(rig)
    rig.signal_host(first, signal.SIGSTOP)
    try:
        _, err = process.communicate(timeout=300)
    finally:
        rig.signal_host(first, signal.SIGCONT)
    assert process.returncode in (0, 10), err
    until(lambda: not project.left())
    assert project.images() == ["many-good"]


@pytest.fixture
def cut_off() -> Iterator[tuple[str, str]]:
    """Make a network namespace behind a link; yield its name and the address of our end."""
    name = f"bk{os.getpid() % 100000}"
    commands = (
        f"netns add {name}",
        f"link add {name} type veth peer name {name}p",
        f"link set {name}p netns {name}",
        f"addr add 10.213.7.1/30 dev {name}",
        f"link set {name} up",
        f"-n {name} addr add 10.213.7.2/30 dev {name}p",
        f"-n {name} link set {name}p up",
        f"-n {name} link set lo up",
    )
    try:
        for command in commands:
            _ip(command)
        yield name, "10.213.7.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", name], check=False, stderr=subprocess.DEVNULL)


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


@contextmanager
def cut_link(namespace: str, rig: ClusterRig, process: subprocess.Popen[str]) -> Generator[None]:
    """Cut the worker behind a link off, with another one beside it; after the block the build has gone on there."""
    rig.start_workers("here")
    _ip(f"link set {namespace} down")
    yield
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "it goes on at here on" in err
    _ip(f"link set {namespace} up")


@pytest.mark.all
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")
def test_a_link_that_is_cut_while_both_sides_can_reach_the_provider_leaves_one_image(
    tmp_path: Path, cut_off: tuple[str, str]
) -> None:
    """Cut it for longer than a lease: the worker behind it ends its build, another one makes the image."""
    namespace, address = cut_off
    with ClusterRig(tmp_path, host=address) as rig:
        project = ClusterProject(tmp_path, rig)
        rig.start_workers("behind", inside=("ip", "netns", "exec", namespace))
        project.write(work='m.run("sleep 5")')
        process = project.start("build", "--on", rig.address, environ=LEASE)
        until(lambda: maker(rig) and project.left())
        with cut_link(namespace, rig, process):
            pass
        until(lambda: not project.left())
        assert project.images() == ["many-good"]
        assert "has ended" in rig.log("behind")


@pytest.mark.all
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")
def test_a_link_that_is_cut_while_the_image_is_being_kept_leaves_one_image(
    tmp_path: Path, cut_off: tuple[str, str]
) -> None:
    """Cut it when the worker has been told to keep its image, and the provider lets it wait: both could have it."""
    namespace, address = cut_off
    with ClusterRig(tmp_path, host=address) as rig:
        project = ClusterProject(tmp_path, rig)
        rig.start_workers("behind", inside=("ip", "netns", "exec", namespace))
        project.write()
        project.cloud.faults.inject(Injection(call="rename_image", fault="throttled", times=10_000))
        process = project.start("build", "--on", rig.address, environ=LEASE)
        until(lambda: re.search('"phase": ?"keep"', _events(project)))
        with cut_link(namespace, rig, process):
            time.sleep(6)
            project.cloud.faults.clear()
        until(lambda: "has ended" in rig.log("behind") and not project.left())
        assert project.images() == ["many-good"]
        (kept,) = json.loads((project.folder / ".bakery/catalogue.json").read_text())["images"]
        assert [image["id"] for image in project.cloud.list("images")] == [kept["id"]]


def _events(project: ClusterProject) -> str:
    return "".join(path.read_text() for path in (project.folder / ".bakery/runs").glob("*/events.jsonl"))


@pytest.mark.all
def test_builds_go_on_while_their_scheduler_is_started_anew(rig: ClusterRig, project: ClusterProject) -> None:
    rig.start_workers("w1")
    project.write(work='m.run("sleep 6")')
    process = project.start("build", "--on", rig.address, environ={"BAKERY_CLUSTER_LEASE": "30"})
    until(lambda: maker(rig) and project.left())
    assert rig.scheduler is not None
    rig.scheduler.kill()
    rig.scheduler.wait()
    time.sleep(1)
    rig.start_scheduler()
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    until(lambda: not project.left())
    assert project.images() == ["many-good"]


@pytest.mark.all
def test_a_worker_that_starts_again_destroys_what_was_left(rig: ClusterRig, project: ClusterProject) -> None:
    rig.start_workers("w1")
    project.write(work='m.run("sleep 120")')
    process = project.start("build", "--on", rig.address, environ=LEASE)
    until(lambda: len(project.left()) > 1)
    rig.kill_host("w1")
    process.kill()
    process.communicate()
    assert project.left() != []
    rig.start_workers("w1")
    assert "which an earlier worker left" in rig.log("w1")
    assert project.left() == []


@pytest.mark.all
def test_gc_on_the_cluster_destroys_there_what_a_build_could_not(rig: ClusterRig, project: ClusterProject) -> None:
    """Have the cloud refuse to delete until the build has given up."""
    rig.start_workers("w1")
    project.write(work='raise ValueError("no")')
    project.cloud.faults.inject(Injection(call="delete_machines", fault="denied", times=100))
    process = project.start("build", "--on", rig.address, environ=LEASE)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 10, err
    project.cloud.faults.clear()
    assert project.left() != []
    dry = project.start("gc", "--on", rig.address, "--dry-run")
    said, err = dry.communicate(timeout=100)
    assert "would destroy" in said, err
    assert project.left() != []
    process = project.start("gc", "--on", rig.address)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "destroyed folder" in out
    assert project.left() == []
    assert not list((rig.folder / "cache-w1/worker/attempts").iterdir())
