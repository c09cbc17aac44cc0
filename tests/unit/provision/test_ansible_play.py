"""A playbook of this host on a machine: the way there, what Ansible is told, and what becomes of what it tells."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bakery import Machine
from bakery.errors import BakeryError, DriverError, PreflightError, TaskError
from bakery.events import ItemApplied, Notice, Output
from bakery.model import Endpoint, Result
from bakery.provision import ansible, ansible_play
from bakery.redaction.secret import Secret
from bakery.util.changes import collected_changes
from tests.unit.machine.box import Box

from .ansible_program import OK, Call, FakeAnsible, result
from .watcher import watched

SSH = Endpoint(host="10.0.0.1", port=2222, user="debian", host_key="ssh-ed25519 AAAA")
Play = Callable[..., Any]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> FakeAnsible:
    """Ansible, that runs one task with success."""
    program = FakeAnsible(tells=[result("changed"), {"type": "stats", "hosts": {"default": OK}}])
    monkeypatch.setattr(ansible_play, "find_program", lambda _: program)
    return program


@pytest.fixture
def box() -> Box:
    return Box(endpoint=SSH, login="debian").answer("sh -c *", "")


@pytest.fixture
def m(box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine, and a project with a playbook."""
    (tmp_path / "play").mkdir()
    (tmp_path / "play/site.yml").write_text("- hosts: default")
    return box.machine(monkeypatch, tmp_path)


def inventory(program: FakeAnsible) -> Callable[[], dict[str, Any]]:
    """Read the inventory while it is there."""
    seen: list[dict[str, Any]] = []
    program.does.append(lambda call: seen.append(json.loads(Path(call.after("--inventory")[-1]).read_text())))
    return lambda: seen[0]


def host(program: FakeAnsible) -> Callable[[], dict[str, Any]]:
    """Read how the machine is reached."""
    read = inventory(program)
    return lambda: dict(read()["all"]["hosts"]["default"])


def test_what_ansible_changed_is_told_task_by_task_and_counts_as_a_change(
    m: Machine, box: Box, program: FakeAnsible
) -> None:
    program.tells.insert(1, result("ok", "another"))
    with collected_changes() as changes:
        applied = ansible(m, "play/site.yml")
    assert str(applied) == "1 changed, 1 ok"
    assert changes == ["ansible: task"]
    told = [(event.tool, event.item, event.outcome) for event in box.events if isinstance(event, ItemApplied)]
    assert told == [("ansible", "task", "changed"), ("ansible", "another", "ok")]
    assert [event.text for event in box.events if isinstance(event, Output)] == ["ansible: 1 changed, 1 ok"]


def test_nothing_of_it_stays_on_either_side(m: Machine, box: Box, program: FakeAnsible) -> None:
    ansible(m, "play/site.yml")
    (call,) = program.calls
    ours = Path(call.env["BAKERY_FOLDER"])
    assert not ours.exists()
    place = f"/tmp/.{ours.name}"
    assert box.commands[-1].endswith(f" remove {place} .{ours.name}-async .{ours.name}-async")
    assert call.env["ANSIBLE_REMOTE_TMP"] == f"{place}-$USER"
    assert call.env["BAKERY_MODULE_UTILS"] == f"{place}-modules"
    assert call.env["ANSIBLE_ASYNC_DIR"] == f"~/.{ours.name}-async"


def test_a_machine_is_reached_by_its_own_key_and_its_pinned_host_key(
    m: Machine, program: FakeAnsible, tmp_path: Path
) -> None:
    way = host(program)
    known: list[str] = []
    program.does.append(lambda call: known.append(Path(call.env["BAKERY_FOLDER"], "known_hosts").read_text()))
    ansible(m, "play/site.yml")
    assert known == ["[10.0.0.1]:2222 ssh-ed25519 AAAA\n"]
    found = way()
    assert (found["ansible_host"], found["ansible_port"], found["ansible_user"]) == ("10.0.0.1", 2222, "debian")
    options = shlex.split(found["ansible_ssh_common_args"])
    assert options[:2] == ["-F", "none"]
    assert "StrictHostKeyChecking=yes" in options
    assert found["ansible_ssh_private_key_file"].startswith("/proc/")  # in memory


def test_the_user_s_own_key_and_the_agent_are_taken_where_the_machine_wants_them(
    m: Machine, box: Box, program: FakeAnsible
) -> None:
    way = host(program)
    box.endpoint = replace(SSH, key="~/.ssh/id_bakery")
    ansible(m, "play/site.yml")
    assert way()["ansible_ssh_private_key_file"] == str(Path.home() / ".ssh/id_bakery")
    program.does.clear()
    way = host(program)
    box.endpoint = replace(SSH, key="agent")
    ansible(m, "play/site.yml")
    assert "ansible_ssh_private_key_file" not in way()
    assert "IdentityFile" not in way()["ansible_ssh_common_args"]


@pytest.mark.parametrize(
    ("way_in", "become"),
    [
        (("debian", "root"), (None, None)),  # root by sudo is Ansible's own choice
        (("debian", "app"), ("app", "sudo")),
        (("root", "app"), ("app", "su")),
        (("root", "root"), (None, None)),
        (("app", "app"), (None, None)),
    ],
)
def test_commands_run_as_the_step_s_user_unless_a_task_names_another(
    box: Box, m: Machine, program: FakeAnsible, way_in: tuple[str, str], become: tuple[str | None, str | None]
) -> None:
    way = host(program)
    login, user = way_in
    box.endpoint = replace(SSH, user=login)
    ansible(m.with_defaults(user=user), "play/site.yml")
    found = way()
    env = program.calls[0].env
    assert (env.get("ANSIBLE_BECOME_USER"), env.get("ANSIBLE_BECOME_METHOD")) == become
    assert "ansible_become_user" not in found  # a variable would count for more than the task's word
    assert ("ansible_become" in found) == (login != user)


def test_plays_know_the_machine_by_the_names_that_the_task_gives(m: Machine, program: FakeAnsible) -> None:
    read = inventory(program)
    program.tells[:] = [result(host="web1"), {"type": "stats", "hosts": {"web1": OK}}]
    ansible(m, "play/site.yml", host="web1", groups=["web", "all_debian"], python="/usr/bin/python3.11")
    everything = read()["all"]
    assert list(everything["hosts"]) == ["web1"]
    assert everything["hosts"]["web1"]["ansible_python_interpreter"] == "/usr/bin/python3.11"
    assert everything["children"] == {"web": {"hosts": {"web1": None}}, "all_debian": {"hosts": {"web1": None}}}


def test_paths_are_those_of_the_imagefile_s_folder(m: Machine, program: FakeAnsible, tmp_path: Path) -> None:
    ansible(
        m,
        ["play/site.yml", Path("play/more.yml")],
        inventory="hosts",
        vars_files=["a.yml"],
        vault={"prod": "~/vault", "dev": Secret("hunter22")},
        roles_path="roles",
        collections_path=["collections"],
    )
    (call,) = program.calls
    assert list(call.words[-2:]) == [str(tmp_path / "play/site.yml"), str(tmp_path / "play/more.yml")]
    assert call.after("--inventory")[0] == str(tmp_path / "hosts")
    assert call.after("--extra-vars") == [f"@{tmp_path / 'a.yml'}"]
    prod, dev = call.after("--vault-id")
    assert prod.startswith("prod@/")
    assert prod.endswith("/vault")
    assert "hunter22" not in " ".join(call.words)
    assert dev.startswith("dev@")
    assert call.env["ANSIBLE_ROLES_PATH"].split(":")[0] == str(tmp_path / "roles")
    assert call.env["ANSIBLE_COLLECTIONS_PATH"].split(":")[0] == str(tmp_path / "collections")


def test_one_password_is_that_of_every_vault(m: Machine, program: FakeAnsible) -> None:
    ansible(m, "play/site.yml", vault="password.txt")
    assert program.calls[0].after("--vault-id")[0].startswith("default@/")


def test_the_nearest_configuration_up_to_the_imagefile_s_folder_is_taken_and_each_that_was_looked_for_counts(
    m: Machine, program: FakeAnsible, tmp_path: Path
) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\nroles_path = theirs\n")
    with watched() as seen:
        ansible(m, "play/site.yml", roles_path="roles")
    (call,) = program.calls
    assert call.env["ANSIBLE_CONFIG"] == str(tmp_path / "ansible.cfg")
    assert call.cwd == tmp_path
    assert call.env["ANSIBLE_ROLES_PATH"] == f"{tmp_path}/roles:{tmp_path}/theirs"
    assert seen.taken[:2] == [("file", f"{tmp_path}/play/ansible.cfg"), ("file", f"{tmp_path}/ansible.cfg")]


def test_without_one_neither_the_user_s_own_nor_the_host_s_is_read(m: Machine, program: FakeAnsible) -> None:
    ansible(m, "play/site.yml")
    (call,) = program.calls
    assert call.env["ANSIBLE_CONFIG"] == f"{call.env['BAKERY_FOLDER']}/ansible.cfg"


def test_a_configuration_s_own_word_on_pipelining_and_python_is_not_overruled(
    m: Machine, program: FakeAnsible, tmp_path: Path
) -> None:
    (tmp_path / "my.cfg").write_text("[defaults]\ninterpreter_python = auto\n[connection]\npipelining = False\n")
    ansible(m, "play/site.yml", config="my.cfg", env={"ANSIBLE_NOCOWS": "0"})
    ansible(m, "play/site.yml")
    with_it, without = program.calls
    assert "ANSIBLE_PIPELINING" not in with_it.env
    assert "ANSIBLE_PYTHON_INTERPRETER" not in with_it.env
    assert with_it.env["ANSIBLE_NOCOWS"] == "0"  # the user's word comes last
    assert (without.env["ANSIBLE_PIPELINING"], without.env["ANSIBLE_PYTHON_INTERPRETER"]) == ("True", "auto_silent")


def test_the_step_s_time_limit_is_the_play_s(m: Machine, program: FakeAnsible) -> None:
    ansible(m, "play/site.yml", timeout=7.0)
    assert program.calls[0].timeout == 7.0


def test_a_task_that_failed_fails_the_step_with_its_place(m: Machine, program: FakeAnsible) -> None:
    program.tells[:] = [
        result("failed", "start nginx", msg="no such unit"),
        {"type": "stats", "hosts": {"default": {**OK, "failures": 1}}},
    ]
    program.ends.append(Result(command="", exited=2))
    with pytest.raises(TaskError, match=r"ansible site.yml: task 'start nginx' failed") as raised:
        ansible(m, "play/site.yml")
    assert (raised.value.why, str(raised.value.where)) == ("no such unit", "/p/site.yml:3")
    assert not Path(program.calls[0].env["BAKERY_FOLDER"]).exists()


def test_a_failure_that_was_rescued_is_told_as_ignored(m: Machine, program: FakeAnsible) -> None:
    program.tells.insert(0, result("failed", "rescued"))
    assert [item.outcome for item in ansible(m, "play/site.yml").items] == ["ignored", "changed"]


def test_a_machine_that_ansible_cannot_reach_is_not_asked_to_clean_up(
    m: Machine, box: Box, program: FakeAnsible
) -> None:
    program.tells[:] = [
        result("unreachable", "setup"),
        {"type": "stats", "hosts": {"default": {**OK, "unreachable": 1}}},
    ]
    box.answer("sh *", DriverError("nobody may ask"))
    with pytest.raises(BakeryError, match=r"ansible site.yml"):
        ansible(m, "play/site.yml")
    assert not any("remove" in command for command in box.commands)


def test_a_play_that_matches_no_host_is_said_where_others_did_something(
    m: Machine, box: Box, program: FakeAnsible
) -> None:
    program.tells.append({"type": "no-hosts", "play": "databases"})
    ansible(m, "play/site.yml")
    notices = [event.message for event in box.events if isinstance(event, Notice)]
    assert notices == ["ansible: no host matches the play databases"]


def test_what_ansible_read_is_the_step_s_and_its_own_code_is_not(
    m: Machine, program: FakeAnsible, tmp_path: Path
) -> None:
    (tmp_path / "fetched").write_text("x")
    program.tells.extend(
        [
            {"type": "read", "kind": kind, "name": name}
            for kind, name in [
                ("open", f"{tmp_path}/play/site.yml"),
                ("listing", f"{tmp_path}/roles"),
                ("open", "/venv/lib/python3.11/site-packages/ansible/x.py"),
                ("open", f"{tmp_path}/plugins/__pycache__/mine.cpython-311.pyc"),
                ("env", "RELEASE"),
                ("wrote", f"{tmp_path}/fetched"),
                ("program", "git"),
            ]
        ]
    )
    with watched() as seen:
        ansible(m, "play/site.yml", config="none.cfg")
    assert seen.taken == [
        ("file", f"{tmp_path}/play/site.yml"),
        ("listing", f"{tmp_path}/roles"),
        ("file", f"{tmp_path}/plugins/mine.py"),
        ("env", "RELEASE"),
    ]
    assert seen.written == [f"{tmp_path}/fetched"]
    assert seen.reasons == ["Ansible runs git on this host"]


# ---- a container -----------------------------------------------------------------------------------------------------


def test_a_container_is_entered_by_a_plugin_of_ours_that_reads_the_way_from_a_file(
    m: Machine, box: Box, program: FakeAnsible, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inside:
        alive = True

        def run(self, *_: object, **__: object) -> Result:
            return Result(command="", exited=0)

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr("bakery.machine.transport.namespace.NamespaceTransport", lambda *_: Inside())
    monkeypatch.setattr(m, "run", lambda *_, **__: Result(command="", exited=0))
    box.endpoint = Endpoint(transport="namespace", data={"pid": os.getpid()})
    way = host(program)
    told: list[Any] = []
    program.does.append(lambda _: told.append(json.loads(Path(way()["ansible_bakery_way"]).read_text())))
    ansible(m, "play/site.yml")
    assert way()["ansible_connection"] == "bakery_container"
    assert told[0]["pid"] == os.getpid()
    assert str(os.getpid()) in told[0]["words"]
    assert told[0]["env"]["HOME"] == "/root"


def test_a_machine_that_is_reached_otherwise_is_said_to_be_out_of_reach(
    m: Machine, box: Box, program: FakeAnsible, monkeypatch: pytest.MonkeyPatch
) -> None:
    del program
    monkeypatch.setattr("bakery.machine.transport.drivers_own.open_drivers_own", lambda *_: SimpleNamespace(alive=True))
    monkeypatch.setattr(m, "run", lambda *_, **__: Result(command="", exited=0))
    box.endpoint = Endpoint(transport="package.way:open")
    with pytest.raises(PreflightError, match="Ansible cannot reach this machine"):
        ansible(m, "play/site.yml")


# ---- roles and collections -------------------------------------------------------------------------------------------

REQUIREMENTS = """
roles:
  - name: geerlingguy.nginx
    version: 3.2.0
collections:
  - name: community.general
"""


def galaxy(call: Call) -> None:
    """Install, as ansible-galaxy does."""
    if call.name == "galaxy":
        Path((call.after("--roles-path") or call.after("-p"))[0], "it").mkdir(parents=True)


def kinds(program: FakeAnsible) -> list[str]:
    return [" ".join([call.name, *call.words[:2]]) for call in program.calls if call.name == "galaxy"]


@pytest.fixture
def requirements(program: FakeAnsible, tmp_path: Path) -> Path:
    program.does.append(galaxy)
    (tmp_path / "requirements.yml").write_text(REQUIREMENTS)
    return tmp_path / "requirements.yml"


@pytest.mark.usefixtures("requirements")
def test_requirements_are_installed_once_for_all_builds_and_come_first(m: Machine, program: FakeAnsible) -> None:
    for _ in range(2):
        ansible(m, "play/site.yml", requirements="requirements.yml")
    assert kinds(program) == ["galaxy role install", "galaxy collection install"]
    play = program.calls[-1]
    kept = Path(play.env["ANSIBLE_COLLECTIONS_PATH"].split(":")[0])
    assert (kept / "it").is_dir()
    assert play.env["ANSIBLE_ROLES_PATH"].split(":")[0] == str(kept / "roles")
    assert kept.parent.name == "ansible"


def test_another_list_is_installed_beside_it(m: Machine, program: FakeAnsible, requirements: Path) -> None:
    ansible(m, "play/site.yml", requirements="requirements.yml")
    requirements.write_text("- src: geerlingguy.nginx\n")
    ansible(m, "play/site.yml", requirements="requirements.yml")
    assert kinds(program) == ["galaxy role install", "galaxy collection install", "galaxy role install"]


@pytest.mark.parametrize(
    "text",
    [
        "- src: ./roles/mine\n",
        "- ../roles/mine\n",
        "collections:\n  - name: ./mine\n    type: dir\n",
        "collections:\n  - mine-1.0.0.tar.gz\n",
        "roles:\n  - src: file:///roles/mine.tar.gz\n",
        "collections:\n  - name: mine.it\n    source: /srv/mine\n    type: subdirs\n",
    ],
)
def test_what_lies_on_this_host_may_change_while_the_list_stays_and_is_installed_each_time(
    m: Machine, program: FakeAnsible, requirements: Path, text: str
) -> None:
    requirements.write_text(text)
    program.tells.append({"type": "read", "kind": "open", "name": "/srv/mine/meta.yml"})
    with watched() as seen:
        for _ in range(2):
            ansible(m, "play/site.yml", requirements="requirements.yml", config="none.cfg")
    assert len(kinds(program)) == 2
    assert ("file", str(requirements)) in seen.taken
    assert seen.taken.count(("file", "/srv/mine/meta.yml")) == 4  # by ansible-galaxy, and by the play


@pytest.mark.usefixtures("requirements")
def test_what_cannot_be_installed_is_an_error_and_the_next_build_tries_again(m: Machine, program: FakeAnsible) -> None:
    program.ends.append(Result(command="", exited=1, stderr="ERROR! Unknown error: no route\n"))
    with pytest.raises(TaskError, match=r"cannot install what requirements.yml names") as raised:
        ansible(m, "play/site.yml", requirements="requirements.yml")
    assert (raised.value.why, raised.value.hint) == ("ERROR! Unknown error: no route", "")
    assert [call.name for call in program.calls] == ["galaxy"]
    ansible(m, "play/site.yml", requirements="requirements.yml")
    assert [call.name for call in program.calls] == ["galaxy"] * 3 + ["playbook"]


@pytest.mark.usefixtures("requirements")
def test_offline_ansible_galaxy_is_told_so_and_the_error_says_what_would_do(m: Machine, program: FakeAnsible) -> None:
    program.ends.extend([Result(command="", exited=0), Result(command="", exited=1, stdout="no")])
    with pytest.raises(TaskError) as raised:
        ansible(m, "play/site.yml", requirements="requirements.yml", offline=True)
    assert program.calls[-1].words[-1] == "--offline"
    assert (raised.value.why, raised.value.hint) == ("no", "offline: the roles and collections must be files here")


@pytest.mark.usefixtures("requirements")
def test_a_list_that_names_nothing_installs_nothing(m: Machine, program: FakeAnsible, requirements: Path) -> None:
    requirements.write_text("# later\n")
    ansible(m, "play/site.yml", requirements="requirements.yml")
    assert kinds(program) == []
