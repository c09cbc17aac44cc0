"""A killed run is gone on with: on the virtual machine that outlived it, or from its last checkpoint."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from bakery.drivers.nspawn import host
from tests.live.baking import LINE, TINY, Done, Project, clean

pytestmark = pytest.mark.live

TWO = TINY.replace(
    LINE,
    "    m.run('echo first >>/root/hello')\n"
    "\n\n@bakery.task\ndef second(m):\n    m.run('echo begun | tee -a /root/hello; WAIT; echo hello >>/root/hello')\n",
)
TEST = '    assert host.file("/root/hello").contains("hello")\n'
EXACTLY = '    assert host.file("/root/hello").content_string.split() == {!r}\n'


def killed(project: Project, *words: str) -> psutil.Process:
    """Kill a build in its second task, and return the machine that runs on."""
    project.write(TWO.replace("WAIT", "sleep 4000"))
    with project.start("build", *words) as bake:
        project.wait(bake, lambda event: event["type"] == "output" and "begun" in event["text"])
        os.kill(bake.pid, signal.SIGKILL)
        bake.communicate(timeout=60)
    (machine,) = (p for p in psutil.process_iter(["name", "cwd"]) if is_machine(p, project))
    return machine


def is_machine(process: psutil.Process, project: Project) -> bool:
    return process.info["name"].startswith("qemu-system") and str(project.folder) in (process.info["cwd"] or "")


def resumed(project: Project, *words: str, expect: list[str]) -> Done:
    project.write(TWO.replace("WAIT", "true").replace(TEST, EXACTLY.format(expect)))
    done = project.bake("build", "--resume", *words)
    clean(done, 0)
    assert not [thing for thing in project.left() if not thing.startswith("file .bakery/images/")]
    return done


def test_a_build_without_checkpoints_goes_on_with_the_machine_that_runs_on(project: Project) -> None:
    machine = killed(project, "--no-cache")
    done = resumed(project, "--no-cache", expect=["first", "begun", "begun", "hello"])
    assert "continues after hello, on the machine that still runs" in done.err
    assert "task second was interrupted, and runs again" in done.err
    assert not machine.is_running()


@pytest.mark.all
def test_a_checkpoint_is_preferred_to_a_machine_whose_task_was_interrupted(project: Project) -> None:
    machine = killed(project)
    done = resumed(project, expect=["first", "begun", "hello"])
    assert "there is a checkpoint that is as far" in done.err
    assert "continues after hello, from a checkpoint" in done.err
    assert not machine.is_running()


CONTAINER = """
import bakery
from bakery.drivers import Debian, Nspawn


@bakery.source
def here() -> Nspawn:
    return Nspawn(base=Debian("bookworm"))


@bakery.task
def hello(m):
    m.run("echo first >>/root/hello")


@bakery.task
def second(m):
    m.run('echo begun | tee -a /root/hello; WAIT; echo hello >>/root/hello')
    m.get("/root/hello", "hello.txt")
"""


@pytest.mark.all
@pytest.mark.skipif(bool(host.why_plain()), reason=f"no container: {host.why_plain()}")
def test_a_container_outlives_a_bake_that_is_killed(project: Project) -> None:
    words = ("build", "--no-cache", "--no-test")
    project.write(CONTAINER.replace("WAIT", "sleep 4000"))
    with project.start(*words) as bake:
        project.wait(bake, lambda event: event["type"] == "output" and "begun" in event["text"])
        os.kill(bake.pid, signal.SIGKILL)
        bake.communicate(timeout=60)
    project.write(CONTAINER.replace("WAIT", "true"))
    done = project.bake(*words, "--resume")
    clean(done, 0, "continues after hello, on the machine that still runs")
    assert (project.folder / "hello.txt").read_text().split() == ["first", "begun", "begun", "hello"]
    assert not [thing for thing in project.left() if not thing.startswith("file .bakery/images/")]
