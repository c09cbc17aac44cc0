"""States of this host on a machine: where Salt comes from, what it is told, what becomes of what it returns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import TaskError
from bakery.events import ItemApplied
from bakery.machine.facts import Facts
from bakery.model import Result
from bakery.provision import salt
from bakery.redaction.secret import Secret
from bakery.testing import FakeMachine
from bakery.util.changes import collected_changes

from .watcher import watched

FOLDER, VENV = "/tmp/.bakery-salt-1", "/var/tmp/.bakery-python-1"
CALL = re.compile("salt-call --local")


def returned(**fields: Any) -> str:
    state = {"result": True, "changes": {}, "__sls__": "web", "__id__": "web", "__run_num__": 0, "comment": ""}
    return json.dumps({"local": {"file_|-web_|-/etc/web_|-managed": {**state, **fields}}})


@pytest.fixture
def m(tmp_path: Path) -> FakeMachine:
    """A machine where Salt can be installed, and changes something."""
    (tmp_path / "salt").mkdir()
    (tmp_path / "salt/web.sls").write_text("web: file.managed")
    (tmp_path / "pillar").mkdir()
    (tmp_path / "pillar/top.sls").write_text("base: {}")
    m = FakeMachine(folder=tmp_path, facts=Facts(package_manager="apt-get"))
    m.answer("dpkg-query *", "gcc\nlibc6-dev\npython3\npython3-dev\npython3-venv\n")
    m.answer("mktemp -d /tmp/*", f"{FOLDER}\n").answer("mktemp -d /var/tmp/*", f"{VENV}\n")
    m.answer("python3 -c *", 127).answer("mkdir -p *", "").answer("rm -rf -- *", "").answer("sh -c *", "")
    return m.answer(CALL, returned(changes={"diff": "new"}))


def called(m: FakeMachine) -> str:
    (line,) = [command for command in m.commands if CALL.search(command)]
    return line


def minion(m: FakeMachine) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(m.files[f"{FOLDER}/config/minion"].text)
    return data


def test_salt_is_installed_for_the_run_and_gone_afterwards(m: FakeMachine) -> None:
    applied = salt(m, "web")
    assert str(applied) == "1 changed"
    assert any("bakery-venv" in command and "'salt>=3007'" in command for command in m.commands)
    assert called(m).startswith(f"{VENV}/venv/bin/salt-call --local --config-dir {FOLDER}/config")
    assert m.commands[-2:] == [f"rm -rf -- {FOLDER}", f"rm -rf -- {VENV}"]
    assert {ran.user for ran in m.ran} == {"root"}


def test_the_machine_s_own_salt_is_used_where_none_is_to_be_installed(m: FakeMachine) -> None:
    salt(m, ["web", "db"], install=None, test=True, options=["--log-level", "debug"])
    assert called(m).startswith("salt-call --local ")
    assert called(m).endswith("state.apply web,db test=True --log-level debug")
    assert not any(command.startswith(("dpkg-query", "mktemp -d /var/tmp")) for command in m.commands)


def test_without_names_the_highstate_is_applied(m: FakeMachine) -> None:
    salt(m, minion_id="web1", grains={"role": "web"})
    assert called(m).endswith("state.apply")
    assert (minion(m)["id"], minion(m)["grains"]) == ("web1", {"role": "web"})


def test_all_that_salt_writes_is_in_the_folder_that_goes(m: FakeMachine) -> None:
    salt(m, "web", pillar_tree="pillar")
    known = minion(m)
    assert known["root_dir"] == f"{FOLDER}/root"
    assert known["file_roots"] == {"base": [f"{FOLDER}/states"]}
    assert known["file_client"] == "local"
    assert m.files[f"{FOLDER}/pillar/top.sls"].text == "base: {}"
    assert m.files[f"{FOLDER}/own/pillar.json"].text == "{}"


def test_a_secret_in_the_pillar_is_in_a_file_of_root_s_and_in_no_argument(m: FakeMachine) -> None:
    salt(m, "web", pillar={"password": Secret("hunter22"), "port": 80})
    file = m.files[f"{FOLDER}/own/pillar.json"]
    assert (json.loads(file.text), file.mode) == ({"password": "hunter22", "port": 80}, 0o600)
    assert minion(m)["ext_pillar"] == [{"cmd_json": f"cat {FOLDER}/own/pillar.json"}]
    assert not any("hunter22" in command for command in m.commands)


def test_each_state_is_told_and_a_change_is_one(m: FakeMachine) -> None:
    with collected_changes() as changes:
        salt(m, "web")
    (told,) = [event for event in m.events if isinstance(event, ItemApplied)]
    assert (told.tool, told.item, told.outcome) == ("salt", "file.managed web", "changed")
    assert changes == ["salt: file.managed web"]


def test_a_state_that_failed_is_an_error_with_its_file(m: FakeMachine, tmp_path: Path) -> None:
    text = returned(result=False, comment="Parent directory not present")
    m.answer(CALL, Result(command="", exited=2, stdout=text))
    with pytest.raises(TaskError, match=r"salt web: state 'file.managed web' failed") as raised:
        salt(m, "web")
    assert raised.value.why == "Parent directory not present"
    assert raised.value.where is not None
    assert raised.value.where.file == tmp_path / "salt/web.sls"
    assert m.commands[-2:] == [f"rm -rf -- {FOLDER}", f"rm -rf -- {VENV}"]


def test_a_run_that_ran_nothing_is_a_failure(m: FakeMachine) -> None:
    m.answer(CALL, '{"local": {}}')
    with pytest.raises(TaskError, match="salt highstate ran nothing"):
        salt(m)


def test_what_salt_read_counts_as_an_input_of_the_step(m: FakeMachine, tmp_path: Path) -> None:
    m.answer(re.compile("find . -type f -exec stat"), "./states/web.sls\n./config/minion\n")
    with watched() as seen:
        salt(m, "web")
    assert [taken for taken in seen.taken if taken[0] != "env"] == [
        ("listing", f"{tmp_path}/salt"),
        ("file", f"{tmp_path}/salt/web.sls"),
    ]
