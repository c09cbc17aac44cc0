"""A machine that was restored: entered once with the keys that it has, and made this run's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import bakery.machine.transport.ssh
from bakery.drivers.qemu.restore import restore_machine
from bakery.errors import DriverError
from bakery.model import Endpoint, Handle, Result
from bakery.state.claim import Claim
from bakery.state.ssh_keys import make_keys
from tests.unit.machine.box import Box, Door

OLD = make_keys("bakery-old")


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    """The machine, that does as told."""
    box = Box().answer("*sh -s", "")
    monkeypatch.setattr(bakery.machine.transport.ssh, "SshTransport", Door(box))
    return box


def restore(handle: Handle, claim: Claim, host_key: str = "given") -> Handle:
    known = replace(handle, settings={**handle.settings, "host_key": host_key})
    return restore_machine(known, lambda _: Endpoint(host="127.0.0.1"), OLD, claim)


def test_the_machine_has_this_run_s_keys_and_is_pinned_to_the_new_host_key(
    box: Box, handle: Handle, claim: Claim
) -> None:
    restored = restore(handle, claim)
    (asked,) = box.asked
    script = asked.input.decode()
    assert asked.command == "sh -s"
    assert claim.keys.user_public in script
    assert claim.keys.host_private in script
    assert OLD.user_public.split()[1] in script
    assert restored.data["host_key"] == claim.keys.host_public
    assert not any(wire.alive for wire in box._wires)  # nobody goes on with the old keys


def test_a_machine_with_a_host_key_of_its_own_keeps_it(box: Box, handle: Handle, claim: Claim) -> None:
    restored = restore(handle, claim, host_key="learned")
    assert restored.data["host_key"] == handle.data["host_key"]
    assert claim.keys.host_private not in box.asked[0].input.decode()


def test_another_user_than_root_becomes_root(box: Box, handle: Handle, claim: Claim) -> None:
    box.login = "debian"
    restore(handle, claim)
    assert box.commands == ["sudo -n sh -s"]


def test_one_that_does_not_do_as_told_is_not_gone_on_with(
    box: Box, handle: Handle, claim: Claim, tmp_path: Path
) -> None:
    box.answer("*sh -s", Result(command="", exited=1, stderr="date: cannot set date\n"))
    with pytest.raises(DriverError, match="a restored machine cannot be made ready") as raised:
        restore(handle, claim)
    assert raised.value.why == "date: cannot set date"
    assert not any(wire.alive for wire in box._wires)
    assert tmp_path.exists()
