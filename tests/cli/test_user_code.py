"""What users write, seen from outside: the exit code of its family, its file and line, no image without its tasks."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import Done, Place

HEAD = """
import asyncio
import sys
import threading

import click
import pytest

import bakery
from bakery.testing.folder.driver import Folder


@bakery.source
def here() -> Folder:
    return Folder(cloud="cloud")


async def work():
    pass


def boom():
    raise ValueError("boom")


def leave(way):
    if way == "exit":
        sys.exit(0)
    if way == "thread":
        threading.Thread(target=boom).start()
    if way == "interrupt":
        raise KeyboardInterrupt
    if way == "skip":
        pytest.exit("enough")
    if way == "dropped":
        work()
    if way == "cancelled":
        raise asyncio.CancelledError


"""
WAYS = ("exit", "thread", "interrupt", "skip", "dropped", "cancelled")


def events(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()]


def failures(done: Done) -> dict[str, dict[str, Any]]:
    return {event["build"]: event for event in events(done) if event["type"] == "failed"}


def line_of(place: Place, text: str) -> int:
    lines = (place.folder / "imagefile.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


FAMILIES = """
def make_{kind}(way):
    @bakery.{kind}(name=f"leave by {{way}}")
    def step(subject):
        leave(way)

    @bakery.image(tasks=[step] if "{kind}" == "task" else [], tests=[], post=[step] if "{kind}" == "post" else [],
                  builtin_tests=False)
    def image():
        return f"{kind}-{{way}}"

    return image


for way in {ways!r}:
    globals()[f"{kind}_{{way}}"] = make_{kind}(way)
"""


@pytest.mark.parametrize(("kind", "code", "kept"), [("task", 7, 0), ("post", 9, len(WAYS))])
def test_whatever_leaves_a_task_or_a_post_step_is_its_failure(empty: Place, kind: str, code: int, kept: int) -> None:
    empty.write(HEAD + FAMILIES.format(kind=kind, ways=WAYS))
    done = empty.shell("build", "--no-test", "--format", "json")
    assert done.code == code, done.err
    told = failures(done)
    assert sorted(told) == sorted(f"{kind}_{way}@here" for way in WAYS)
    for build, event in told.items():
        assert event["exit_code"] == code
        assert re.fullmatch(r"imagefile\.py:\d+", event["location"]), event
        assert f"leave by {build.partition('@')[0].partition('_')[2]}" in event["what"]
    assert told[f"{kind}_exit@here"]["location"] == f"imagefile.py:{line_of(empty, 'sys.exit(0)')}"
    assert "defect" not in done.out + done.err
    catalogue = empty.folder / ".bakery/catalogue.json"
    assert (len(json.loads(catalogue.read_text())["images"]) if catalogue.exists() else 0) == kept
    assert not [*empty.folder.glob("cloud/machines/*")]


TESTS = """
def make_test(way):
    @bakery.test(name=f"leave by {{way}}")
    def check(host):
        leave(way)

    return check


@bakery.test
def says_no(host):
    return host.file("/etc").exists


@bakery.test(name="a good one: [x] #2")
def good(tmp_path, host, request, shared, monkeypatch):
    assert request.node.name == "a good one: [x] #2"
    assert (host.file("/etc").exists, shared) == (True, "from conftest")


class Words:
    def __call__(self, host):
        assert host.file("/etc/os-release").exists or host.file("/etc").exists


words = bakery.test(Words())


@pytest.fixture
def leaving():
    pytest.exit("enough")


@bakery.test
def by_fixture(host, leaving):
    pass


@bakery.image(tests=[*map(make_test, {ways!r}), says_no, by_fixture, good, words], builtin_tests=False)
def web(): ...
"""


def test_whatever_leaves_a_test_is_that_tests_failure_and_the_others_run(empty: Place) -> None:
    empty.write(HEAD + TESTS.format(ways=WAYS))
    empty.write("import pytest\n\n\n@pytest.fixture\ndef shared():\n    return 'from conftest'\n", "conftest.py")
    done = empty.shell("build", "--format", "json")
    ended = {event["test"]: event for event in events(done) if event["type"] == "test-ended"}
    bad = {*(f"leave by {way}" for way in WAYS), "says_no", "by_fixture"}
    assert {name for name, event in ended.items() if event["outcome"] in ("failed", "error")} == bad
    assert {name for name, event in ended.items() if event["outcome"] == "passed"} == {"a good one: [x] #2", "words"}
    assert ended["leave by exit"]["location"] == f"imagefile.py:{line_of(empty, 'sys.exit(0)')}"
    assert ended["leave by thread"]["location"] == f"imagefile.py:{line_of(empty, 'ValueError')}"
    assert all(event["location"].startswith("imagefile.py:") for event in ended.values())
    assert done.code == 8
    assert not (empty.folder / ".bakery/catalogue.json").exists()


def test_an_argument_that_is_no_fixture_is_told(empty: Place) -> None:
    empty.write(HEAD + "@bakery.test\ndef works(host, mocker): ...\n")
    done = empty.shell("build")
    assert done.code == 8
    assert "argument mocker, and there is no fixture of that name" in done.err
    assert "defect" not in done.err


def test_a_conftest_that_does_not_import_is_told(empty: Place) -> None:
    empty.write(HEAD + "@bakery.test\ndef works(host, client): ...\n")
    fixture = "import sys\nimport pytest\n@pytest.fixture(name='client')\ndef made(): return 1\n"
    empty.write(fixture + "sys.exit(0)\n", "conftest.py")
    done = empty.shell("build")
    assert done.code == 8
    assert "conftest.py:5" in done.err
    assert "conftest.py calls sys.exit(0) on import" in done.err


@pytest.mark.parametrize("where", ["module", "source"])
def test_a_ctrl_c_while_the_imagefile_is_read_is_an_interrupt(empty: Place, where: str) -> None:
    wait = "import time\n\n\ndef wait():\n    open('waiting', 'w').close()\n    time.sleep(60)\n\n\n"
    use = "wait()\n" if where == "module" else "@bakery.source\ndef slow():\n    wait()\n"
    empty.write(HEAD + wait + use)
    process = subprocess.Popen(
        [sys.executable, "-m", "bakery", "plan"], cwd=empty.folder, stderr=subprocess.PIPE, text=True
    )
    while not (empty.folder / "waiting").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=30)[1]
    assert process.returncode == 130, told
    assert "interrupted" in told


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("builtin_tests=['clock_is_write']", "no built-in test is called clock_is_write"),
        ("seal=False", "seal=False of image web"),
        ("hygiene='no'", "hygiene='no' of image web"),
    ],
)
def test_an_option_that_a_later_phase_reads_is_looked_at_first(empty: Place, option: str, words: str) -> None:
    empty.write(HEAD + f"@bakery.image({option})\ndef web(): ...\n")
    done = empty.bake("list")
    assert (done.code, done.out) == (3, "")
    assert words in done.err
    assert "imagefile.py:" in done.err


LATE = """
import atexit
import os

atexit.register(lambda: os._exit(0))


@bakery.task
def forks(m):
    if os.fork() == 0:
        sys.exit(0)
    assert os.wait()[1] == 0


@bakery.task
def works(m):
    {work}
"""


@pytest.mark.parametrize(
    ("work", "code", "words"),
    [
        ("m.run('false')", 7, "`false` ended with exit code 1"),
        ("m.run('cat', input=Ends())", 7, "calls sys.exit(0)"),
        ("asyncio.run(loses())", 7, "raises ValueError"),
    ],
)
def test_what_the_users_code_leaves_behind_does_not_decide_how_bake_ends(
    empty: Place, work: str, code: int, words: str
) -> None:
    more = "class Ends:\n    def read(self, size=-1):\n        sys.exit(0)\n\n\nasync def fails():\n    boom()\n\n\n"
    more += "async def loses():\n    asyncio.create_task(fails())\n    await asyncio.sleep(0)\n\n\n"
    empty.write(HEAD + more + LATE.format(work=work))
    done = empty.shell("build", "--no-test")
    assert (done.code, words in done.err) == (code, True), done.err
    assert "defect" not in done.err
    assert not [*empty.folder.glob("cloud/machines/*")]


def test_a_misspelt_task_to_refresh_is_refused(empty: Place) -> None:
    empty.write(HEAD + "@bakery.task(name='install nginx')\ndef nginx(m): ...\n")
    done = empty.bake("build", "--refresh-task", "install ngimx")
    assert done.code == 2
    assert "did you mean install nginx?" in done.err
    assert empty.bake("build", "--refresh-task", "nothing").code == 2


def test_two_imagefiles_of_a_folder_do_not_take_each_others_images(empty: Place) -> None:
    empty.write(HEAD + "@bakery.task\ndef a(m):\n    m.write('/a', 'a')\n", "a.py")
    empty.write(HEAD + "@bakery.task\ndef b(m):\n    m.write('/b', 'b')\n", "b.py")
    assert empty.bake("-f", "a.py", "build", "--no-test").code == 0
    assert empty.bake("-f", "a.py", "build", "--no-test", "--no-cache").code == 0
    done = empty.bake("-f", "b.py", "build", "--no-test")
    assert done.code == 4
    assert "a.py in this folder has made an image project" in done.err
    Path("a.py").rename("c.py")
    assert empty.bake("-f", "b.py", "build", "--no-test").code == 0


def test_the_image_of_an_imagefile_that_was_moved_is_not_taken_by_another(empty: Place) -> None:
    empty.write(HEAD + "@bakery.task\ndef a(m):\n    m.write('/a', 'a')\n", "a.py")
    empty.write(HEAD + "@bakery.task\ndef b(m):\n    m.write('/b', 'b')\n", "b.py")
    assert empty.bake("-f", "a.py", "build", "--no-test").code == 0
    (empty.folder / "a.py").rename(empty.folder / "c.py")
    assert empty.bake("-f", "c.py", "build", "--no-test").code == 0
    done = empty.bake("-f", "b.py", "build", "--no-test")
    assert (done.code, "c.py in this folder has made" in done.err) == (4, True), done.err


def test_steps_of_any_kind_are_cached(empty: Place) -> None:
    text = """
import functools


def write(m, path, text):
    m.write(path, text)


class Site:
    def __init__(self, text):
        self.text = text

    def __call__(self, m):
        m.write("/object", self.text)

    def method(self, m):
        m.write("/method", self.text)


partial = bakery.task(functools.partial(write, path="/partial", text="x"))
thing = bakery.task(Site("x"))
method = bakery.task(Site("x").method)
line = bakery.task(name="one line")(lambda m: m.write("/lambda", "x"))
"""
    empty.write(HEAD + text)
    assert empty.bake("build", "--no-test").code == 0
    done = empty.bake("build", "--no-test", "--format", "json")
    (ended,) = [event for event in events(done) if event["type"] == "build-ended"]
    assert ended["outcome"] == "cached", done.err
    empty.write(HEAD + "\n\n# two lines further down\n" + text)
    done = empty.bake("build", "--no-test", "--format", "json")
    assert [event["outcome"] for event in events(done) if event["type"] == "build-ended"] == ["cached"]
    empty.write(HEAD + text.replace('Site("x").method', 'Site("y").method'))
    done = empty.bake("plan", "--json")
    assert done.code == 0
    assert [step["name"] for step in json.loads(done.out)["builds"][0]["steps"]] == [
        "partial",
        "thing",
        "method",
        "one line",
    ]
    done = empty.bake("build", "--no-test", "--format", "json")
    (ended,) = [event for event in events(done) if event["type"] == "build-ended"]
    assert ended["outcome"] == "ok"
