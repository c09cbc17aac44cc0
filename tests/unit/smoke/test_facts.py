from __future__ import annotations

import pytest

from bakery.smoke.fact_groups import INSTANCES
from bakery.smoke.prefetch import FRESH, PrefetchedFacts
from bakery.smoke.shell import Pending, Reply, Request
from tests.unit.smoke.pipes import FakeShell

UNITS = b"""Id=nginx.service
Names=nginx.service www.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled

Id=ssh.service
Names=ssh.service
LoadState=loaded
ActiveState=failed
UnitFileState=disabled

Id=gone.service
Names=gone.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
"""
FILE = b"0\n0\n1\n1\n1\n1\n1\nroot:0:domain users:42:640:1700000000:1234:99\n"
PACKAGES = (
    b"bash\tamd64\tinstall ok installed\t5.2\n"
    b"libc6\tamd64\tinstall ok installed\t2.36\nlibc6\ti386\tinstall ok installed\t2.35\n"
    b"old\tall\tdeinstall ok config-files\t1\n"
)
SYSTEM = b"".join(
    text + b"\x01%d\x02" % exited
    for text, exited in (
        *((b"Linux\n", 0), (b"x86_64\n", 0), (b"6.1\n", 0), (b"", 1), (b"", 1), (b"command\n", 0), (b"", 127)),
        (b"/usr/bin/ss\n", 0),
    )
)


class Machine(FakeShell):
    """Answers what the facts ask for, and counts."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.now = 100.0
        self.cost = 0.01

    def ask_with(
        self, requests: list[Request], ahead: list[Request], timeout: float | None
    ) -> tuple[list[Reply], list[Pending]]:
        answered = super().ask_with(requests, ahead, timeout)
        self.now += self.cost
        return answered

    def _answer(self, command: str) -> Reply:
        if command.startswith("systemctl show"):
            return Reply(0, UNITS)
        if command.startswith("dpkg-query"):
            return Reply(0, PACKAGES)
        if "stat -Lc" in command:
            return Reply(0, FILE) if "/etc/shadow" in command else Reply(1, b"1\n" * 7 + b"stat: no such file\n")
        if command.startswith("uname -s 2>/dev/null; printf"):
            return Reply(0, SYSTEM)
        return Reply(0, f"said {command}".encode())

    def clock(self) -> float:
        return self.now


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def facts(machine: Machine) -> PrefetchedFacts:
    facts = PrefetchedFacts(machine, machine.clock)
    ask(facts, "systemctl is-active weighed")  # and it is quick
    machine.asked.clear()
    return facts


def ask(facts: PrefetchedFacts, question: str) -> Reply:
    return facts.ask(question, question, None, None)


@pytest.mark.parametrize(
    ("cost", "distance", "asked"),
    [
        pytest.param(0.01, 0.0, ["systemctl is-active a", "systemctl show"], id="a quick machine"),
        pytest.param(0.3, 0.0, [f"systemctl is-active {name}" for name in "abc"], id="an emulated one"),
        pytest.param(0.3, 0.29, ["systemctl is-active a", "systemctl show"], id="a quick one, far away"),
    ],
)
def test_all_units_are_asked_for_only_where_one_answers_quickly(
    machine: Machine, cost: float, distance: float, asked: list[str]
) -> None:
    facts = PrefetchedFacts(machine, machine.clock, away=lambda: distance)
    machine.cost = cost
    ask(facts, "systemctl is-active a")
    machine.cost = 0.0
    for name in ("b", "c") if len(asked) > 2 else ("nginx",):
        ask(facts, f"systemctl is-active {name}")
    assert [lines[0].partition(" --")[0] for lines in machine.asked] == asked


def test_what_the_system_is_takes_one_round_trip_for_all_questions(facts: PrefetchedFacts, machine: Machine) -> None:
    assert facts.answer("uname -s") == Reply(0, b"Linux\n")
    assert facts.answer("test -d /run/systemd/system/") == Reply(1)
    assert facts.answer("command -v systemctl") == Reply(127)
    assert facts.answer("command -v ss") == Reply(0, b"/usr/bin/ss\n")
    assert [len(asked) for asked in machine.asked] == [1], "one shell answers all of them"


def test_what_fails_on_the_machine_or_is_cut_short_is_asked_of_it(facts: PrefetchedFacts) -> None:
    assert facts.answer("cat /etc/os-release") is None, "it says why"
    assert facts.answer("command -v apk") is None


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("systemctl is-active nginx", Reply(0, b"active\n")),
        ("systemctl is-active www.service", Reply(0, b"active\n")),
        ("systemctl is-active ssh", Reply(3, b"failed\n")),
        ("systemctl is-enabled nginx.service", Reply(0, b"enabled\n")),
        ("systemctl is-enabled ssh", Reply(1, b"disabled\n")),
        ("systemctl is-enabled www", None),
        ("systemctl is-active gone", None),
        ("systemctl is-active never-heard-of", None),
        ("dpkg-query -f '${Status}' -W bash", Reply(0, b"install ok installed")),
        ("dpkg-query -f '${Status} ${Version}' -W bash", Reply(0, b"install ok installed 5.2")),
        ("dpkg-query -f '${Status}' -W libc6", None),
        (f"dpkg-query -f '{INSTANCES}' -W bash", Reply(0, b"amd64\tinstall ok installed\t5.2\n")),
        (
            f"dpkg-query -f '{INSTANCES}' -W libc6",
            Reply(0, b"amd64\tinstall ok installed\t2.36\ni386\tinstall ok installed\t2.35\n"),
        ),
        (f"dpkg-query -f '{INSTANCES}' -W nothing", None),
        ("dpkg-query -f '${Status}' -W nothing", None),
        ("test -f /etc/shadow", Reply(0)),
        ("test -d /etc/shadow", Reply(1)),
        ("stat -Lc %a /etc/shadow", Reply(0, b"640\n")),
        ("stat -Lc %G /etc/shadow", Reply(0, b"domain users\n")),
        ("test -e /nothing", Reply(1)),
        ("stat -Lc %a /nothing", Reply(1, b"", b"stat: no such file\n")),
        ("/usr/bin/ss --numeric --listening --tcp", Reply(0, b"said /usr/bin/ss --numeric --listening --tcp")),
        ("echo hello", None),
        ("uname -s; reboot", None),
    ],
)
def test_a_known_question_is_answered_as_the_program_would(
    facts: PrefetchedFacts, question: str, reply: Reply | None
) -> None:
    assert facts.answer(question) == reply


def test_a_state_is_told_once_and_then_asked_for_again(facts: PrefetchedFacts, machine: Machine) -> None:
    assert facts.answer("systemctl is-active nginx") is not None
    assert facts.answer("systemctl is-active ssh") is not None
    assert facts.answer("systemctl is-active nginx") is None
    assert len(machine.asked) == 1


def test_a_state_that_is_old_is_fetched_again(facts: PrefetchedFacts, machine: Machine) -> None:
    facts.answer("test -e /etc/shadow")
    machine.now += FRESH + 0.1
    assert facts.answer("test -f /etc/shadow") == Reply(0)
    assert len(machine.asked) == 2


def test_a_state_that_is_dear_is_fetched_once(facts: PrefetchedFacts, machine: Machine) -> None:
    machine.cost = 2.0
    assert facts.answer("systemctl is-active nginx") is not None
    machine.now += FRESH + 0.1
    assert facts.answer("systemctl is-active ssh") is None
    assert len(machine.asked) == 1


def test_packages_last_until_something_may_have_changed(facts: PrefetchedFacts, machine: Machine) -> None:
    for _ in range(3):
        assert facts.answer("dpkg-query -f '${Status}' -W bash") is not None
        machine.now += 1000
    assert len(machine.asked) == 1
    facts.forget()
    facts.answer("dpkg-query -f '${Status}' -W bash")
    assert len(machine.asked) == 2
