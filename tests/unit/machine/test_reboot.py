"""Restarts: those that are asked for, those that commands bring, and those that never come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bakery import Machine
from bakery.errors import ConnectError, DriverError, TaskError
from bakery.machine import reboot
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint, Result
from bakery.util.results import Lost, TimedOut
from tests.unit.clock import Clock
from tests.unit.machine.box import Asked, Box

REFUSED = NotReached("port", "connection refused")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def box() -> Box:
    """A machine with systemd that restarts when it is told to."""
    box = Box()
    box.answer("*systemctl reboot*", restarting(box))
    return box.answer("*is-system-running --wait", "running\n")


@pytest.fixture
def m(box: Box, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return box.machine(monkeypatch, tmp_path, cancel=clock)


def restarting(box: Box, *, exited: int = 0) -> Callable[[Asked], Result]:
    def restart(_: Asked) -> Result:
        box.restart()
        return Result(command="", exited=exited)

    return restart


# ---- m.reboot() -------------------------------------------------------------------------------------------------


def test_a_restart_is_another_boot_with_all_units_started(m: Machine, box: Box) -> None:
    m.reboot()
    assert box.boot == 2
    assert box.asked[-1].command == reboot.STARTED
    assert box.connections == 2


def test_a_login_user_orders_it_by_sudo(m: Machine, box: Box) -> None:
    box.login = "admin"
    m.reboot()
    assert [asked.line.startswith("sudo -n sh -c") for asked in box.asked].count(True) == 1


def test_a_machine_that_is_on_its_way_down_still_is_not_taken_for_another(m: Machine, box: Box, clock: Clock) -> None:
    """It takes the order, lets us in twice more in its old boot, refuses, and is there again."""
    seen: list[int] = []

    def order(_: Asked) -> str:
        box.cut()
        return ""

    def identity(_: Asked) -> str:
        seen.append(box.boot)
        if len(seen) == 3:
            box.boot += 1
            box.refuses = [REFUSED, REFUSED]
        return f"boot-{min(seen[-1], box.boot)} 1\n"

    box.answer("*systemctl reboot*", order).answer(reboot.IDENTITY, identity)
    started = clock.now
    m.reboot(timeout=60)
    assert seen == [1, 1, 1, 2]
    assert "it is still in its old boot" in box.waits
    assert "port: connection refused" in box.waits
    assert clock.now - started < 5


def test_a_machine_that_hangs_up_while_it_is_asked_is_asked_again(m: Machine, box: Box) -> None:
    def hang_up(_: Asked) -> str:
        box.cut()
        return ""

    box.answer(reboot.IDENTITY, "boot-1 1\n", hang_up, "boot-2 1\n")
    m.reboot()
    assert "it hung up: going down, or just up" in box.waits


def test_a_machine_that_dies_before_it_is_told_to_restart_is_dead(m: Machine, box: Box) -> None:
    box.answer(reboot.IDENTITY, Lost("the connection ended"))
    with pytest.raises(TaskError, match="the connection was lost under `look which boot the machine is in`"):
        m.reboot()
    box.dead = "oops"
    with pytest.raises(DriverError, match="the machine is gone"):
        m.run("true && reboot")


@pytest.mark.parametrize("said", ["", "only-one-word\n"])
def test_a_machine_that_does_not_say_which_boot_it_is_in_is_not_restarted(m: Machine, box: Box, said: str) -> None:
    box.answer(reboot.IDENTITY, Result(command="", exited=0, stdout=said, stderr="no /proc\n"))
    with pytest.raises(TaskError, match="does not say which boot") as raised:
        m.reboot()
    assert raised.value.why == "no /proc"
    assert box.boot == 1


def test_a_machine_that_never_leaves_its_boot_is_given_up(m: Machine, box: Box, clock: Clock) -> None:
    box.answer("*systemctl reboot*", "")
    started = clock.now
    with pytest.raises(ConnectError, match="the machine has restarted: timed out") as raised:
        m.reboot(timeout=120)
    assert "still in its old boot" in raised.value.why
    assert raised.value.hint == "look at the machine's console"
    assert 120 <= clock.now - started < 125


def test_a_machine_that_does_not_come_back_says_how_far_it_got(m: Machine, box: Box) -> None:
    def go(_: Asked) -> str:
        box.restart()
        box.refuses = [REFUSED] * 2000
        return ""

    box.answer("*systemctl reboot*", go)
    with pytest.raises(ConnectError, match="cannot reach the machine") as raised:
        m.reboot(timeout=30)
    assert raised.value.why.endswith("stage: port")


def test_a_machine_that_dies_on_the_way_is_dead(m: Machine, box: Box) -> None:
    def die(_: Asked) -> str:
        box.restart()
        box.dead = "no bootable device"
        return ""

    box.answer("*systemctl reboot*", die)
    with pytest.raises(DriverError, match="the machine is gone") as raised:
        m.reboot()
    assert raised.value.why == "no bootable device"


def test_a_machine_that_refuses_the_order_says_why(m: Machine, box: Box) -> None:
    box.answer("*systemctl reboot*", Result(command="", exited=1, stderr="Access denied\n"))
    with pytest.raises(TaskError, match="refuses to restart") as raised:
        m.reboot()
    assert raised.value.why == "Access denied"


@pytest.mark.parametrize("state", ["running", "degraded"])
@pytest.mark.parametrize("exited", [0, 1])
def test_a_unit_that_failed_is_for_the_smoke_tests_to_judge(m: Machine, box: Box, state: str, exited: int) -> None:
    box.answer("*is-system-running --wait", Result(command="", exited=exited, stdout=f"{state}\n"))
    m.reboot()
    assert box.boot == 2


@pytest.mark.parametrize(("state", "said"), [("starting", "starting"), ("", "no answer"), ("maintenance", "maint")])
def test_a_systemd_that_does_not_come_up_is_an_error(m: Machine, box: Box, state: str, said: str) -> None:
    box.answer("*is-system-running --wait", Result(command="", exited=1, stdout=f"{state}\n", stderr="why\n"))
    with pytest.raises(ConnectError, match=f"systemd has not: {said}") as raised:
        m.reboot()
    assert (raised.value.why, "list-jobs" in raised.value.hint) == ("why", True)


def test_the_units_have_what_is_left_of_the_time(m: Machine, box: Box, clock: Clock) -> None:
    def slow(_: Asked) -> str:
        clock.now += 70
        box.restart()
        return ""

    box.answer("*systemctl reboot*", slow)
    m.reboot(timeout=100)
    assert box.asked[-1].timeout == pytest.approx(30, abs=1)
    m.reboot(timeout=71)
    assert box.asked[-1].timeout == pytest.approx(1, abs=1)


class TestInAContainer:
    """Over a namespace there is no network that could be lost."""

    @pytest.fixture(autouse=True)
    def namespace(self, box: Box, m: Machine) -> None:
        m.open()  # the link speaks to the box, whatever the driver calls the way
        box.endpoint = Endpoint(transport="namespace", data={"pid": 1})

    def test_a_plain_one_says_that_it_cannot(self, m: Machine, box: Box) -> None:
        box.answer("*-d /run/systemd/system*", 1)
        with pytest.raises(TaskError, match="a plain namespace cannot restart") as raised:
            m.reboot()
        assert raised.value.where is not None
        assert box.boot == 1


# ---- commands that restart --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["reboot", "sudo reboot", ["systemctl", "reboot"], "shutdown -r now", "init 6"])
def test_a_command_that_only_restarts_is_a_reboot(m: Machine, box: Box, command: str) -> None:
    assert m.run(command).ok
    assert box.boot == 2


@pytest.mark.parametrize("command", ["poweroff", "shutdown -h now", ["systemctl", "halt"], "init 0"])
def test_a_command_that_switches_the_machine_off_is_refused(m: Machine, box: Box, command: str) -> None:
    with pytest.raises(TaskError, match="would switch the machine off") as raised:
        m.run(command)
    assert raised.value.where is not None
    assert raised.value.where.file == Path(__file__)
    assert box.asked == []


def test_a_command_that_may_restart_and_does_not_is_any_other(m: Machine, box: Box) -> None:
    box.answer("test -e*", "nothing to do\n")
    assert m.run("test -e /run/reboot-required && reboot").stdout == "nothing to do\n"
    assert box.boot == 1


def test_a_command_that_fails_and_does_not_restart_has_failed(m: Machine, box: Box) -> None:
    box.answer("apt-get*", 100)
    with pytest.raises(TaskError, match="exit code 100"):
        m.run("apt-get upgrade && reboot")


@pytest.mark.parametrize("exited", [0, 130, 143, 255])
def test_a_restart_that_ends_its_command_is_its_success(m: Machine, box: Box, exited: int) -> None:
    box.answer("apt-get*", Result(command="", exited=exited, stdout="done\n"))
    box.answer(reboot.STATE, stopping(box))
    result = m.run("apt-get upgrade; reboot")
    assert (result.exited, result.stdout, box.boot) == (0, "done\n", 2)


def stopping(box: Box) -> Callable[[Asked], str]:
    def stop(_: Asked) -> str:
        box.boot += 1
        return "stopping\n"

    return stop


def test_a_failure_before_the_restart_stays_one(m: Machine, box: Box) -> None:
    box.answer("false*", 1).answer(reboot.STATE, stopping(box))
    with pytest.raises(TaskError, match="exit code 1"):
        m.run("false; reboot")
    assert box.boot == 2


def test_a_connection_that_a_restart_took_is_a_success(m: Machine, box: Box) -> None:
    box.answer("apt-get*", restarting(box))
    assert m.run("apt-get upgrade; reboot").exited == 0
    assert m.is_connected, "the next command finds the machine in its new boot"


def test_a_connection_that_was_lost_without_a_restart_is_lost(m: Machine, box: Box, clock: Clock) -> None:
    def cut(_: Asked) -> str:
        box.cut()
        return ""

    box.answer("apt-get*", cut)
    started = clock.now
    with pytest.raises(TaskError, match="the connection was lost under") as raised:
        m.run("apt-get upgrade; reboot")
    assert raised.value.why == "it did not restart"
    assert reboot.STILL_THERE <= clock.now - started < reboot.STILL_THERE + 5


def test_a_restart_that_is_planned_for_later_is_refused(m: Machine, box: Box) -> None:
    box.answer("*apt-get*", "").answer(reboot.STATE, "scheduled\n")
    with pytest.raises(TaskError, match="plans a restart for later") as raised:
        m.run("apt-get upgrade && shutdown -r +5")
    assert "m.reboot()" in raised.value.hint


def test_a_restart_that_begins_and_does_not_end_is_an_error(m: Machine, box: Box) -> None:
    box.answer("apt-get*", "").answer(reboot.STATE, "stopping\n")
    with pytest.raises(ConnectError, match="the machine has restarted: timed out"):
        m.run("apt-get upgrade; reboot")


def test_an_init_that_does_not_say_is_watched_for_three_seconds(m: Machine, box: Box, clock: Clock) -> None:
    box.answer("apk*", "").answer(reboot.STATE, "unknown\n")
    started = clock.now
    assert m.run("apk upgrade; reboot -d").ok
    assert clock.now - started == pytest.approx(3, abs=0.1)
    box.answer(reboot.IDENTITY, "boot-1 1\n", "boot-1 1\n", "boot-2 1\n")
    assert m.run("apk upgrade; reboot -d").ok


def test_a_machine_that_does_not_answer_after_the_command_is_going_down(m: Machine, box: Box) -> None:
    box.answer("apt-get*", "")
    box.answer(reboot.STATE, restarting(box))
    assert m.run("apt-get upgrade; reboot").ok
    box.answer(reboot.STATE, hanging(box))
    assert m.run("apt-get upgrade; reboot").ok
    assert box.boot == 3


def hanging(box: Box) -> Callable[[Asked], str]:
    def hang(_: Asked) -> str:
        box.restart()
        raise TimedOut(Result(command="", exited=-1))

    return hang


def test_a_command_that_may_restart_keeps_its_timeout(m: Machine, box: Box) -> None:
    box.answer("apt-get*", -1)
    with pytest.raises(TaskError, match="ran longer than its timeout of 5 s"):
        m.run("apt-get upgrade; reboot", timeout=5)


def test_facts_are_read_anew_after_a_command_that_may_restart(m: Machine, box: Box) -> None:
    box.answer("*os-release*", "cpus=2\n", "cpus=4\n").answer("apt-get*", "")
    assert m.facts.cpus == 2
    m.run("apt-get upgrade; reboot")
    assert m.facts.cpus == 4
