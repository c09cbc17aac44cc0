"""Ansible on this host: which one is taken, what it inherits, and that nothing of it goes on."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import PreflightError
from bakery.machine.access import access
from bakery.model import Result
from bakery.provision import ansible_host
from bakery.provision.ansible_host import AnsibleProgram
from bakery.testing import FakeMachine


def test_the_settings_of_a_call_are_those_of_its_own_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def run_process(words: list[str], **options: Any) -> Result:
        calls.append({"words": words, **options})
        return Result(command="", exited=0)

    monkeypatch.setenv("ANSIBLE_CONFIG", "/etc/theirs")
    monkeypatch.setenv("RELEASE", "1")
    monkeypatch.setattr("bakery.provision.ansible_host.run_process", run_process)
    program = AnsibleProgram(python="/venv/bin/python3", folders=())
    program.run(
        access(FakeMachine()),
        "playbook",
        ["site.yml"],
        env={"LC_ALL": "C.UTF-8", "BAKERY_FOLDER": "/tmp/bakery-x"},
        cwd=Path("/p"),
        descriptor=7,
        timeout=3.0,
    )
    (call,) = calls
    assert call["words"][:2] == ["/venv/bin/python3", "-B"]
    assert call["words"][-2:] == ["playbook", "site.yml"]
    assert "ANSIBLE_CONFIG" not in call["env"]
    assert (call["env"]["RELEASE"], call["env"]["BAKERY_EVENTS_FD"]) == ("1", "7")
    assert (call["pass_fds"], call["timeout"], call["cwd"]) == ([7], 3.0, Path("/p"))


def script(folder: Path, first: str) -> Path:
    """An ansible-playbook with this first line."""
    folder.mkdir(exist_ok=True)
    path = folder / "ansible-playbook"
    path.write_text(f"{first}\nprint()\n")
    path.chmod(0o755)
    return path


def test_the_ansible_of_this_python_comes_before_the_one_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(sys, "executable", "/venv/bin/python3")
    program = ansible_host.find_program("")
    assert program.python == "/venv/bin/python3"
    assert "/venv/" in program.folders


def test_another_one_is_run_by_its_own_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    script(tmp_path / "bin", "#!/opt/ansible/bin/python3")
    program = ansible_host.find_program("")
    assert program.python == "/opt/ansible/bin/python3"
    assert "/opt/ansible/" in program.folders
    named = script(tmp_path / "named", "#!/srv/venv/bin/python")
    assert ansible_host.find_program(str(named)).python == "/srv/venv/bin/python"


@pytest.mark.parametrize("first", ["#!/bin/sh", "no script", "#!"])
def test_a_wrapper_is_not_taken_for_ansible(tmp_path: Path, first: str) -> None:
    with pytest.raises(PreflightError, match="its first line names no Python") as raised:
        ansible_host.find_program(str(script(tmp_path, first)))
    assert "program=" in raised.value.hint


def test_where_there_is_none_the_way_to_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PreflightError, match="there is no ansible-playbook on this host") as raised:
        ansible_host.find_program("")
    assert "pip install" in raised.value.hint


def test_connections_that_openssh_keeps_open_are_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(ansible_host, "run_process", lambda words, **_: ran.append(words))
    ansible_host.end_masters(tmp_path)
    (tmp_path / "cp").mkdir()
    (tmp_path / "cp/no socket").touch()
    with socket.socket(socket.AF_UNIX) as master:
        monkeypatch.chdir(tmp_path / "cp")  # a socket's path may have 107 bytes
        master.bind("a1b2")
        ansible_host.end_masters(tmp_path)
    (words,) = ran
    assert words == ["ssh", "-F", "none", "-o", f"ControlPath={tmp_path}/cp/a1b2", "-O", "exit", "bakery"]
