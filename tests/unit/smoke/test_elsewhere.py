"""What a test does beside asking the machine makes states be asked anew."""

from __future__ import annotations

import sys
import time

import pytest

from bakery.smoke import elsewhere
from bakery.smoke.prefetch import PrefetchedFacts
from bakery.smoke.shell import Reply, Shell
from tests.unit.smoke.pipes import Answer, FakePipes

PACKAGES = b"nginx\tamd64\tinstall ok installed\t1.22\n"
FILE = b"0\n0\n1\n1\n1\n1\n1\nroot:0:root:0:640:1700000000:1234:99\n"


@pytest.fixture
def facts() -> PrefetchedFacts:
    def reply(command: str) -> Answer:
        if command.startswith("uname"):
            return b"Linux\n\x010\x02", b"", 0
        return PACKAGES if "Package" in command else FILE, b"", 0

    facts = PrefetchedFacts(Shell(lambda: FakePipes(reply, 1000)), lambda: 100.0)
    facts.answer("test -e /etc/passwd")
    facts.answer("dpkg-query -f '${Status}' -W nginx")
    return facts


@pytest.fixture
def shell(facts: PrefetchedFacts, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(elsewhere, "_WATCHED", [])
    shell = Shell(lambda: FakePipes(lambda _: (b"", b"", 0)))
    elsewhere.watch(shell, facts)
    return shell


def known(facts: PrefetchedFacts) -> bool:
    return bool(facts._lasting or facts._states)


@pytest.mark.parametrize("event", ["socket.connect", "subprocess.Popen", "os.fork"])
def test_after_a_connection_or_a_program_each_question_goes_to_the_machine(
    facts: PrefetchedFacts, shell: Shell, event: str
) -> None:
    sys.audit(event)
    assert not known(facts)
    assert facts.answer("test -f /etc/passwd") is None
    assert facts.answer("test -f /etc/passwd") is None
    assert facts.answer("dpkg-query -f '${Status}' -W nginx") is None, "it may have been installed, or removed"
    assert facts.answer("uname -s") is not None, "that does not change"


def test_after_a_sleep_states_are_fetched_once_more(facts: PrefetchedFacts, shell: Shell) -> None:
    time.sleep(0)
    if sys.version_info >= (3, 13):
        sys.audit("time.sleep", 0)
    assert ([*facts._lasting], facts._states) == (["packages"], {})
    assert facts.answer("test -f /etc/passwd") == Reply(0)


def test_what_changes_nothing_forgets_nothing(facts: PrefetchedFacts, shell: Shell) -> None:
    sys.audit("open", "x", "r", 0)
    shell.busy = True
    sys.audit("socket.connect")
    assert known(facts)
    assert facts.answer("test -f /etc/passwd") is not None


def test_a_shell_is_busy_while_it_asks_and_only_then(facts: PrefetchedFacts) -> None:
    seen: list[bool] = []

    def answer(_: str) -> Answer:
        seen.append(asking.busy)
        return b"", b"", 0

    asking = Shell(lambda: FakePipes(answer))
    asking.ask("true")
    assert (seen, asking.busy) == ([True], False)
