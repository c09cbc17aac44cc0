"""`idempotent=True` on a real machine: a plain task's second run changes no file, or fails with what it changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bakery.build.idempotence import run_twice
from bakery.errors import TaskError
from bakery.machine.machine import Machine
from bakery.provision import ansible, puppet

pytestmark = pytest.mark.live
Write = Callable[[str, str], Path]


def test_a_plain_task_that_writes_the_same_twice_is_idempotent(m: Machine) -> None:
    def task() -> None:
        m.write("/etc/same", "same\n", mode=0o640)
        m.run("mkdir -p /srv/idempotent && ln -sfn /etc/same /srv/idempotent/link && date >/tmp/does-not-count")

    run_twice(m, task)


def test_each_file_that_differs_after_the_second_run_is_named(m: Machine) -> None:
    def task() -> None:
        m.run("date +%N >/etc/differs; echo line >>/etc/grows; touch /srv/new-$(date +%N)")
        m.run("chmod 600 /etc/grows; test ! -e /etc/mode || chmod 600 /etc/mode; touch /etc/mode")

    m.run("rm -f /etc/differs /etc/grows /etc/mode /srv/new-*")
    with pytest.raises(TaskError, match="it is not idempotent: a second run changed 4 things") as caught:
        run_twice(m, task)
    said = caught.value.why.splitlines()
    assert said[:3] == [
        "/etc/differs: content",
        "/etc/grows: content",
        "/etc/mode: mode or owner, 644 0:0 to 600 0:0",
    ]
    assert said[3].startswith("/srv/new-")
    assert said[3].endswith(": written")


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
  - {name: same, copy: {content: x, dest: /etc/by-play, mode: "0644"}}
  - {name: again, command: "true"}
"""


def test_a_play_whose_task_changes_something_again_fails_with_its_name(m: Machine, write: Write) -> None:
    pytest.importorskip("ansible")
    m.run("apt-get install --yes --no-install-recommends python3", hide=True)
    write("site.yml", PLAY)
    with pytest.raises(TaskError, match="it is not idempotent: a second run changed 1 thing") as caught:
        run_twice(m, lambda: ansible(m, "site.yml"))
    assert caught.value.why == "ansible: again"


@pytest.mark.all
def test_a_manifest_whose_resource_changes_something_again_fails_with_its_name(m: Machine, write: Write) -> None:
    write("site.pp", "file { '/etc/by-manifest': content => 'x' }\nexec { '/bin/true': }\n")
    with pytest.raises(TaskError, match="it is not idempotent: a second run changed 1 thing") as caught:
        run_twice(m, lambda: puppet(m, "site.pp", keep=True))
    assert caught.value.why == "puppet: Exec[/bin/true]"
