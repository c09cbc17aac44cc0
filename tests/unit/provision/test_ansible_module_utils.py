"""Ansible's library for modules on the machine: when it is sent, how, and that a play does not depend on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakery.errors import DriverError
from bakery.provision.ansible_events import Told
from bakery.provision.ansible_module_utils import WORTHWHILE, ModuleUtilsCopy
from bakery.provision.items import Item
from bakery.testing import FakeMachine

PLACE = "/tmp/.bakery-x-modules"


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """A play that has just begun, by an Ansible with a library."""
    for name in ("basic.py", "basic.pyc", "common/text.py", "__pycache__/basic.pyc", "powershell/x.psm1"):
        (tmp_path / "utils" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "utils" / name).write_text(name)
    return Told(module_utils=str(tmp_path / "utils"))


def results(copy: ModuleUtilsCopy, told: Told, number: int) -> None:
    for _ in range(number):
        told.items.append(Item(name="x", outcome="ok"))
        copy.heard(told)
    copy.end()


def test_it_is_sent_once_to_a_folder_of_its_own_that_appears_whole(told: Told) -> None:
    m = FakeMachine({"*": ""})
    results(ModuleUtilsCopy(m, PLACE), told, WORTHWHILE + 2)
    assert m.commands[0] == f"mkdir -m 755 {PLACE}.part"
    assert m.commands[1].endswith(f"mv {PLACE}.part {PLACE}")
    assert len(m.commands) == 2
    assert {path.removeprefix(f"{PLACE}.part/") for path in m.files} == {"basic.py", "basic.pyc", "common/text.py"}


def test_a_short_play_is_not_worth_it(told: Told) -> None:
    m = FakeMachine({"*": ""})
    results(ModuleUtilsCopy(m, PLACE), told, WORTHWHILE - 1)
    assert m.commands == []
    results(ModuleUtilsCopy(m, PLACE), Told(), WORTHWHILE + 1)  # an Ansible that does not tell where it is
    assert m.commands == []


@pytest.mark.parametrize("answer", [1, DriverError("it is restarting")])
def test_a_machine_that_does_not_take_it_is_no_fault_of_the_plays(told: Told, answer: int | Exception) -> None:
    m = FakeMachine({"mkdir *": answer})
    results(ModuleUtilsCopy(m, PLACE), told, WORTHWHILE)
    assert m.files == {}
