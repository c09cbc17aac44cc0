"""A suite whose machine changes under it passes the first time, again with what it asked then, and in workers."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.live.smoke import both_ways
from tests.live.smoke.conftest import Machine

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

SUITE = """
import time

import pytest


@pytest.fixture(scope="module")
def folder(host):
    path = host.check_output("mktemp -d")
    yield path
    host.run("rm -r %s", path)


def test_a_file_that_a_command_changes(host, folder):
    for text in ("", "a", "ab"):
        host.run("printf %s >" + folder + "/changed", text)
        assert host.file(folder + "/changed").size == len(text)
        assert host.file(folder + "/changed").content_string == text


@pytest.mark.parametrize("number", range(4))
def test_the_same_file_changes_with_each_case(host, folder, number):
    assert host.file("/etc/passwd").exists
    host.run("mkdir -p %s/each; touch %s/each/%s", folder, folder, str(number))
    assert str(number) in host.file(folder + "/each").listdir()
    assert not host.file(folder + "/each/none").exists


def test_a_file_that_changes_by_itself(host, folder):
    ticks = "n=0; until [ -e stop ] || [ $n = 600 ]; do n=$((n+1)); echo $n >new; mv new ticks; sleep 0.1; done"
    host.run("cd " + folder + "; (" + ticks + ") >/dev/null 2>&1 &")
    file, seen, end = host.file(folder + "/ticks"), [], time.monotonic() + 60
    while len(set(seen)) < 3 and time.monotonic() < end:
        if file.exists:
            seen.append(int(file.content_string))
    host.run("touch " + folder + "/stop")
    assert len(set(seen)) == 3
    assert seen == sorted(seen)


def test_what_is_there_after_a_sleep(host, folder):
    host.run("(sleep 0.5; touch %s/late) >/dev/null 2>&1 &", folder)
    assert host.file("/etc/passwd").user == "root"
    time.sleep(2)
    assert host.file(folder + "/late").exists


def test_what_a_command_in_the_background_makes_is_seen_once_it_is_there(host, folder):
    for name in ("first", "second"):
        host.run("(sleep 0.3; touch " + folder + "/" + name + ") >/dev/null 2>&1 &")
        end = time.monotonic() + 60
        while not host.file(folder + "/" + name).exists and time.monotonic() < end:
            assert host.file("/etc/passwd").exists
        assert host.file(folder + "/" + name).is_file


@pytest.mark.parametrize("name", ["root", "daemon", "nobody"])
def test_a_user(host, name):
    assert host.user(name).exists
    assert host.user(name).name == name
"""


def test_no_answer_is_older_than_a_plain_runs(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "test_changes.py").write_text(textwrap.dedent(SUITE))
    runs = [
        both_ways.ours(tmp_path, *machine, ["suite"], arguments, work=tmp_path)[1]
        for arguments in ([], [], ["-p", "xdist", "-n", "2"], ["-k", "user or case"])
    ]
    assert [{test: end for test, end in run.items() if end != "passed"} for run in runs] == [{}] * 4
    assert len(runs[0]) == len(runs[1]) == len(runs[2]) == 11
