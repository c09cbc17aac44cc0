"""Ansible inside the machine: what is sent, how it is called, and what is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from bakery.errors import TaskError
from bakery.machine.facts import Facts
from bakery.model import Result
from bakery.provision import ansible_local
from bakery.redaction.secret import Secret
from bakery.testing import FakeMachine

FOLDER = "/tmp/.bakery-ansible-x"
RESULT = {
    "type": "result",
    "outcome": "ok",
    "name": "ask",
    "path": f"{FOLDER}/project/site.yml:4",
    "said": {},
    "host": "default",
    "implicit": False,
    "seconds": 1.0,
}
STATS = {"type": "stats", "hosts": {"default": {"failures": 0, "unreachable": 0}}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("site.yml", "roles/web/tasks/main.yml", "group_vars/all.yml", "hosts.ini", "pass", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/secret").write_text("x")
    return tmp_path


def machine(project: Path, *messages: Mapping[str, object], exited: int = 0, said: str = "") -> FakeMachine:
    m = FakeMachine({"*": ""}, folder=project, facts=Facts(package_manager="apt-get"))
    m._alive = lambda: None
    m.answer("mktemp -d /tmp/.bakery-ansible-XXXXXX", f"{FOLDER}\n")
    m.answer("p=*ansible-playbook*", "/usr/bin/python3\n")
    m.answer(f"cat {FOLDER}/own/events", "\n".join(map(json.dumps, messages)) + "\n{cut")
    return m.answer("*launcher.py playbook*", Result(command="", exited=exited, stderr=said))


def test_only_what_ansible_looks_at_is_sent(project: Path) -> None:
    m = machine(project, RESULT, STATS)
    words = {"token": Secret("hunter22")}
    done = ansible_local(
        m, "site.yml", groups=["web"], inventory="hosts.ini", extra_vars=words, vault={"a": "pass"}, install=None
    )
    sent = {path.removeprefix(f"{FOLDER}/") for path in m.files}
    assert {"project/site.yml", "project/roles/web/tasks/main.yml", "project/group_vars/all.yml"} <= sent
    assert {"inventory-0/hosts.ini", "inventory-0/group_vars/all.yml", "vault-0/pass"} <= sent
    assert "own/launcher/callback/bakery_events.py" in sent
    assert not any("git" in name or "notes" in name for name in sent)
    run = next(ran for ran in m.ran if "launcher.py playbook" in ran.command)
    assert run.command == (
        f"/usr/bin/python3 -B {FOLDER}/own/launcher/launcher.py playbook --inventory {FOLDER}/inventory-0/hosts.ini "
        f"--inventory {FOLDER}/own/hosts.json --limit default:localhost --extra-vars @{FOLDER}/own/extra.json "
        f"--vault-id a@{FOLDER}/vault-0/pass {FOLDER}/project/site.yml"
    )
    assert run.env["BAKERY_EVENTS_FILE"] == f"{FOLDER}/own/events"
    assert run.env["ANSIBLE_CONFIG"] == f"{FOLDER}/own/ansible.cfg"
    assert run.env["ANSIBLE_REMOTE_TMP"] == f"{FOLDER}/own/remote/$USER"  # of tasks that become another user
    assert f"mkdir -m 1777 {FOLDER}/own/remote {FOLDER}/own/remote/async" in m.commands
    assert m.files[f"{FOLDER}/own/extra.json"].mode == 0o600
    assert "local" in m.files[f"{FOLDER}/own/hosts.json"].text
    assert done.items[0].location == f"{project}/site.yml:4"
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"


def test_a_tree_is_sent_whole_with_its_configuration(project: Path) -> None:
    (project / "ansible.cfg").write_text("[defaults]\nroles_path = shared\n")
    (project / "more").mkdir()
    m = machine(project, RESULT, STATS)
    ansible_local(m, "site.yml", tree=".", roles_path="more", vault=Secret("hunter22"), install=None, check=True)
    run = next(ran for ran in m.ran if "launcher.py playbook" in ran.command)
    assert run.env["ANSIBLE_CONFIG"] == f"{FOLDER}/project/ansible.cfg"
    assert run.env["ANSIBLE_ROLES_PATH"] == f"{FOLDER}/roles-0:{FOLDER}/project/shared"
    assert f"--vault-id default@{FOLDER}/own/vault-0 --check --diff" in run.command
    assert f"{FOLDER}/project/notes.txt" in m.files


def test_a_failure_has_this_hosts_paths(project: Path) -> None:
    failed = {**RESULT, "outcome": "failed", "said": {"msg": f"no {FOLDER}/project/roles/x"}}
    stats = {"type": "stats", "hosts": {"default": {"failures": 1, "unreachable": 0}}}
    with pytest.raises(TaskError, match="task 'ask' failed") as caught:
        ansible_local(machine(project, failed, stats, exited=2), "site.yml", install=None)
    assert caught.value.why == f"no {project}/roles/x"
    assert str(caught.value.where) == f"{project}/site.yml:4"
    said = f"[ERROR]: the role 'gone' was not found\nOrigin: {FOLDER}/project/site.yml:3:5\n"
    with pytest.raises(TaskError, match="the role 'gone' was not found") as caught:
        ansible_local(machine(project, exited=1, said=said), "site.yml", install=None)
    assert str(caught.value.where) == f"{project}/site.yml:3"


def test_what_cannot_be_sent_is_refused(project: Path) -> None:
    m = machine(project)
    with pytest.raises(TaskError, match="there is no playbook"):
        ansible_local(m, "gone.yml")
    with pytest.raises(TaskError, match="is not in"):
        ansible_local(m, "site.yml", tree="roles")


def test_requirements_that_cannot_be_had_are_said(project: Path) -> None:
    (project / "requirements.yml").write_text("roles: [{name: dep, src: x}]\ncollections: [a.b]\n")
    m = machine(project, RESULT, STATS)
    ansible_local(m, "site.yml", requirements="requirements.yml", install=None)
    calls = [command.partition("launcher.py galaxy ")[2] for command in m.commands if "galaxy" in command]
    file = f"{FOLDER}/requirements/requirements.yml"
    assert calls[:2] == [
        f"role install --role-file {file} --roles-path {FOLDER}/own/galaxy/roles",
        f"collection install -r {file} -p {FOLDER}/own/galaxy",
    ]
    m.answer("*launcher.py galaxy*", Result(command="", exited=1, stderr="no route"))
    with pytest.raises(TaskError, match="ansible-galaxy cannot install what") as caught:
        ansible_local(m, "site.yml", requirements="requirements.yml", install=None)
    assert caught.value.why == "no route"
