"""Machines of several images on one network: started, joined, named, tested, and gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import pytest

from bakery.build import bake as page
from bakery.build.node_images import node_images
from bakery.build.preflight import needs_of
from bakery.errors import PreflightError, SmokeError
from bakery.model import Handle, Needs, Result
from bakery.smoke.identity import Identity
from bakery.smoke.job import SmokeJob, SmokeReport, TestResult

from .memory import Memory, MemoryDriver, Project, project

__all__ = ["project"]

IMAGE = """
@bakery.source
def here() -> Wired:
    return Wired(base="debian-12")

@bakery.test
def answers(host): ...

@bakery.image(tests=[], builtin_tests=["root_has_room"])
def db(): ...

@bakery.image(nodes={nodes}, builtin_tests=False)
def web(): ...
"""
HEAD = "import bakery\nfrom tests.unit.build.test_nodes import Wired\n"


class Wired(Memory):
    """A machine in memory that can be put onto a network."""

    driver: ClassVar[str] = "memory"
    takes_nodes: ClassVar[bool] = True


class WiredDriver(MemoryDriver):
    """A provider with private networks."""

    @contextmanager
    def private_network(self) -> Iterator[WiredDriver]:
        self._ask("network")
        yield self
        self._ask("network-over")

    def attach(self, handle: Handle, mac: str) -> None:
        assert mac.startswith("52:54:00:")
        self._ask("attach", handle.id.rpartition("-")[2])

    def needs(self, boot: object) -> Needs:
        del boot
        return Needs(memory=1 << 30, cpus=2)


@pytest.fixture
def wired(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("bakery.machine.seal.seal", lambda *_: ["sealed"])
    monkeypatch.setattr(page, "started_tests", lambda _: nullcontext())
    project.driver = WiredDriver()
    project.box.answer("*00-bakery-nodes*", "").answer("*/sys/class/net*", "").answer("*/etc/hosts*", "")
    project.write(IMAGE.format(nodes="[db]"), HEAD)
    return project


@pytest.fixture
def jobs(wired: Project, monkeypatch: pytest.MonkeyPatch) -> list[SmokeJob]:
    heard: list[SmokeJob] = []

    def run(job: SmokeJob, *_: object) -> SmokeReport:
        heard.append(job)
        wired.driver.asked.append("test")
        passed = TestResult(test="answers", outcome="passed", seconds=0.1)
        return SmokeReport(results=(passed,), seconds=0.1, identity=Identity(machine_id="0123"))

    monkeypatch.setattr("bakery.smoke.whole.run_all", run)
    return heard


def test_an_image_is_tested_beside_another_that_was_made_before(wired: Project, jobs: list[SmokeJob]) -> None:
    assert wired.build(test=True).exit_code == 0
    alone, job = jobs
    assert (alone.name, alone.nodes, alone.absent) == ("db", {}, ())
    assert (job.name, [*job.nodes], job.absent) == ("web", ["db"], ())
    story = wired.driver.verbs("launch", "network", "attach", "test", "network-over", "destroy")
    ours = story[story.index("network") - 1 :]
    verbs = [line.split()[0] for line in ours if not line.startswith("destroy")]
    assert verbs == ["launch", "network", "launch", "attach", "attach", "test", "network-over"]
    assert ours[0].startswith("launch smoke from ")
    assert ours[2].startswith("launch node from ")
    assert not any(resource.kind == "machine" for resource in wired.driver.there.values())


@pytest.mark.usefixtures("jobs")
def test_each_machine_has_an_address_and_knows_the_others_by_name(wired: Project) -> None:
    wired.build(test=True)
    told = [command for command in wired.box.commands if "/etc/hosts" in command]
    assert len(told) == 2
    assert all("192.168.213.1\tweb" in each and "192.168.213.2\tdb" in each for each in told)
    given = [command for command in wired.box.commands if "/sys/class/net" in command]
    assert ["192.168.213.1/24" in each for each in given] == [True, False]
    assert "192.168.213.2/24" in given[1]


@pytest.mark.usefixtures("jobs")
def test_a_machine_that_does_not_join_ends_the_build(wired: Project) -> None:
    no_card = Result(command="", exited=1, stderr="no card 52:54:00:00:00:00\n")
    wired.box.answer("*/sys/class/net*", no_card)
    outcome = wired.build(test=True)
    error = outcome.errors["web@here"]
    assert isinstance(error, SmokeError)
    assert error.what == "the machine web does not take its address on the tests' private network"
    assert "no card" in error.why
    assert not any(resource.kind == "machine" for resource in wired.driver.there.values())


@pytest.mark.usefixtures("jobs")
def test_a_verdict_holds_as_long_as_the_other_images_are_the_same(wired: Project) -> None:
    wired.build(test=True)
    wired.driver.asked.clear()
    wired.build(test=True)
    assert wired.driver.verbs("launch", "test") == []
    more = "@bakery.task\ndef more(m): ...\n\n@bakery.test"  # of the other image alone
    wired.write(IMAGE.format(nodes="[db], tasks=[]").replace("@bakery.test", more), HEAD)
    wired.driver.asked.clear()
    wired.build(test=True)
    assert wired.driver.asked.count("test") == 2
    assert len(wired.driver.verbs("capture")) == 1


def test_an_image_that_is_needed_and_not_there_is_named(wired: Project) -> None:
    run = wired.run()
    with pytest.raises(PreflightError, match="web@here is tested beside db@here, of which no image") as raised:
        node_images(run.jobs["web@here"].build, run.state)
    assert raised.value.hint == "bake build db"


def test_its_tests_take_the_room_of_all_machines(wired: Project) -> None:
    needs: dict[str, Any] = {}
    for nodes in ("[]", "[db]", '{"a": db, "b": db}'):
        wired.write(IMAGE.format(nodes=nodes), HEAD)
        run = wired.run(test=True)
        needs[nodes] = needs_of(run, run.jobs["web@here"].build).memory >> 30
    assert needs == {"[]": 1, "[db]": 2, '{"a": db, "b": db}': 3}
