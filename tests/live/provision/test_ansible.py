"""Ansible from PyPI, in a container without sshd and over SSH: verdicts, messages, secrets, and what it reads.

BAKERY_TEST_ANSIBLE names the ansible-playbook of another version; without it, it is the one beside this Python.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.events import Event, ItemApplied, Output
from bakery.machine.machine import Machine
from bakery.provision import ansible as ansible_of_users
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes

pytest.importorskip("ansible")
pytestmark = pytest.mark.live
Write = Callable[[str, str], Path]
ansible = partial(ansible_of_users, program=os.environ.get("BAKERY_TEST_ANSIBLE", ""))
ROLE = """
- name: write it
  template: {src: t.j2, dest: /etc/t.conf, mode: "0644"}
- name: hand it over
  copy: {content: "{{ token }} {{ level }} {{ lookup('env', 'FLAVOUR') }}", dest: /etc/token, mode: "0600"}
- name: not here
  command: "false"
  when: false
- name: foreseen
  command: "false"
  ignore_errors: true
- block: [{command: "false"}]
  rescue: [{debug: {msg: rescued}}]
"""


def play(tasks: str, hosts: str = "all", more: str = "") -> str:
    return f"- hosts: {hosts}\n  gather_facts: false\n{more}  tasks: {tasks}\n"


@pytest.fixture
def site(write: Write) -> None:
    write("site.yml", "- {name: site, hosts: web, gather_facts: false, roles: [web]}\n- {hosts: db, tasks: []}\n")
    write("roles/web/tasks/main.yml", ROLE)
    write("roles/web/templates/t.j2", "I am {{ inventory_hostname }}\n")
    write("roles/unused/tasks/main.yml", "- debug: {}\n")
    write("group_vars/web.yml", "level: 7\n")


@pytest.mark.usefixtures("site")
def test_a_play_its_events_and_what_it_reads(
    m: Machine,
    tmp_path: Path,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    plays: Callable[[], list[Path]],
) -> None:
    monkeypatch.setenv("FLAVOUR", "plain")
    monkeypatch.setenv("ANSIBLE_STRATEGY", "no-such-strategy")  # the user's own settings are not the project's
    with Tracer(tmp_path) as tracer, collected_changes() as changes:
        done = ansible(m, "site.yml", groups=["web"], host="one", extra_vars={"token": Secret("hunter22")})
    assert m.run("cat /etc/token /etc/t.conf", hide=True).stdout == "hunter22 7 plainI am one\n"
    assert [(item.name, item.outcome) for item in done.items] == [
        ("web : write it", "changed"),
        ("web : hand it over", "changed"),
        ("web : not here", "skipped"),
        ("web : foreseen", "ignored"),
        ("web : command", "ignored"),
        ("web : debug", "ok"),
    ]
    told = [event for event in events if isinstance(event, ItemApplied)]
    assert [event.item for event in told] == [item.name for item in done.items]
    assert told[0].location == f"{tmp_path}/roles/web/tasks/main.yml:2"
    assert changes == ["ansible: web : write it", "ansible: web : hand it over"]
    read = {name.removeprefix(f"{tmp_path}/") for _, name in tracer.read if Path(name).is_file()}
    assert {"site.yml", "roles/web/tasks/main.yml", "roles/web/templates/t.j2", "group_vars/web.yml"} <= read
    assert not any("unused" in name for name in read)
    assert ("env", "FLAVOUR") in tracer.read
    assert (tracer.problems, tracer.left_behind()) == ([], [])
    said = "\n".join(event.text for event in events if isinstance(event, Output))
    assert "PLAY RECAP" in said
    assert "hunter22" not in said
    assert m.run("ls -A /root/.ansible /tmp | grep -i -e ansible -e bakery", warn=True, hide=True).stdout == ""
    assert plays() == []
    with collected_changes() as changes:
        ansible(m, "site.yml", groups=["web"], host="one", extra_vars={"token": Secret("hunter22")})
    assert changes == []


FAULTS: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    "a task that fails": (
        play('\n  - name: first\n    command: "true"\n  - name: bad one\n    command: sh -c "echo why >&2; exit 3"\n'),
        {},
        "site.yml: task 'bad one' failed",
        "\nexit code 3\nstderr: why",
        "site.yml:6",
    ),
    "an item of a loop": (
        play("\n  - name: looped\n    command: test {{ item }} = a\n    loop: [a, b]\n"),
        {},
        "task 'looped' failed",
        r"item b: (.* )?non-zero return code",
        "site.yml:4",
    ),
    "nobody": (
        play('[{command: "true"}]', hosts="web"),
        {},
        "ran nothing",
        "the machine is 'default', in no group",
        "",
    ),
    "a task to start at": (
        play("[{debug: {}}]"),
        {"start_at_task": "instal"},
        "ran nothing",
        "no task is called 'instal'",
        "",
    ),
    "tags": (play("[{debug: {}, tags: [a]}]"), {"tags": ["b"]}, "ran nothing", "no task has the tags", ""),
    "no tasks": ("- hosts: all\n", {}, "ran nothing", "its plays have no tasks", ""),
    "a role": (play("[]", more="  roles: [gone]\n"), {}, "(?i)the role 'gone' was not found", "", "site.yml:3"),
    "syntax": ("- hosts: all\n  tasks:\n  - debug: {\n", {}, "", "", "site.yml:4"),
    "a module": (
        play("\n  - no_such_module:\n"),
        {},
        "couldn't resolve module/action 'no_such_module'",
        "",
        "site.yml:4",
    ),
    "an option": (play("[{debug: {}}]"), {"options": ["--misspelt"]}, "unrecognized arguments: --misspelt", "", ""),
    "a variable": (
        play("\n  - name: say\n    debug: {msg: '{{ gone }}'}\n"),
        {},
        "task 'say' failed",
        "'gone' is undefined",
        "site.yml:4",
    ),
    "no log": (
        play('\n  - name: quiet\n    command: sh -c "echo hunter22; exit 1"\n    no_log: true\n'),
        {},
        "task 'quiet' failed",
        "no_log",
        "site.yml:4",
    ),
    "another host": (
        play("\n  - add_host: {name: away, ansible_host: 127.0.0.1, ansible_port: 9, ansible_connection: ssh}\n")
        + "- hosts: away\n  gather_facts: false\n  tasks:\n  - name: ask\n    raw: hostname\n",
        {},
        "task 'ask' could not reach its host on away",
        "Connection refused",
        "site.yml:9",
    ),
}


SHORT = ("a task that fails", "nobody", "a role")
"""The faults of the bounded form."""


@pytest.mark.parametrize("fault", [f if f in SHORT else pytest.param(f, marks=pytest.mark.all) for f in FAULTS])
def test_what_is_wrong_is_said_with_the_plays_file_and_line(m: Machine, write: Write, fault: str) -> None:
    text, options, what, why, where = FAULTS[fault]
    file = write("site.yml", text)
    with pytest.raises(TaskError) as caught:
        ansible(m, "site.yml", **options)
    error = caught.value
    assert error.exit_code == 7
    assert error.what.startswith("ansible site.yml: ")
    assert re.search(what, error.what)
    assert re.search(why, error.why)
    assert "hunter22" not in str(error)
    assert error.where is not None
    assert f"{error.where.file}:{error.where.line}".endswith(where and f"{file.parent}/{where}")
    assert m.run("ls -A /tmp | grep -c bakery", warn=True, hide=True).stdout == "0\n"


@pytest.mark.all
def test_a_vault_needs_its_password(m: Machine, write: Write) -> None:
    file = write("secret.yml", "word: hunter22\n")
    write("password", "pass\n")
    words = ["ansible-vault", "encrypt", "--vault-password-file", str(file.parent / "password"), str(file)]
    subprocess.run(words, check=True, capture_output=True, env=_path())
    write("site.yml", play('[{copy: {content: "{{ word }}", dest: /etc/word, mode: "0600"}}]'))
    with pytest.raises(TaskError, match=r"(?i)vault") as caught:
        ansible(m, "site.yml", vars_files="secret.yml")
    assert caught.value.hint.startswith("vault=")
    for vault in (Secret("pass"), "password", {"default": Secret("pass")}):
        ansible(m, "site.yml", vars_files="secret.yml", vault=vault)
        assert m.run("cat /etc/word; rm /etc/word", hide=True).stdout == "hunter22"
    with pytest.raises(TaskError, match=r"(?i)decrypt|vault"):
        ansible(m, "site.yml", vars_files="secret.yml", vault=Secret("wrong"))


@pytest.mark.all
def test_the_projects_inventory_gives_variables_and_no_other_host(m: Machine, write: Write, tmp_path: Path) -> None:
    write("hosts.ini", "[web]\none\ntwo ansible_connection=local\n[web:vars]\nlevel=3\n")
    write("ansible.cfg", "[defaults]\nroles_path = shared\n")
    write("shared/app/tasks/main.yml", '- copy: {content: "{{ level }}", dest: /etc/level, mode: "0644"}\n')
    write("site.yml", "- {hosts: web, gather_facts: false, roles: [app]}\n")
    with Tracer(tmp_path) as tracer:
        done = ansible(m, "site.yml", inventory="hosts.ini", host="one")
    assert {item.host for item in done.items} == {"one"}
    assert m.run("cat /etc/level", hide=True).stdout == "3"
    assert {f"{tmp_path}/hosts.ini", f"{tmp_path}/ansible.cfg"} <= {name for _, name in tracer.read}


def test_a_program_on_this_host_is_said_to_be_untraceable(m: Machine, write: Write, tmp_path: Path) -> None:
    write("site.yml", play("[{debug: {msg: \"{{ lookup('pipe', 'echo x') }}\"}}]"))
    with Tracer(tmp_path) as tracer:
        ansible(m, "site.yml")
    assert tracer.problems == ["Ansible runs sh on this host"]


@pytest.mark.all
def test_requirements_of_this_host_need_no_network(m: Machine, write: Write, tmp_path: Path) -> None:
    write("dep/tasks/main.yml", '- command: "true"\n')
    write("dep/meta/main.yml", "galaxy_info: {author: x, description: x, license: x, min_ansible_version: '2.19'}\n")
    subprocess.run(["tar", "-czf", "dep.tar.gz", "dep"], cwd=tmp_path, check=True)
    write("requirements.yml", f"roles:\n- {{name: dep, src: {tmp_path}/dep.tar.gz}}\n")
    write("site.yml", "- {hosts: all, gather_facts: false, roles: [dep]}\n")
    with Tracer(tmp_path) as tracer:
        assert ansible(m, "site.yml", requirements="requirements.yml", offline=True).items
    assert f"{tmp_path}/dep.tar.gz" in {name for _, name in tracer.read}
    (tmp_path / "dep.tar.gz").unlink()
    with pytest.raises(TaskError, match=r"ansible-galaxy cannot install what requirements.yml names"):
        ansible(m, "site.yml", requirements="requirements.yml", offline=True)


@pytest.mark.all
def test_a_time_that_is_over_ends_it(m: Machine, write: Write) -> None:
    write("site.yml", play("\n  - name: long\n    command: sleep 60\n"))
    with pytest.raises(TaskError, match=r"was ended: it ran longer"):
        ansible(m, "site.yml", timeout=5)


def _path() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
