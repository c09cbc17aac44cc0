"""Mitogen for Ansible: where it is found, whom it is refused, and what a play is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bakery import Machine
from bakery.errors import PreflightError
from bakery.machine.access import MachineAccess, access
from bakery.model import Endpoint, Result
from bakery.provision import ansible, ansible_play, mitogen_strategy
from bakery.provision.ansible_host import AnsibleProgram
from bakery.provision.mitogen_strategy import ASK, Mitogen, find_mitogen
from bakery.testing import FakeMachine
from tests.unit.machine.box import Box

from .ansible_program import OK, FakeAnsible, result

PROGRAM = AnsibleProgram(python="/venv/bin/python3", folders=())
GOOD: dict[str, Any] = {"ansible": "2.19.14", "mitogen": [0, 3, 54], "folder": "/venv/lib/ansible_mitogen"}
Asked = Callable[[Any], list[list[str]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Answer what Ansible's Python is asked; return how it was called."""
    calls: list[list[str]] = []

    def answer(told: Any) -> list[list[str]]:
        def run(words: list[str], **_: object) -> Result:
            calls.append(words)
            return told if isinstance(told, Result) else Result(command="", exited=0, stdout=json.dumps(told))

        monkeypatch.setattr(mitogen_strategy, "run_process", run)
        return calls

    return answer


@pytest.fixture
def inside() -> MachineAccess:
    return access(FakeMachine({}))


def test_it_is_looked_for_beside_the_ansible_that_runs(asked: Asked, inside: MachineAccess) -> None:
    calls = asked(GOOD)
    assert find_mitogen(PROGRAM, inside) == Mitogen(strategies="/venv/lib/ansible_mitogen/plugins/strategy")
    assert calls == [["/venv/bin/python3", "-P", "-B", "-c", ASK]]


@pytest.mark.parametrize(
    ("told", "what", "hint"),
    [
        ({"ansible": "2.19.14"}, "there is no Mitogen beside the Ansible of /venv/bin/python3", "[mitogen]"),
        ({**GOOD, "mitogen": [0, 3, 9]}, "Mitogen 0.3.9 is older than 0.3.54", "[mitogen]"),
        ({**GOOD, "ansible": "2.22.0rc1"}, "ansible-core up to 2.21, and this is 2.22.0rc1", "leave out mitogen=True"),
        (Result(command="", exited=1, stderr="No module named 'ansible'"), "does not find Ansible", ""),
    ],
)
def test_what_it_was_not_tried_with_is_refused_with_a_way_out(
    asked: Asked, inside: MachineAccess, told: Any, what: str, hint: str
) -> None:
    asked(told)
    with pytest.raises(PreflightError, match=what) as raised:
        find_mitogen(PROGRAM, inside)
    assert hint in raised.value.hint


@pytest.mark.parametrize("version", ["2.19.14", "2.20.0", "2.21.5"])
def test_each_ansible_that_it_was_tried_with_is_taken(asked: Asked, inside: MachineAccess, version: str) -> None:
    asked({**GOOD, "ansible": version, "mitogen": [0, 3, 60]})
    assert find_mitogen(PROGRAM, inside)


# ---- a play ----------------------------------------------------------------------------------------------------------

SSH = Endpoint(host="10.0.0.1", port=2222, user="debian", host_key="ssh-ed25519 AAAA")
ENTRY = "debian:x:1000:1000:Debian,,,:/home/debian:/bin/bash\n"
FOUND = Mitogen(strategies="/venv/strategies")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> FakeAnsible:
    program = FakeAnsible(tells=[result(), {"type": "stats", "hosts": {"default": OK}}])
    monkeypatch.setattr(ansible_play, "find_program", lambda _: program)
    monkeypatch.setattr(ansible_play, "find_mitogen", lambda *_: FOUND)
    return program


@pytest.fixture
def box() -> Box:
    return Box(endpoint=SSH, login="debian").answer("sh -c * look *", ENTRY).answer("sh -c * remove *", "")


@pytest.fixture
def m(box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return box.machine(monkeypatch, tmp_path)


def variables(program: FakeAnsible) -> dict[str, Any]:
    """How the machine is reached, once a play has run."""
    seen: dict[str, Any] = {}
    hosts: Callable[[Any], Any] = lambda call: json.loads(Path(call.after("--inventory")[-1]).read_text())  # noqa: E731
    program.does.append(lambda call: seen.update(hosts(call)["all"]["hosts"]["default"]))
    return seen


def test_a_play_is_told_of_its_strategy_and_leaves_nothing(m: Machine, box: Box, program: FakeAnsible) -> None:
    found = variables(program)
    ansible(m, "site.yml", mitogen=True)
    (call,) = program.calls
    place = f"/tmp/.{Path(call.env['BAKERY_FOLDER']).name}"
    assert call.env["ANSIBLE_STRATEGY"] == "mitogen_linear"
    assert call.env["ANSIBLE_STRATEGY_PLUGINS"] == "/venv/strategies"
    assert call.env["ANSIBLE_REMOTE_TMP"] == f"{place}-$USER"
    assert call.env["BAKERY_MITOGEN"] == call.env["BAKERY_FOLDER"]
    assert found["mitogen_mask_remote_name"] is True
    assert found["ansible_connection"] == "ssh"
    assert found["bakery_home"] == "/home/debian"
    assert call.env["ANSIBLE_ASYNC_DIR"] == "~/.ansible_async"  # Mitogen's, whatever it is told
    assert box.commands[-1].endswith(f"remove {place} {place.removeprefix('/tmp/')}-async .ansible_async")


def test_results_that_were_there_before_are_not_removed(m: Machine, box: Box, program: FakeAnsible) -> None:
    box.answer("sh -c * look *", f"{ENTRY}/home/debian\n")
    ansible(m, "site.yml", mitogen=True)
    own = f".{Path(program.calls[0].env['BAKERY_FOLDER']).name}-async"
    assert box.commands[-1].endswith(f" {own} {own}")


def test_without_it_a_play_goes_by_ansibles_own_way(
    m: Machine, program: FakeAnsible, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ansible_play, "find_mitogen", lambda *_: pytest.fail("nobody asked for it"))
    found = variables(program)
    ansible(m, "site.yml")
    assert "ANSIBLE_STRATEGY" not in program.calls[0].env
    assert "BAKERY_MITOGEN" not in program.calls[0].env
    assert "mitogen_mask_remote_name" not in found


@pytest.mark.parametrize(("text", "seconds"), [("", "60"), ("[defaults]\ntimeout = 20\n", None)])
def test_a_login_has_the_time_that_python_needs_to_start_unless_the_project_says(
    m: Machine, program: FakeAnsible, tmp_path: Path, text: str, seconds: str | None
) -> None:
    (tmp_path / "ansible.cfg").write_text(text)
    ansible(m, "site.yml", mitogen=True)
    assert program.calls[0].env.get("ANSIBLE_TIMEOUT") == seconds


def test_the_projects_own_environment_comes_last(m: Machine, program: FakeAnsible) -> None:
    ansible(m, "site.yml", mitogen=True, env={"ANSIBLE_STRATEGY": "mitogen_free"})
    assert program.calls[0].env["ANSIBLE_STRATEGY"] == "mitogen_free"


def test_a_container_is_entered_by_ansibles_own_way(
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
    box.endpoint = Endpoint(transport="namespace", data={"pid": 1})
    ansible(m, "site.yml", mitogen=True)
    assert "ANSIBLE_STRATEGY" not in program.calls[0].env
    assert program.calls[0].env["BAKERY_MODULE_UTILS"]
