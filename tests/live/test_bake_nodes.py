"""Images that are tested beside others, and after a reboot: tiny guests on one private network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakery.state.project import cache_folder
from tests.live.baking import TINY, Project, clean, is_kept, shared

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(1800)]

TESTS = """
@bakery.test
def db_answers(hosts, host):
    hosts["db"].run("(while true; do cat /root/hello | nc -l -p 5432; done) </dev/null >/dev/null 2>&1 &")
    assert hosts["web"] is host
    assert host.run("ping -c 1 -W 20 db").rc == 0
    assert host.check_output("nc -w 20 db 5432 </dev/null") == "hello"
    assert hosts["db"].file("/root/hello").contains("hello")
    assert not hosts["db"].file("/root/web").exists


@bakery.test(reboot=True)
def keeps(host, hosts, rebooted):
    host.run("echo " + str(rebooted) + " >>/root/boots")
    assert host.file("/root/boots").content_string == ("False\\nTrue\\n" if rebooted else "False\\n")
    assert host.run("ping -c 1 -W 20 db").rc == 0


@bakery.task
def is_web(m):
    m.run("echo web >/root/web")


@bakery.image(builtin_tests=False, tasks=[hello], tests=[said_hello])
def db(): ...


@bakery.image(builtin_tests=["survives_reboot"], tasks=[hello, is_web], tests=[db_answers, keeps], nodes=[db])
def web(): ...
"""
IMAGEFILE = TINY[: TINY.index("@bakery.image")] + TESTS


@pytest.fixture
def place(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project", shared(cache_folder(os.environ), tmp_path / "cache"), {})
    made.write(IMAGEFILE)
    return made


def test_a_machine_reaches_another_by_its_name_also_after_a_reboot(place: Project) -> None:
    clean(place.bake("build", "web", timeout=900), 0)
    passed = [event["test"] for event in place.events() if event.get("outcome") == "passed" and "test" in event]
    assert passed == ["said_hello", "db_answers", "keeps", "survives_reboot after a reboot", "keeps after a reboot"]
    assert not [thing for thing in place.left() if not is_kept(place)(thing)]
    clean(place.bake("build", "web"), 0)
    assert [event["outcome"] for event in place.events() if event["type"] == "build-ended"] == ["cached", "cached"]
    clean(place.bake("test", "web", "--clones", "2", timeout=900), 0)
