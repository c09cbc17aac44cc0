"""`host.ansible` over a real sshd on loopback: testinfra's options and answers, by the Ansible of this host."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakery.imagefile.suites import Suites
from bakery.smoke.ansible_modules import AnsibleModules
from bakery.smoke.backend import host as make_host
from bakery.smoke.connect import connect
from bakery.smoke.job import CloneAccess, SuiteRun
from bakery.smoke.shell import Shell
from bakery.smoke.suites.hosts import offer
from bakery.smoke.suites.machine import SuiteMachine
from bakery.state.ssh_keys import make_keys
from bakery.testing.sshd import Server, start_sshd

pytest.importorskip("ansible")
testinfra = pytest.importorskip("testinfra")
NOWHERE: dict[str, None] = {}
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an sshd that lets root in needs root")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = start_sshd(tmp_path_factory.mktemp("sshd") / "server", make_keys("test"))
    yield made
    made.stop()


@pytest.fixture
def host(server: Server) -> Iterator[Any]:
    transport = connect(server.endpoint, server.keys)
    shell = Shell(transport.open_shell)
    yield make_host("box", shell, access=CloneAccess(endpoint=server.endpoint, keys=server.keys))
    shell.close()
    transport.close()


def test_a_module_says_what_it_found_and_changes_nothing_unless_told_to(host: Any, tmp_path: Path) -> None:
    file = tmp_path / "a file"
    assert not host.file(str(file)).exists
    assert host.ansible("ansible.builtin.file", f"path='{file}' state=touch mode=0640")["changed"]
    assert not file.exists()
    done = host.ansible("ansible.builtin.file", f"path='{file}' state=touch mode=0640", check=False)
    assert (done["changed"], done["mode"]) == (True, "0640")
    assert host.file(str(file)).mode == 0o640, "what was known before is not believed any more"


def test_variables_go_by_a_file_and_failures_are_testinfras_own(host: Any) -> None:
    words = host.ansible("command", "echo {{ word }}", check=False, extra_vars={"word": "hello"})
    assert words["stdout"] == "hello"
    with pytest.raises(host.ansible.AnsibleException) as raised:
        host.ansible("command", "false", check=False)
    assert raised.value.result["rc"] == 1
    with pytest.raises(host.ansible.AnsibleException) as skipped:
        host.ansible("command", "true")
    assert skipped.value.result["skipped"]


def test_a_suites_own_inventory_gives_variables_and_not_the_way(server: Server, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    there = {"ansible_host": "192.0.2.1", "ansible_user": "nobody", "colour": "red"}
    inventory.write_text(json.dumps({"shops": {"hosts": {"web": there}}}))
    suite = SuiteRun(paths=(), cache=tmp_path, names=("web",), options=Suites())
    machine = SuiteMachine(server.endpoint, server.keys, suite)
    offer(machine, {})
    try:
        host: Any = testinfra.get_host("bakery://web", ansible_inventory=str(inventory))
        said = host.ansible("debug", "msg={{ colour }}", check=False)
        assert said["msg"] == "red"
        assert host.ansible.get_variables()["group_names"] == ["all", "shops"]
        assert host.ansible.get_variables()["colour"] == "red"
    finally:
        machine.close()


def test_without_an_inventory_there_are_testinfras_variables(host: Any) -> None:
    found = host.ansible.get_variables()
    assert (found["inventory_hostname"], found["group_names"]) == ("machine", ["all", "ungrouped"])


def test_a_machine_out_of_reach_is_told_in_ansibles_words(server: Server) -> None:
    nowhere = replace(server.endpoint, port=1)
    modules = AnsibleModules("box", CloneAccess(endpoint=nowhere, keys=server.keys), as_root=True)
    with pytest.raises(RuntimeError, match=r"(?s)ansible -m ping ended with \d+:.*UNREACHABLE"):
        modules.run("ping", None, check=False)


def test_what_is_missing_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    access = CloneAccess(endpoint=server.endpoint, keys=server.keys)
    container = CloneAccess(endpoint=replace(server.endpoint, transport="namespace"), keys=server.keys)
    with pytest.raises(RuntimeError, match="needs SSH; this machine is a container"):
        AnsibleModules("box", container, as_root=True).run("ping", None)
    monkeypatch.setattr(importlib.util, "find_spec", NOWHERE.get)
    modules = AnsibleModules("box", access, as_root=True)
    with pytest.raises(RuntimeError, match=r"needs Ansible on this host: .*\[ansible\]"):
        modules.run("ping", None)
    with pytest.raises(RuntimeError, match=r"needs Ansible on this host: .*\[ansible\]"):
        modules.variables()
