"""What sealing asks of a machine."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from bakery import Seal
from bakery.errors import TaskError
from bakery.machine.seal import script, seal
from bakery.model import Result
from bakery.testing import FakeMachine

NOTHING = replace(Seal(), **{field.name: False for field in fields(Seal)})


def calls(options: Seal) -> list[str]:
    lines = script(options, "ssh-ed25519 AAAAkey bakery-1").splitlines()
    return [line.removeprefix("option=") for line in lines[lines.index("{") :] if line.startswith("option=")]


def test_everything_is_removed_unless_switched_off() -> None:
    assert calls(Seal()) == [field.name for field in fields(Seal)]


@pytest.mark.parametrize("name", [field.name for field in fields(Seal)])
def test_each_part_can_be_switched_off(name: str) -> None:
    assert name not in calls(replace(Seal(), **{name: False}))


@pytest.mark.parametrize("name", [field.name for field in fields(Seal)])
def test_each_part_has_its_function(name: str) -> None:
    assert f"\n{name}() {{" in script(NOTHING, "")


def test_cloud_init_is_waited_for_and_the_disk_written_whatever_is_switched_off() -> None:
    sync = "[ -e /run/systemd/container ] || [ -e /run/.containerenv ] || sync"
    assert script(NOTHING, "").endswith(f"{{\nsettle\n{sync}\necho sealed\n}} </dev/null\n")


def test_the_build_key_is_named_by_its_own_text() -> None:
    assert "\nbuild_keys AAAAkey\n" in script(Seal(), "ssh-ed25519 AAAAkey bakery-1")


def test_what_was_done_is_reported() -> None:
    m = FakeMachine({"sh -s": "host_keys: removed 6\nlogs: emptied\nsealed\n"})
    assert seal(m, Seal()) == ["host_keys: removed 6", "logs: emptied"]
    assert b"AAAA" in m.ran[0].input
    assert m.ran[0].user == "root"


@pytest.mark.parametrize("result", [Result(command="", exited=1, stderr="no space\n"), "host_keys: removed 6\n"])
def test_a_script_that_does_not_come_to_its_end_is_an_error(result: Result | str) -> None:
    with pytest.raises(TaskError, match="could not be sealed"):
        seal(FakeMachine({"sh -s": result}), Seal())
