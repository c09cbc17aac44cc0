"""pyvbox is asked where it can answer; where it cannot, VBoxManage is, and nobody waits for it for ever."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from bakery.drivers.virtualbox.api import sdk
from bakery.drivers.virtualbox.api.answers import MachineName
from bakery.drivers.virtualbox.api.sdk import Sdk
from bakery.drivers.virtualbox.api.vboxmanage import VBoxManage
from tests.unit.drivers.virtualbox.recorded import ANSWERS

UUID = "8fd92fe8-17a6-4e42-946d-0cec6d104080"


class Machine(SimpleNamespace):
    """A machine as pyvbox shows it."""

    def get_extra_data_keys(self) -> list[str]:
        return list(self.extra)

    def get_extra_data(self, key: str) -> str:
        return str(self.extra[key])


def connected(connect: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Sdk, list[str]]:
    asked: list[str] = []

    def ask(self: Sdk, *words: str, what: str, timeout: float = 0) -> str:
        del self, what, timeout
        asked.append(words[0])
        return {"list": ANSWERS["vms"], "--version": ANSWERS["version"], "getextradata": ANSWERS["extra_data"]}[
            words[0]
        ].stdout

    monkeypatch.setattr(Sdk, "ask", ask)
    return Sdk(connect=connect, **options), asked


def test_what_only_looks_is_read_without_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(name="web", id_p=UUID, accessible=True, extra={"bakery:run": "r1"})
    box = SimpleNamespace(version="7.2.22_Debian", machines=[machine], find_machine=lambda _: machine)
    way, asked = connected(lambda: box, monkeypatch)
    assert way.version() == (7, 2, 22)
    assert way.machines() == [MachineName("web", UUID)]
    assert way.extra_data("web") == {"bakery:run": "r1"}
    assert asked == []


def test_both_ways_give_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise AttributeError("Failed to find attribute machines")

    way, asked = connected(refuse, monkeypatch)
    assert way.version() == (7, 2, 22)
    assert way.machines() == [MachineName("web", UUID)]
    assert way.extra_data("web") == {"bakery:run": "r1"}
    assert asked == ["--version", "list", "getextradata"]


def test_a_machine_that_cannot_be_read_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    box = SimpleNamespace(machines=[Machine(id_p=UUID, accessible=False)])
    way, _ = connected(lambda: box, monkeypatch)
    assert way.machines() == [MachineName("<inaccessible>", UUID)]


def test_a_service_that_does_not_answer_is_left_to_the_way_that_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    way, asked = connected(release.wait, monkeypatch, patience=0.05)
    assert way.version() == (7, 2, 22)
    assert asked == ["--version"]
    release.set()


def test_without_the_sdk_it_is_vboxmanage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "missing", lambda: "vboxapi")
    assert type(sdk.way_in()) is VBoxManage
    monkeypatch.setattr(sdk, "missing", str)
    assert type(sdk.way_in()) is Sdk


def test_what_is_missing_is_said_with_where_it_comes_from() -> None:
    assert "VirtualBox's SDK" in sdk.missing()
