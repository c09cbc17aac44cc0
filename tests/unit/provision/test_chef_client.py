"""Chef: what its client is given, and what becomes of what it tells. The contract is that of its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import TaskError
from bakery.model import Result
from bakery.provision import chef
from bakery.provision.chef_client import ruby
from bakery.redaction.secret import Secret
from bakery.testing import FakeMachine

FOLDER = "/tmp/.bakery-chef-x"
CACHED = f"{FOLDER}/own/cache/cookbooks/web/recipes/default.rb"


def told(outcome: str, *, line: int = 2, text: str = "") -> str:
    name = "file[/etc/web]"
    return json.dumps(
        {"type": "resource", "name": name, "outcome": outcome, "seconds": 0.5, "line": f"{CACHED}:{line}", "text": text}
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "cookbooks/web/recipes").mkdir(parents=True)
    (tmp_path / "cookbooks/web/recipes/default.rb").write_text("file '/etc/web'\n")
    (tmp_path / "policy/cookbook_artifacts/web-0af1/recipes").mkdir(parents=True)
    (tmp_path / "policy/Policyfile.lock.json").write_text('{"name": "a#{b}"}')
    return tmp_path


def machine(project: Path, events: str = told("changed"), exited: int = 0, said: str = "") -> FakeMachine:
    m = FakeMachine({"*": ""}, folder=project)
    m.answer("mktemp -d /tmp/.bakery-chef-XXXXXX", f"{FOLDER}\n")
    m.answer(f"cat {FOLDER}/own/events", events)
    return m.answer("*--local-mode*", Result(command="", exited=exited, stderr=said))


def client(m: FakeMachine) -> str:
    return m.files[f"{FOLDER}/own/client.rb"].text


def test_a_run_list_goes_with_cookbooks_attributes_and_bags(project: Path) -> None:
    m = machine(project)
    done = chef(
        m,
        ["recipe[web]", "role[db]"],
        cookbooks="cookbooks",
        attributes={"token": Secret("hunter22")},
        data_bags={"users": {"eve": {"key": Secret("hunter23")}}},
        data_bag_secret=Secret("hunter24"),
        environment="live",
        accept_license=True,
        env={"FLAVOUR": "x"},
    )
    run = next(ran for ran in m.ran if "--local-mode" in ran.command)
    assert run.command.endswith(
        f"chef-client --local-mode --config {FOLDER}/own/client.rb --json-attributes {FOLDER}/own/attributes.json "
        "--no-fork --no-color --force-formatter --runlist 'recipe[web],role[db]'"
    )
    assert run.env == {"CHEF_LICENSE": "accept-no-persist", "FLAVOUR": "x"}
    assert f'cookbook_path ["{FOLDER}/cookbooks-0"]' in client(m)
    assert 'environment "live"' in client(m)
    assert f"{FOLDER}/cookbooks-0/web/recipes/default.rb" in m.files
    assert json.loads(m.files[f"{FOLDER}/own/attributes.json"].text) == {"token": "hunter22"}
    bag = m.files[f"{FOLDER}/repo/data_bags/users/eve.json"]
    assert (json.loads(bag.text), bag.mode) == ({"id": "eve", "key": "hunter23"}, 0o600)
    assert m.files[f"{FOLDER}/own/data_bag_secret"].mode == 0o600
    assert not any("hunter2" in command for command in m.commands)
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"
    assert [(item.name, item.outcome) for item in done.items] == [("file[/etc/web]", "changed")]
    assert done.items[0].location == f"{project}/cookbooks/web/recipes/default.rb:2"


def test_an_exported_policy_is_found_by_its_name(project: Path) -> None:
    m = machine(project)
    done = chef(m, policyfile="policy", named_run_list="small")
    assert 'policy_name "a\\#{b}"\npolicy_group "local"\nnamed_run_list "small"\n' in client(m)
    assert not any("--runlist" in command for command in m.commands)
    assert done.items[0].location == f"{project}/policy/cookbook_artifacts/web-0af1/recipes/default.rb:2"
    assert ruby('a"#{x}') == '"a\\"\\#{x}"'


def test_a_failed_resource_is_named_with_the_cookbooks_line(project: Path) -> None:
    m = machine(project, told("ok") + "\n" + told("failed", line=7, text="why") + "\n{cut off", exited=1)
    with pytest.raises(TaskError, match=r"chef: file\[/etc/web\] failed") as caught:
        chef(m, "web", cookbooks="cookbooks")
    assert caught.value.why == "why"
    assert str(caught.value.where) == f"{project}/cookbooks/web/recipes/default.rb:7"
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"


def test_a_recipe_that_cannot_be_read_is_said_with_its_line(project: Path) -> None:
    lines = ["/opt/cinc/lib/chef/x.rb:3", f"{CACHED}:4", f"{CACHED}:9"]
    events = json.dumps({"type": "error", "text": f"NameError: no 'fiel' in {CACHED}", "lines": lines})
    with pytest.raises(TaskError) as caught:
        chef(machine(project, events, exited=1), "web", cookbooks="cookbooks")
    assert caught.value.what == f"chef: NameError: no 'fiel' in {project}/cookbooks/web/recipes/default.rb"
    assert str(caught.value.where) == f"{project}/cookbooks/web/recipes/default.rb:4"


@pytest.mark.parametrize(
    ("exited", "what", "hint"),
    [
        (35, "asks for a restart", "m.reboot()"),
        (37, "waits for a restart", "m.reboot()"),
        (43, "does not take its configuration", "options="),
        (127, "is not there", "install="),
        (172, "waits for its license", "accept_license=True"),
        (213, "has replaced itself", "install="),
    ],
)
def test_exit_codes_of_chefs_own_say_what_to_do(project: Path, exited: int, what: str, hint: str) -> None:
    with pytest.raises(TaskError, match=what) as caught:
        chef(machine(project, "", exited, "last words"), "web", cookbooks="cookbooks")
    assert hint in caught.value.hint
    assert caught.value.why == "last words"


def test_nothing_that_ran_is_a_failure_and_so_is_an_end_without_a_word(project: Path) -> None:
    with pytest.raises(TaskError, match="chef ran nothing"):
        chef(machine(project, ""), "web", cookbooks="cookbooks")
    with pytest.raises(TaskError, match="chef ended with exit code 1"):
        chef(machine(project, "", 1), "web", cookbooks="cookbooks")
    with pytest.raises(TaskError, match="longer than"):
        chef(machine(project, told("ok"), -1), "web", cookbooks="cookbooks")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({}, "needs a run_list="),
        ({"run_list": "web"}, "needs a run_list="),
        ({"run_list": "web", "policyfile": "policy"}, "its own run list"),
        ({"run_list": "web,db", "cookbooks": "cookbooks"}, "'web,db' is several items"),
        ({"run_list": "web", "cookbooks": "gone"}, "there is no folder"),
        ({"policyfile": "cookbooks"}, "no exported policy"),
        ({"policyfile": "policy", "install": "https://x/y.deb"}, "needs checksum="),
        ({"policyfile": "policy", "install": "cinc", "checksum": "sha256:00"}, "needs checksum="),
        ({"policyfile": "policy", "install": "https://x/y", "checksum": f"sha256:{'0' * 64}"}, "neither a .deb nor"),
    ],
)
def test_what_cannot_be_meant_is_refused(project: Path, words: dict[str, Any], what: str) -> None:
    with pytest.raises(TaskError, match=what):
        chef(machine(project), **words)
