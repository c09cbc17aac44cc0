"""What starts Ansible for us, by itself: no machine is needed for a play on this host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bakery.provision.ansible_events import Told, listening
from bakery.provision.ansible_host import LAUNCHER

ansible = pytest.importorskip("ansible")
pytest.importorskip("ansible.module_utils")
STARTER = """
import os, socket, subprocess, sys, threading
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
threading.Thread(target=lambda: [None for _ in iter(lambda: ours.recv(1 << 20), b"end")], daemon=True).start()
env = {**os.environ, "BAKERY_EVENTS_FD": str(theirs.fileno()), "BAKERY_FOLDER": sys.argv[2], "LC_ALL": "C.UTF-8"}
words = [sys.executable, "-B", sys.argv[1], "playbook", "-i", "localhost,", "-c", "local", sys.argv[3]]
words += ["-e", f"ansible_python_interpreter={sys.executable}"]
subprocess.run(words, env=env, pass_fds=[theirs.fileno()], start_new_session=True)
"""
PLAY = "- hosts: all\n  gather_facts: false\n  tasks: [{{shell: 'touch {}; exec sleep 297'}}]\n"


def sleepers() -> set[int]:
    return {one.pid for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "297"]}


def test_a_play_ends_with_whoever_started_it(tmp_path: Path) -> None:
    begun, folder, play = tmp_path / "begun", tmp_path / "folder", tmp_path / "site.yml"
    folder.mkdir()
    play.write_text(PLAY.format(begun))
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, LAUNCHER, folder, play],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "home")},
    )
    deadline = time.monotonic() + 120
    try:
        while not (begun.exists() and sleepers()):
            assert time.monotonic() < deadline
            assert starter.poll() is None
            time.sleep(0.05)
    finally:
        starter.kill()
        starter.wait()
    while sleepers() or folder.exists():
        assert time.monotonic() < deadline, "the play goes on, and nobody hears of it"
        time.sleep(0.05)


LOOP = "- hosts: all\n  gather_facts: false\n  tasks: [{command: 'test {{ item }} = a', loop: [a, b]}]\n"


def run(tmp_path: Path, play: str = LOOP, **env: str) -> None:
    (tmp_path / "loop.yml").write_text(play)
    words = [sys.executable, "-B", str(LAUNCHER), "playbook", "-i", "localhost,", "-c", "local"]
    own = {"ANSIBLE_HOME": str(tmp_path / "home"), "BAKERY_FOLDER": str(tmp_path / "folder"), "LC_ALL": "C.UTF-8"}
    subprocess.run(
        [*words, "-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "loop.yml")],
        env={**os.environ, **own, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[int(env["BAKERY_EVENTS_FD"])] if "BAKERY_EVENTS_FD" in env else [],
        check=False,
    )


def test_a_loop_tells_which_item_failed_and_its_own_files_are_not_told_of(tmp_path: Path) -> None:
    ignored = json.dumps([f"{Path(sys.prefix)}/", f"{Path(sys.base_prefix)}/", "/usr/", "/proc/"])
    with listening(lambda _: None) as (descriptor, told):
        run(tmp_path, BAKERY_EVENTS_FD=str(descriptor), BAKERY_NOT_INPUTS=ignored)
    (item,) = told.items
    first = item.text.splitlines()[0]
    assert re.fullmatch(r"item b: .*non-zero return code\.?", first), "ansible-core 2.20 says it in a sentence"
    read = {name for _, name in told.read}
    assert str(tmp_path / "loop.yml") in read
    assert not [name for name in read if name.startswith((f"{Path(sys.prefix)}/", "/proc/"))]


def test_on_the_machine_itself_it_writes_to_a_file(tmp_path: Path) -> None:
    run(tmp_path, BAKERY_EVENTS_FILE=str(tmp_path / "events"))
    told = Told()
    for line in (tmp_path / "events").read_text().splitlines():
        told.take(json.loads(line))
    assert [item.outcome for item in told.items] == ["failed"]
    assert told.stats["localhost"]["failures"] == 1
    assert told.read == []


MINE = """
from ansible.module_utils import basic{more}
m = basic.AnsibleModule(argument_spec={{}})
m.fail_json(msg=getattr(basic, "MARK", "of the archive") + {mark})
"""


@pytest.mark.parametrize(
    ("place", "override", "said"),
    [
        ("there", False, "of the folder"),
        ("gone", False, "of the archive"),
        ("there", True, "of the archive, api of the project"),
    ],
)
def test_modules_find_ansibles_library_in_the_folder_where_it_is_the_same(
    tmp_path: Path, place: str, override: bool, said: str
) -> None:
    library = Path(ansible.module_utils.__file__).parent
    shutil.copytree(library, tmp_path / "there", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "there/basic.py").open("a") as basic:
        basic.write("\nMARK = 'of the folder'\n")
    mark, more = ("', api ' + api.MARK", ", api") if override else ("''", "")
    (tmp_path / "library").mkdir()
    (tmp_path / "library/mine.py").write_text(MINE.format(mark=mark, more=more))
    if override:  # a project may replace parts of Ansible's library
        (tmp_path / "module_utils").mkdir()
        (tmp_path / "module_utils/api.py").write_text("MARK = 'of the project'\n")
    with listening(lambda _: None) as (descriptor, told):
        play = "- {hosts: all, gather_facts: false, tasks: [{mine: }]}\n"
        run(tmp_path, play, BAKERY_EVENTS_FD=str(descriptor), BAKERY_MODULE_UTILS=str(tmp_path / place))
    assert [item.text for item in told.items] == [said]
    assert told.module_utils == str(library)
