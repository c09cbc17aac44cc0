"""Ansible inside the machine: verdicts, messages, secrets, what it reads, and that nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.events import Event, ItemApplied, Output
from bakery.machine.machine import Machine
from bakery.provision import ansible_local
from bakery.provision.ansible_local_play import VERSION
from bakery.provision.guest_python import PythonNeeds, environment
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes
from tests.live.provision.conftest import Container

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(1800)]
Write = Callable[[str, str], Path]
ROLE = """
- name: write it
  template: {src: t.j2, dest: /etc/t.conf, mode: "0644"}
- name: hand it over
  copy: {content: "{{ token }} {{ level }} {{ colour }}", dest: /etc/token, mode: "0600"}
- name: as another
  copy: {content: x, dest: /var/games/x, mode: "0600"}
  become: true
  become_user: games
  become_method: su
  become_flags: -s /bin/sh
- name: foreseen
  command: "false"
  ignore_errors: true
"""


@pytest.fixture(scope="module")
def installed(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Have an ansible-playbook for all tests: installing it takes longer than all of them."""
    root = container.machine(tmp_path_factory.mktemp("ansible"), [])
    with environment(root, PythonNeeds.of(VERSION, None)) as programs:
        root.run(f"ln -sf {programs}/ansible-playbook {programs}/ansible-galaxy /usr/local/bin")
        yield {"install": None}
        root.run("rm /usr/local/bin/ansible-*")


def test_a_play_its_events_and_what_it_reads(
    m: Machine, write: Write, installed: dict[str, Any], tmp_path: Path, events: list[Event]
) -> None:
    write("site.yml", "- {name: site, hosts: web, roles: [web]}\n")
    write("roles/web/tasks/main.yml", ROLE)
    write("roles/web/templates/t.j2", "I am {{ inventory_hostname }}\n")
    write("roles/unused/tasks/main.yml", "- debug: {}\n")
    write("group_vars/web.yml", "level: 7\n")
    write("hosts.ini", "[web:vars]\ncolour=red\n[web]\none\ntwo\n")
    write("notes.txt", "not Ansible's")
    m.run("mkdir -p /var/games && chown games /var/games && rm -f /var/games/x")

    def apply() -> list[str]:
        with collected_changes() as changes:
            token = {"token": Secret("hunter22")}
            ansible_local(
                m, "site.yml", inventory="hosts.ini", groups=["web"], host="one", extra_vars=token, **installed
            )
        return changes

    with Tracer(tmp_path) as tracer:
        assert apply() == ["ansible: web : write it", "ansible: web : hand it over", "ansible: web : as another"]
    assert m.run("cat /etc/token /etc/t.conf; stat -c %U /var/games/x", hide=True).stdout == (
        "hunter22 7 redI am one\ngames\n"
    )
    told = [event for event in events if isinstance(event, ItemApplied)]
    assert told[1].location == f"{tmp_path}/roles/web/tasks/main.yml:2"
    read = {name.removeprefix(f"{tmp_path}/") for kind, name in tracer.read if kind == "file" and Path(name).is_file()}
    assert {"site.yml", "roles/web/tasks/main.yml", "roles/web/templates/t.j2", "group_vars/web.yml"} <= read
    assert "hosts.ini" in read
    assert not any("unused" in name or "notes" in name for name in read)
    assert tracer.problems == []
    assert "hunter22" not in "\n".join(event.text for event in events if isinstance(event, Output))
    left = "ls -dA /root/.ansible /tmp/.bakery-* /tmp/*ansible* /var/tmp/*ansible* /var/games/.ansible"
    assert m.run(left, warn=True, hide=True).stdout == ""
    assert apply() == []


FAULTS = {
    "a task": ("command: sh -c 'echo why >&2; exit 3'", "task 'bad' failed", "stderr: why", "site.yml:4"),
    "a module": ("no_such_module:", "no_such_module", "", "site.yml:4"),
    "a variable": ("debug: {msg: '{{ gone }}'}", "task 'bad' failed", "'gone' is undefined", "site.yml:4"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_with_the_plays_file_and_line(
    m: Machine, write: Write, installed: dict[str, Any], fault: str
) -> None:
    text, what, why, where = FAULTS[fault]
    file = write("site.yml", f"- hosts: all\n  gather_facts: false\n  tasks:\n  - name: bad\n    {text}\n")
    with pytest.raises(TaskError) as caught:
        ansible_local(m, "site.yml", **installed)
    error = caught.value
    assert what in error.what
    assert why in error.why
    assert f"{error.where.file}:{error.where.line}" == f"{file.parent}/{where}"  # type: ignore[union-attr]  # seen at once
    assert "/tmp/.bakery" not in str(error)
    assert m.run("ls -A /tmp | grep -c bakery", warn=True, hide=True).stdout == "0\n"


def test_a_play_that_ran_nothing_is_a_failure(m: Machine, write: Write, installed: dict[str, Any]) -> None:
    write("site.yml", "- {hosts: web, tasks: [{debug: {}}]}\n")
    with pytest.raises(TaskError, match="ran nothing"):
        ansible_local(m, "site.yml", **installed)
    with pytest.raises(TaskError, match="there is no playbook"):
        ansible_local(m, "gone.yml", **installed)


def test_vaults_configuration_and_requirements_go_along(
    m: Machine, write: Write, installed: dict[str, Any], tmp_path: Path
) -> None:
    write("play/ansible.cfg", "[defaults]\nroles_path = ../shared\n")
    write("shared/app/tasks/main.yml", '- copy: {content: "{{ word }}", dest: /etc/word, mode: "0600"}\n')
    write("play/site.yml", "- {hosts: all, gather_facts: false, roles: [app, dep]}\n")
    write("play/dep/tasks/main.yml", '- command: "true"\n')
    write("play/dep/meta/main.yml", "galaxy_info: {author: x, description: x, license: x, min_ansible_version: '2'}\n")
    subprocess.run(["tar", "-czf", "dep.tar.gz", "dep"], cwd=tmp_path / "play", check=True)
    write("requirements.yml", "roles:\n- {name: dep, src: play/dep.tar.gz}\n")
    write("vars.yml", "word: hunter22\n")
    write("password", "pass\n")
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    encrypt = ["ansible-vault", "encrypt", "--vault-password-file", "password", "vars.yml"]
    subprocess.run(encrypt, check=True, capture_output=True, cwd=tmp_path, env=here)
    words: dict[str, Any] = {"tree": ".", "vars_files": "vars.yml", "requirements": "requirements.yml", **installed}
    with pytest.raises(TaskError, match=r"(?i)vault|decrypt"):
        ansible_local(m, "play/site.yml", **words)
    words["vault"] = {"default": Secret("pass"), "other": "password"}
    assert len(ansible_local(m, "play/site.yml", **words).changed) == 2
    assert m.run("cat /etc/word", hide=True).stdout == "hunter22"
    (tmp_path / "play/dep.tar.gz").unlink()
    with pytest.raises(TaskError, match=r"ansible-galaxy cannot install what requirements\.yml names"):
        ansible_local(m, "play/site.yml", **words)


def test_what_was_installed_for_the_run_is_gone_after_it(m: Machine, write: Write) -> None:
    write("site.yml", '- {hosts: all, tasks: [{command: "true"}]}\n')
    m.run("apt-get purge --yes --auto-remove python3-venv", hide=True)
    before = m.run("dpkg-query -W; ls -A /tmp /var/tmp /root", hide=True).stdout
    assert ansible_local(m, "site.yml").changed
    assert m.run("dpkg-query -W; ls -A /tmp /var/tmp /root", hide=True).stdout == before
