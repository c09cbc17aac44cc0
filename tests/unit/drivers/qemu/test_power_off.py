"""Powering a machine off, and the image that is made of it then."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from bakery.drivers.qemu import power
from bakery.drivers.qemu.driver import QemuDriver
from bakery.errors import DriverError
from bakery.model import Handle
from bakery.state.claim import Claim
from tests.unit.clock import Clock
from tests.unit.drivers.qemu.fake_qemu import FakeQemu
from tests.unit.fake_tools import FakeTools

# ---- power ---------------------------------------------------------------------------------------------------------


def test_a_guest_is_powered_off_and_qemu_writes_all(qemu: FakeQemu, handle: Handle, claim: Claim) -> None:
    power.off(handle, claim)
    assert qemu.questions.count("system_powerdown") == 1
    assert (qemu.questions[-1], qemu.is_alive) == ("quit", False)


def test_the_button_is_pressed_again_for_a_guest_that_was_booting(
    qemu: FakeQemu, handle: Handle, claim: Claim, clock: Clock
) -> None:
    pressed: list[float] = []

    def press(**_: Any) -> None:
        pressed.append(clock.now)
        if len(pressed) == 3:
            qemu.status = "shutdown"

    qemu.answers["system_powerdown"] = press
    power.off(handle, claim)
    assert [round(later - sooner) for sooner, later in pairwise(pressed)] == [20, 20]


def test_a_guest_that_does_not_power_off_is_left_running(
    qemu: FakeQemu, handle: Handle, claim: Claim, clock: Clock
) -> None:
    qemu.answers["system_powerdown"] = {}
    with pytest.raises(DriverError, match="the machine powers off: timed out") as raised:
        power.off(handle, claim)
    assert "serial console" in raised.value.hint
    assert (qemu.is_alive, "quit" in qemu.questions) == (True, False)


def test_a_guest_that_dies_on_its_way_down_is_not_off(
    qemu: FakeQemu, handle: Handle, claim: Claim, clock: Clock
) -> None:
    def die(**_: Any) -> None:
        qemu.is_alive = False

    qemu.answers["system_powerdown"] = die
    with pytest.raises(DriverError, match="died before it had powered off"):
        power.off(handle, claim)


@pytest.mark.parametrize("status", ["internal-error", "io-error", "guest-panicked"])
def test_a_guest_that_will_never_power_off_is_not_waited_for(
    qemu: FakeQemu, handle: Handle, claim: Claim, clock: Clock, status: str
) -> None:
    qemu.status = status
    started = clock.now
    with pytest.raises(DriverError, match=f"stopped: {status}"):
        power.off(handle, claim)
    assert clock.now - started < 1


# ---- the image -----------------------------------------------------------------------------------------------------


def test_an_image_is_captured_from_all_layers_and_kept_under_its_name(
    qemu: FakeQemu, handle: Handle, claim: Claim, tools: FakeTools
) -> None:
    driver = QemuDriver()
    captured = driver.capture(handle, "web", claim)
    assert not qemu.is_alive
    source = json.loads(tools.ran[-1][-2].removeprefix("json:"))
    assert source["file"]["filename"].endswith("disk-1.qcow2")
    assert source["backing"]["file"]["filename"].endswith("base.qcow2")
    assert captured.path.name.startswith(".web.")
    assert driver.intact(captured)
    kept = driver.keep(captured, "web", claim)
    assert (kept.path.name, kept.settings["accel"]) == ("web.qcow2", "tcg")
    assert (driver.intact(captured), driver.intact(kept)) == (False, True)
    assert claim.ledger.resources == {}  # type: ignore[attr-defined]  # it is a ClaimLedger
    driver.delete(kept)
    driver.delete(kept)
    assert not driver.intact(kept)


@pytest.mark.parametrize(("change", "whole"), [("date", True), ("byte", False), ("length", False)])
def test_an_image_is_read_where_its_date_says_that_it_may_have_changed(
    qemu: FakeQemu, handle: Handle, claim: Claim, change: str, whole: bool
) -> None:
    captured = QemuDriver().capture(handle, "web", claim)
    data = bytearray(captured.path.read_bytes())
    if change == "byte":
        data[-1] ^= 1
    captured.path.write_bytes(bytes(data) + b"more" * (change == "length"))
    assert QemuDriver().intact(captured) is whole
