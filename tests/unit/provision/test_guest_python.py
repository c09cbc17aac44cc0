"""A Python environment on the machine: who puts it together, what it needs, and that it is gone afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bakery.errors import DriverError, TaskError
from bakery.machine.facts import Facts
from bakery.model import Result
from bakery.provision import guest_python
from bakery.provision.guest_python import PythonNeeds, environment
from bakery.testing import FakeMachine

FOLDER = "/var/tmp/.bakery-python-1"
PYTHON = {
    "executable": "/usr/bin/python3",
    "version": "3.11.2",
    "implementation": "cpython",
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "magic": "a70d0d0a",
    "free_threaded": False,
}
SALT = PythonNeeds.of("salt>=3007", None, compilers=("gcc",), without=("timelib",))


@pytest.fixture
def m(tmp_path: Path) -> FakeMachine:
    """A machine with Python, gcc and the like."""
    m = FakeMachine({"*": ""}, folder=tmp_path, facts=Facts(package_manager="apt-get"))
    m.answer("dpkg-query *", "gcc\npython3\npython3-venv\n").answer("mktemp -d /var/tmp/*", f"{FOLDER}\n")
    return m.answer("python3 -c *", json.dumps(PYTHON))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What this host puts together."""
    made = tmp_path / "tree"
    (made / "bin").mkdir(parents=True)
    (made / "bin/salt-call").write_text("#!python\n")
    monkeypatch.setattr(guest_python, "python_tree", lambda *_: made)
    return made


@pytest.fixture
def no_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host cannot put it together."""
    monkeypatch.setattr(guest_python, "python_tree", lambda *_: None)


def installed(m: FakeMachine) -> list[str]:
    """What was installed by the machine's package manager, call by call."""
    lines = [command for command in m.commands if re.search(r"apt-get .* install ", command)]
    return [line.partition(" -- ")[2] for line in lines]


def test_nothing_to_install_makes_no_environment(m: FakeMachine) -> None:
    with environment(m, PythonNeeds.of(None, ["git"])) as programs:
        assert programs == ""
    assert m.ran == []


def test_what_this_host_put_together_is_sent_and_gone_afterwards(m: FakeMachine, tree: Path) -> None:
    with environment(m, SALT) as programs:
        assert programs == f"{FOLDER}/venv/bin"
        assert m.files[f"{FOLDER}/venv/bin/salt-call"].text == (tree / "bin/salt-call").read_text()
        assert any(command.endswith(f"bakery-arrange {FOLDER}/venv /usr/bin/python3 3.11.2") for command in m.commands)
        assert f"rm -rf -- {FOLDER}" not in m.commands
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"
    assert not any("bakery-venv" in command for command in m.commands)
    assert installed(m) == []
    assert {ran.user for ran in m.ran} == {"root"}


@pytest.mark.usefixtures("tree")
def test_only_python_itself_is_borrowed_where_this_host_puts_it_together(m: FakeMachine) -> None:
    answers: list[Any] = [127, json.dumps(PYTHON)]
    m.answer("python3 -c *", lambda _: answers.pop(0)).answer("dpkg-query *", "gcc\n")
    with environment(m, SALT):
        assert installed(m) == ["python3"]
    assert m.commands[-1].endswith("purge --auto-remove -- python3")


@pytest.mark.usefixtures("tree")
def test_packages_that_are_asked_for_are_there_whoever_puts_it_together(m: FakeMachine) -> None:
    with environment(m, PythonNeeds.of(["salt"], ["git", "gcc"], compilers=("clang",))):
        assert installed(m) == ["git"]
    assert m.commands[-1].endswith("purge --auto-remove -- git")


@pytest.mark.usefixtures("no_tree")
def test_else_pip_does_on_the_machine_with_a_compiler(m: FakeMachine) -> None:
    m.answer("dpkg-query *", "python3\n")
    with environment(m, SALT) as programs:
        assert programs == f"{FOLDER}/venv/bin"
        assert installed(m) == ["python3-venv gcc"]
    assert any("bakery-venv" in command and command.endswith("'salt>=3007'") for command in m.commands)
    assert not any("bakery-arrange" in command for command in m.commands)


@pytest.mark.usefixtures("no_tree")
def test_an_environment_that_cannot_be_made_says_what_pip_said_and_is_removed(m: FakeMachine) -> None:
    said = "\n".join(f"line {number}" for number in range(40))
    m.answer(re.compile("bakery-venv"), Result(command="", exited=1, stderr=said))
    with (
        pytest.raises(TaskError, match="no Python environment with 'salt>=3007' can be made") as raised,
        environment(m, SALT),
    ):
        pytest.fail("there is none")
    assert raised.value.why.splitlines() == [f"line {number}" for number in range(25, 40)]
    assert m.commands[-1] == f"rm -rf -- {FOLDER}"


@pytest.mark.usefixtures("tree")
def test_a_machine_that_died_meanwhile_does_not_hide_why(m: FakeMachine) -> None:
    m.answer("rm -rf -- *", DriverError("the machine is gone"))
    with pytest.raises(TaskError, match="mine"), environment(m, SALT):
        raise TaskError("mine")


def pip_of(m: FakeMachine) -> Mapping[str, str]:
    """The environment of pip; nothing else has one."""
    with environment(m, SALT):
        pass
    (made,) = [ran for ran in m.ran if "bakery-venv" in ran.command]
    assert all(ran.env == {} for ran in m.ran if ran is not made)
    return made.env


@pytest.mark.usefixtures("no_tree")
def test_the_machine_reaches_pypi_as_this_host_does_and_only_while_pip_runs(
    m: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ca.pem").write_text("a certificate")
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "ca.pem"))
    assert pip_of(m) == {"PIP_INDEX_URL": "https://example.org/simple", "PIP_CERT": f"{FOLDER}/ca.pem"}
    assert m.files[f"{FOLDER}/ca.pem"].text == "a certificate"


@pytest.mark.usefixtures("no_tree")
def test_certificates_that_are_not_there_are_not_spoken_of(m: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_CERT", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    assert "PIP_CERT" not in pip_of(m)
